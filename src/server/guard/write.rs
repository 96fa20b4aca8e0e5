//! The writing side of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Guard, Parser};

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Counts what a client of HTTP/2 has read of its responses.
    fn note_progress(&mut self, written: &Poll<io::Result<usize>>) {
        if let (Parser::Http2(http2), Poll::Ready(Ok(count))) = (&mut self.parser, written) {
            http2.sent(*count);
        }
    }

    /// Ends the connection when its client reads nothing for the write timeout.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.write_timer.take().is_some() {
                // Further requests were held back.
                self.in_flight.wake_reader();
            }
            self.in_flight.set_mid_request(self.is_mid_request());
            return written;
        }
        self.in_flight.set_mid_request(true);
        let timeout = self.timeouts.write;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_progress(&written);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.note_progress(&written);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.stream).poll_flush(context);
        if written.is_ready() {
            // hyper flushes when its buffer is empty.
            self.in_flight.all_written();
        }
        self.watch(context, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let stream = Pin::new(&mut this.stream);
        let written = match &this.parser {
            // There may be further requests, or `lingering_close` shuts it down.
            Parser::Http1(_) => stream.poll_flush(context),
            Parser::Http2(_) => stream.poll_shutdown(context),
        };
        self.watch(context, written)
    }
}
