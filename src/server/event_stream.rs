//! Responses with server-sent events on HTTP/1.1. They last long and send little: without hyper's buffers a connection takes a third of
//! the memory.

use std::{fmt::Write as _, io};

use chrono::Utc;
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::{Body, Bytes},
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::guard::Guard;

/// The media type of server-sent events.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Whether a response is a stream of events.
pub fn is_event_stream<B>(response: &Response<B>) -> bool {
    response.headers().get(CONTENT_TYPE) == Some(&MEDIA_TYPE)
}

/// Sends a stream of events, in chunks (RFC 9112, 7.1), until it ends or the client disconnects. No other request follows on the
/// connection.
///
/// # Errors
/// When the connection fails, or the client reads nothing for the write timeout.
pub async fn send<S: AsyncRead + AsyncWrite + Unpin>(
    guard: &mut Guard<S>,
    response: Response<impl Body<Data = Bytes, Error = io::Error> + Unpin>,
) -> io::Result<()> {
    let (head, mut body) = response.into_parts();
    let mut text = format!("HTTP/1.1 {}\r\n", head.status);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        write!(text, "{name}: {value}\r\n").expect("a string takes all");
    }
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT");
    write!(
        text,
        "date: {date}\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .expect("a string takes all");
    guard.write_all(text.as_bytes()).await?;
    drop((text, head.headers));
    loop {
        let mut byte = [0];
        let frame = tokio::select! {
            frame = body.frame() => frame,
            // The client has disconnected, or sends another request, which will have no response.
            _ = guard.stream().read(&mut byte) => return Ok(()),
        };
        let Some(frame) = frame else {
            break;
        };
        if let Ok(data) = frame?.into_data() {
            let size = format!("{:x}\r\n", data.len());
            let chunk = [size.as_bytes(), &data, b"\r\n"].concat();
            guard.write_all(&chunk).await?;
        }
    }
    guard.write_all(b"0\r\n\r\n").await?;
    guard.flush().await
}
