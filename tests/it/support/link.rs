//! A TCP proxy between a server and its database, which a test may cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Passes on what comes to its port, both ways.
pub struct Link {
    pub port: u16,
    target: Arc<AtomicU16>,
    is_dark: Arc<AtomicBool>,
    loses_a_commit: Arc<AtomicBool>,
}

impl Link {
    /// To a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(port));
        let is_dark = Arc::new(AtomicBool::new(false));
        let loses_a_commit = Arc::new(AtomicBool::new(false));
        let (dark, loses, to) = (is_dark.clone(), loses_a_commit.clone(), target.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (dark, loses) = (dark.clone(), loses.clone());
                let port = to.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    // A connection opened while the link is cut gets no data, also later.
                    if dark.load(Ordering::SeqCst) {
                        return swallow(near).await;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let ((near_read, near_write), (far_read, far_write)) =
                        (near.into_split(), far.into_split());
                    let is_deaf = AtomicBool::new(false);
                    let is_lost_there = |piece: &[u8]| {
                        let is_commit = piece.windows(6).any(|word| word == b"COMMIT");
                        if is_commit && loses.swap(false, Ordering::SeqCst) {
                            is_deaf.store(true, Ordering::SeqCst);
                        }
                        dark.load(Ordering::SeqCst)
                    };
                    let is_lost_back =
                        |_: &[u8]| dark.load(Ordering::SeqCst) || is_deaf.load(Ordering::SeqCst);
                    tokio::join!(
                        pass(near_read, far_write, is_lost_there),
                        pass(far_read, near_write, is_lost_back),
                    );
                });
            }
        });
        Self {
            port: own,
            target,
            is_dark,
            loses_a_commit,
        }
    }

    /// Leads new connections to another port, as a Service whose selector has changed.
    pub fn redirect(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Passes the next COMMIT on and loses the answer, and all answers on that connection.
    pub fn lose_a_commit(&self) {
        self.loses_a_commit.store(true, Ordering::SeqCst);
    }

    /// Loses all that is sent from here on, without a word to either side: a cut cable.
    pub fn drop_packets(&self) {
        self.is_dark.store(true, Ordering::SeqCst);
    }

    /// Passes on what new connections send; the old ones stay lost.
    pub fn forward_packets(&self) {
        self.is_dark.store(false, Ordering::SeqCst);
    }
}

async fn swallow(mut stream: TcpStream) {
    let mut piece = [0; 4096];
    while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    is_lost_now: impl Fn(&[u8]) -> bool,
) {
    let (mut piece, mut is_lost) = ([0; 4096], false);
    while let Ok(count) = from.read(&mut piece).await {
        is_lost |= is_lost_now(&piece[..count]);
        if is_lost && count > 0 {
            continue;
        }
        if is_lost {
            // The end of a stream is not passed on either.
            return std::future::pending().await;
        }
        if count == 0 || to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
