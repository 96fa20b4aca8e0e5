//! An accepted connection.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use poem::Addr;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_util::{bytes::BytesMut, either::Either};

/// A connection with bytes that were read before and are to be read again.
#[derive(Debug)]
pub struct Stream {
    socket: Either<TcpStream, UnixStream>,
    peer: Option<SocketAddr>,
    unread: BytesMut,
}

impl Stream {
    /// A TCP connection. Its addresses are read at once, while it is open.
    pub fn tcp((stream, peer): (TcpStream, SocketAddr)) -> Self {
        // A response is written at once: Nagle's algorithm would only delay it.
        let _ = stream.set_nodelay(true);
        Self {
            socket: Either::Left(stream),
            peer: Some(peer),
            unread: BytesMut::new(),
        }
    }

    /// A connection on a Unix socket.
    pub fn unix(stream: UnixStream) -> Self {
        Self {
            socket: Either::Right(stream),
            peer: None,
            unread: BytesMut::new(),
        }
    }

    /// The peer's address; none on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The local address.
    pub fn local(&self) -> Addr {
        match &self.socket {
            Either::Left(stream) => stream.local_addr().ok().map(Addr::from),
            Either::Right(_) => None,
        }
        .unwrap_or_else(unix_address)
    }

    /// Puts bytes back, to be read again.
    pub fn unread(&mut self, bytes: BytesMut) {
        self.unread = bytes;
    }
}

/// The address of a peer on a Unix socket.
pub fn unix_address() -> Addr {
    Addr::custom("unix", "")
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, buffer);
        }
        let count = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, pieces)
    }
}
