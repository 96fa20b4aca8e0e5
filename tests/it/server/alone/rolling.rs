//! Rolling restarts: three servers behind haproxy are replaced in turn under load, without a failed request.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use sea_orm::EntityTrait;

use super::super::{send, status, wait_until};
use crate::support::{
    Backend, Site, haproxy::Haproxy, postgres::free_port, site::Server, voters::Voters,
};

const VOTES: i64 = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_replaced_under_load_without_a_failure() {
    let site = Site::migrated(Backend::Postgres)
        .await
        .with("SHUTDOWN_DELAY", "1")
        .with("RUST_LOG", "warn");
    site.run(["seed"]).success();
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let start = |port: &u16| site.serve_on(&format!("127.0.0.1:{port}"));
    let mut servers: Vec<Server> = ports.iter().map(start).collect();
    let front = free_port();
    let names = ["polls0", "polls1", "polls2"];
    let named: Vec<_> = names.into_iter().zip(ports.iter().copied()).collect();
    let _haproxy = Haproxy::start(&site, front, "/readyz", &named);
    let front = format!("127.0.0.1:{front}");
    wait_until(Duration::from_secs(10), || {
        TcpStream::connect(&front).is_ok()
            && status(&send(
                &front,
                b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            )) == 200
    });
    let voters = Voters::start(&front, 16);
    for turn in 1..=3 {
        voters.wait_for(VOTES / 4 * turn, Duration::from_secs(600));
        let old = servers.remove(0);
        let address = old.address.clone();
        let (log, code) = old.stop();
        assert_eq!((code, log.as_str()), (Some(0), ""));
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        servers.push(start(&port));
        wait_until(Duration::from_secs(10), || {
            servers[2].get("/readyz").starts_with("HTTP/1.1 200 ")
        });
        // Until haproxy has seen it too.
        std::thread::sleep(Duration::from_millis(600));
    }
    voters.wait_for(VOTES, Duration::from_secs(600));
    let tally = voters.finish();
    assert_eq!(
        tally.keys().copied().collect::<Vec<_>>(),
        [302],
        "{tally:?}"
    );
    let db = site.database.connect().await;
    let choice = polls::entities::choice::Entity::find_by_id(1)
        .one(&db)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(choice.votes.0, tally[&302]);
}

#[tokio::test]
async fn connections_accepted_before_the_shutdown_are_served() {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    for pause in [0, 200] {
        let server = site.serve();
        // Connected, and not yet accepted or just so when the signal comes.
        let mut streams: Vec<TcpStream> = (0..50).map(|_| server.connect()).collect();
        server.signal("-TERM");
        std::thread::sleep(Duration::from_millis(pause));
        let request = format!("GET /polls/1/ HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
        for stream in &mut streams {
            stream.write_all(request.as_bytes()).unwrap();
        }
        for stream in &mut streams {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(status(&answer), 200, "{answer}");
        }
        assert_eq!(server.wait().1, Some(0));
    }
}

/// Asks on one connection until an answer says that it is the last; gives what came instead of an answer, if anything did.
fn ask_until_told(server: &str) -> Result<(), String> {
    let mut stream = std::net::TcpStream::connect(server).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!("GET /polls/ HTTP/1.1\r\nHost: {server}\r\n\r\n");
    loop {
        // It is written whole or the connection has been reset; the server has then broken off without a word.
        if let Err(error) = stream.write_all(request.as_bytes()) {
            return Err(format!("not written: {error}"));
        }
        let mut answer = String::new();
        let mut piece = [0; 4096];
        while !answer.ends_with("</html>\n") && !answer.ends_with("</html>") {
            match stream.read(&mut piece) {
                Ok(0) => return Err(format!("the end after {answer:?}")),
                Err(error) => return Err(format!("{error} after {answer:?}")),
                Ok(count) => answer += &String::from_utf8_lossy(&piece[..count]),
            }
        }
        if answer.contains("connection: close\r\n") {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[tokio::test]
async fn requests_sent_during_the_shutdown_are_answered() {
    let site = Site::migrated(Backend::Sqlite).await;
    site.run(["seed"]).success();
    for _ in 0..5 {
        let server = site.serve();
        let clients: Vec<_> = (0..40)
            .map(|_| {
                let address = server.address.clone();
                std::thread::spawn(move || ask_until_told(&address))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        server.signal("-TERM");
        for client in clients {
            assert_eq!(client.join().unwrap(), Ok(()));
        }
        let (log, code) = server.wait();
        assert_eq!(code, Some(0), "{log}");
    }
}
