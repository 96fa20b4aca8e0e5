//! One vote per browser, while each of many browsers votes many times at once: on one server and on three, one of which is killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::super::{send, status};
use crate::support::{
    Backend, Site, http::try_send, postgres::free_port, site::Server, voters::SECRET,
};

const VOTERS: usize = 1000;
const VOTES: usize = 10 * VOTERS;
const THREADS: usize = 16;

/// A site with a question of two choices and one vote per browser.
async fn site(backend: Backend) -> Site {
    let site = Site::migrated(backend).await.with("RUST_LOG", "warn");
    site.run_with_input(
        ["seed", "-"],
        "- question: Dinner?\n  choices: [Pizza, Pasta]\n",
    )
    .success();
    site.execute("INSERT INTO polls_question_options (question_id, policy, max_choices, results) VALUES (1, 'browser', 1, 'always')").await;
    site
}

/// The cookies of new browsers.
fn browsers(server: &Server) -> Vec<String> {
    let browser = |_| {
        let page = server.get("/polls/1/");
        let cookie = page.split("polls_voter=").nth(1);
        let cookie = cookie.unwrap_or_else(|| panic!("no cookie: {page}"));
        cookie.split(';').next().unwrap().to_owned()
    };
    (0..VOTERS).map(browser).collect()
}

/// A vote as it is sent.
fn ballot(browser: &str, choice: usize) -> Vec<u8> {
    let body = format!("csrfmiddlewaretoken={SECRET}&policy=browser&choice={choice}");
    format!(
        "POST /polls/1/vote/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nCookie: csrftoken={SECRET}; polls_voter={browser}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Each browser votes ten times, through the servers in turn; calls `at_half` after half of the votes. Who got no answer votes again
/// until the vote is acknowledged.
fn vote_all(addresses: &[String], browsers: Vec<String>, at_half: impl FnOnce()) {
    let (addresses, browsers) = (Arc::new(addresses.to_vec()), Arc::new(browsers));
    let next = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (addresses, browsers, next) = (addresses.clone(), browsers.clone(), next.clone());
            std::thread::spawn(move || {
                let mut unanswered = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= VOTES {
                        break;
                    }
                    // The ten votes of a browser are sent at about the same time, to all servers and for both choices.
                    let (browser, address) = (number / 10, &addresses[number % addresses.len()]);
                    let vote = ballot(&browsers[browser], 1 + number / 3 % 2);
                    if try_send(address, &vote).is_none_or(|answer| status(&answer) != 302) {
                        unanswered.push(browser);
                    }
                }
                for browser in unanswered {
                    while status(&send(&addresses[0], &ballot(&browsers[browser], 1))) != 302 {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            })
        })
        .collect();
    while next.load(Ordering::Relaxed) < VOTES / 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    at_half();
    for thread in threads {
        thread.join().unwrap();
    }
}

async fn assert_one_vote_each(site: &Site) {
    let votes = "SELECT CAST(sum(votes) AS bigint) FROM polls_app_choice";
    let voters = "SELECT count(*) FROM polls_voters WHERE NOT is_alias";
    for sql in [votes, voters] {
        assert_eq!(site.number(sql).await, VOTERS as i64, "{sql}");
    }
    let said = site.run(["recount"]).success().stdout;
    assert!(said.contains("1,000 votes of 1,000 voters"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_browsers_have_one_vote_each_on_one_server() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let site = site(backend).await;
        let server = site.serve();
        let addresses = std::slice::from_ref(&server.address);
        vote_all(addresses, browsers(&server), || {});
        assert_one_vote_each(&site).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_browsers_have_one_vote_each_on_three_servers_of_which_one_is_killed() {
    let site = site(Backend::Postgres).await;
    let addresses = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut servers = addresses.each_ref().map(|address| site.serve_on(address));
    let browsers = browsers(&servers[0]);
    vote_all(&addresses, browsers, || {
        servers[1].signal("-KILL");
        servers[1] = site.serve_on(&addresses[1]);
    });
    assert_one_vote_each(&site).await;
}
