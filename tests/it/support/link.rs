//! A network between a server and its database, which a test may cut.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Passes on what comes to its port, both ways.
pub struct Link {
    pub port: u16,
    is_dark: Arc<AtomicBool>,
}

impl Link {
    /// To a port of this machine.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let is_dark = Arc::new(AtomicBool::new(false));
        let dark = is_dark.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let dark = dark.clone();
                tokio::spawn(async move {
                    // Who comes in the dark hears nothing, now and later.
                    if dark.load(Ordering::SeqCst) {
                        return swallow(near).await;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let ((near_read, near_write), (far_read, far_write)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(
                        pass(near_read, far_write, &dark),
                        pass(far_read, near_write, &dark),
                    );
                });
            }
        });
        Self { port: own, is_dark }
    }

    /// Loses all that is sent from here on, without a word to either side: a cut cable.
    pub fn go_dark(&self) {
        self.is_dark.store(true, Ordering::SeqCst);
    }

    /// Passes on what new connections send; the old ones stay lost.
    pub fn come_back(&self) {
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
    dark: &AtomicBool,
) {
    let (mut piece, mut is_lost) = ([0; 4096], false);
    while let Ok(count) = from.read(&mut piece).await {
        is_lost |= dark.load(Ordering::SeqCst);
        if is_lost && count > 0 {
            continue;
        }
        if is_lost {
            // An end is not passed on either: nobody is told anything.
            return std::future::pending().await;
        }
        if count == 0 || to.write_all(&piece[..count]).await.is_err() {
            return;
        }
    }
}
