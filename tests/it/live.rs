//! Live results, from a running server.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    Site, assert_within,
    http::{log_in, status, wait_until},
    site::Server,
    voters::vote_once,
};

/// The stream of a question's results.
struct Events(BufReader<TcpStream>);

/// What comes from a stream.
#[derive(Debug, PartialEq)]
enum Event {
    Results(Value),
    Reload,
    Renew,
    End,
}

impl Events {
    fn open(server: &Server, id: i32) -> Self {
        Self::open_with(server, id, "")
    }

    /// With further header lines.
    fn open_with(server: &Server, id: i32, headers: &str) -> Self {
        let mut stream = server.connect();
        // Longer than the streams of staff last.
        stream
            .set_read_timeout(Some(Duration::from_secs(40)))
            .unwrap();
        let request = format!(
            "GET /polls/{id}/events/ HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            events.0.read_line(&mut head).unwrap();
        }
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream"),
            "{head}"
        );
        events
    }

    fn next(&mut self) -> Event {
        let mut event = None;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let line = line.trim_end();
            match line {
                // The last chunk.
                "0" => return Event::End,
                "event: reload" => event = Some(Event::Reload),
                "event: renew" => event = Some(Event::Renew),
                _ => {}
            }
            if let Some(data) = line.strip_prefix("data: {") {
                event = Some(Event::Results(
                    serde_json::from_str(&format!("{{{data}")).unwrap(),
                ));
            }
            if line.is_empty()
                && let Some(event) = event.take()
            {
                return event;
            }
        }
    }

    /// The votes of the first choice in the next event.
    fn votes(&mut self) -> String {
        match self.next() {
            Event::Results(results) => results["choices"][0]["votes"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

fn vote(server: &Server) {
    assert_eq!(status(&vote_once(&server.address, 1)), 302);
}

on_both_databases! {
    async fn results_follow_the_votes_of_all_servers(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        site.execute("UPDATE polls_app_choice SET votes = 0").await;
        let (one, other) = (site.serve(), site.serve());
        let mut events = Events::open(&one, 1);
        assert_eq!(events.votes(), "0 votes");
        let start = Instant::now();
        vote(&one);
        assert_eq!(events.votes(), "1 vote");
        assert_within(start, Duration::from_millis(1700));
        // Many votes are one update, and there is one a second at most.
        std::thread::sleep(Duration::from_millis(1100));
        let start = Instant::now();
        for _ in 0..10 {
            vote(&one);
        }
        let mut seen = vec![];
        while seen.last().is_none_or(|last| last != "11 votes") {
            seen.push(events.votes());
        }
        assert!(seen.len() <= 3, "{seen:?}");
        assert_within(start, Duration::from_millis(3500));
        // Of another server, and by hand.
        let start = Instant::now();
        vote(&other);
        assert_eq!(events.votes(), "12 votes");
        assert_within(start, Duration::from_millis(3500));
        site.execute("UPDATE polls_app_choice SET votes = 20 WHERE id = 1").await;
        assert_eq!(events.votes(), "20 votes");
        // A page with other texts is loaded again by its script.
        let page = one.get("/polls/1/results/");
        let version = page.split("data-version=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        site.execute("UPDATE polls_app_choice SET choice_text = 'Other' WHERE id = 1").await;
        let Event::Results(results) = events.next() else { panic!("no results") };
        assert_ne!(results["version"], version.as_str());
        wait_until(Duration::from_secs(3), || one.get("/polls/1/results/").contains(&format!("data-version=\"{}\"", results["version"].as_str().unwrap())));
    }

    async fn hidden_results_are_not_sent(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let server = site.serve();
        let mut events = Events::open(&server, 1);
        assert!(matches!(events.next(), Event::Results(_)));
        site.execute("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES (1, 'browser', 1, 'voted')").await;
        assert_eq!((events.next(), events.next()), (Event::Reload, Event::End));
        assert_eq!(status(&server.get("/polls/1/events/")), 403);
        site.execute("UPDATE polls_question_options SET results = 'always'").await;
        let mut events = Events::open(&server, 1);
        assert!(matches!(events.next(), Event::Results(_)));
        site.execute("UPDATE polls_app_question SET pub_date = '2900-01-01 00:00:00' WHERE id = 1").await;
        assert_eq!((events.next(), events.next()), (Event::Reload, Event::End));
        assert_eq!(status(&server.get("/polls/1/events/")), 404);
        site.execute("UPDATE polls_app_question SET pub_date = '2020-01-01 00:00:00' WHERE id = 1").await;
        let mut events = Events::open(&server, 1);
        assert!(matches!(events.next(), Event::Results(_)));
        site.execute("DELETE FROM polls_app_choice WHERE question_id = 1").await;
        site.execute("DELETE FROM polls_question_options WHERE question_id = 1").await;
        site.execute("DELETE FROM polls_app_question WHERE id = 1").await;
        while events.next() != Event::End {}
        assert_eq!(status(&server.get("/polls/1/events/")), 404);
    }

    async fn the_rights_of_staff_are_checked_again(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let site = site.with_superuser();
        site.execute("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES (1, 'any', 1, 'staff')").await;
        let server = site.serve();
        let login = log_in(&server.address);
        let session = login.split("sessionid=").nth(1).unwrap().split(';').next().unwrap();
        let cookie = format!("Cookie: sessionid={session}\r\n");
        let mut events = Events::open_with(&server, 1, &cookie);
        assert!(matches!(events.next(), Event::Results(_)));
        site.execute("UPDATE auth_user SET is_staff = false, is_superuser = false").await;
        let mut last = events.next();
        while matches!(last, Event::Results(_)) {
            last = events.next();
        }
        assert_eq!((last, events.next()), (Event::Renew, Event::End));
        let reply = crate::support::http::get(&server.address, "/polls/1/events/", &cookie);
        assert_eq!(status(&reply), 403);
    }

    async fn streams_end_when_the_server_drains(site: Site) {
        site.run(["migrate"]).success();
        site.run(["seed"]).success();
        let server = site.serve();
        let mut events: Vec<_> = (0..20).map(|_| Events::open(&server, 1)).collect();
        for stream in &mut events {
            assert!(matches!(stream.next(), Event::Results(_)));
        }
        let start = Instant::now();
        server.signal("-TERM");
        for stream in &mut events {
            assert_eq!(stream.next(), Event::End);
        }
        let (log, code) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        // `GRACEFUL_TIMEOUT` is 30 s.
        assert_within(start, Duration::from_secs(5));
    }
}
