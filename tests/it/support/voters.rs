//! Clients that vote without pause, each on its own connection, and count the responses by status.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Many of them.
pub struct Voters {
    threads: Vec<JoinHandle<Tally>>,
    is_over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicI64>,
}

/// The number of responses by status; 0 counts requests without a response.
pub type Tally = BTreeMap<u16, i64>;

/// The CSRF secret of all voters, which is also a token.
pub const SECRET: &str = "ssssssssssssssssssssssssssssssss";

/// A vote for a choice of question 1, as it is sent.
pub fn vote(host: &str, choice: i32) -> String {
    vote_for(host, 1, choice)
}

/// A vote for a choice of a question, as it is sent.
pub fn vote_for(host: &str, question: i32, choice: i32) -> String {
    let body = format!("csrfmiddlewaretoken={SECRET}&choice={choice}");
    format!(
        "POST /polls/{question}/vote/ HTTP/1.1\r\nHost: {host}\r\nCookie: csrftoken={SECRET}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    )
}

/// Votes for a choice of question 1, on a connection of its own, and gives the whole answer.
pub fn vote_once(address: &str, choice: i32) -> String {
    let request = vote(address, choice).replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    super::http::send(address, request.as_bytes())
}

impl Voters {
    /// Lets `count` of them vote for choice 1 at `address`, reusing connections as browsers do.
    pub fn start(address: &str, count: usize) -> Self {
        let (is_over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let voter = |_| {
            let (address, is_over) = (address.to_owned(), is_over.clone());
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || vote_on(&address, &is_over, &acknowledged))
        };
        Self {
            threads: (0..count).map(voter).collect(),
            is_over,
            acknowledged,
        }
    }

    /// The number of acknowledged votes.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this number of votes has been acknowledged.
    pub fn wait_for(&self, votes: i64, timeout: Duration) {
        let start = std::time::Instant::now();
        while self.acknowledged() < votes {
            assert!(
                start.elapsed() < timeout,
                "{} of {votes} votes",
                self.acknowledged()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops, and gives the number of acknowledged votes; all other responses were 503.
    pub fn finish_acknowledged(self) -> i64 {
        let tally = self.finish();
        assert!(
            tally.keys().all(|status| [302, 503].contains(status)),
            "{tally:?}"
        );
        tally[&302]
    }

    /// Ends the voting; each finishes the vote that is under way.
    pub fn finish(mut self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Tally::new();
        for thread in std::mem::take(&mut self.threads) {
            for (status, count) in thread.join().unwrap() {
                *all.entry(status).or_default() += count;
            }
        }
        all
    }
}

impl Drop for Voters {
    /// A test that has failed needs no more of them.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn vote_on(address: &str, is_over: &AtomicBool, acknowledged: &AtomicI64) -> Tally {
    let (request, mut tally) = (vote(address, 1), Tally::new());
    let mut connection: Option<BufReader<TcpStream>> = None;
    while !is_over.load(Ordering::Relaxed) {
        let answer = connection
            .take()
            .map_or_else(|| connect(address), Some)
            .and_then(|mut stream| {
                stream.get_mut().write_all(request.as_bytes()).ok()?;
                let (status, goes_on) = read_answer(&mut stream)?;
                connection = goes_on.then_some(stream);
                Some(status)
            });
        let status = answer.unwrap_or(0);
        *tally.entry(status).or_default() += 1;
        if status == 302 {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    tally
}

fn connect(address: &str) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(40)))
        .ok()?;
    stream.set_nodelay(true).ok()?;
    Some(BufReader::new(stream))
}

/// Status of an answer, and whether the connection goes on.
fn read_answer(stream: &mut BufReader<TcpStream>) -> Option<(u16, bool)> {
    let (mut status, mut length, mut goes_on) = (0, 0, true);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = line.strip_prefix("http/1.1 ") {
            status = rest.get(..3)?.parse().ok()?;
        } else if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        } else if line == "connection: close" {
            goes_on = false;
        } else if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((status, goes_on))
}
