//! Closing a connection with a last response.

use std::{
    pin::Pin,
    task::{Context, Waker},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::fault::Fault;

/// How long, and for how many bytes, the client's data is read and discarded after the last response: closing a socket with
/// unread data resets the connection, and the client may lose the response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// Writes the response to a fault as far as the socket takes it without waiting.
pub fn try_write_response(stream: &mut (impl AsyncWrite + Unpin), fault: Fault) {
    let mut context = Context::from_waker(Waker::noop());
    let _ = Pin::new(stream).poll_write(&mut context, fault.http1_response().as_bytes());
}

/// Writes the response to a fault, if there is one, shuts the connection down and discards what the client still sends.
pub async fn lingering_close(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    fault: Option<Fault>,
) {
    let closing = async {
        if let Some(fault) = fault {
            stream.write_all(fault.http1_response().as_bytes()).await?;
        }
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // A client that has disconnected needs no response.
    let _ = tokio::time::timeout(LINGER, closing).await;
}
