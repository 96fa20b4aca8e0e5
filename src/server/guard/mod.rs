//! A connection between the socket and hyper: it passes on requests whose framing is valid, on HTTP/1 one at a time, and
//! enforces the timeouts.

mod buffer;
mod write;

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

use self::buffer::Buffer;
use super::{
    fault::Fault,
    framing::{Framing, Limits, Parsed},
    http2::Http2,
    in_flight::InFlight,
    memory::Memory,
    timeouts::Timeouts,
};

/// The size of a read from the socket, in bytes.
const READ_SIZE: usize = 4096;
/// The most that is buffered of further requests while one is in flight, in bytes.
const MAX_BUFFERED: usize = 16 * 1024;
/// How long a request stays in flight after its client has closed its sending side: some clients half-close, most have
/// disconnected.
const DISCONNECT_GRACE: Duration = Duration::from_secs(1);
/// The first line of HTTP/2's connection preface (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A connection.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    /// Received and not passed on.
    received: Buffer,
    /// The bytes at its front that may be passed on.
    valid: usize,
    parser: Parser,
    in_flight: Arc<InFlight>,
    timeouts: Timeouts,
    /// When the wait for the client ends. Set while no request is in flight.
    deadline: Option<Instant>,
    is_closed: bool,
    is_idle: bool,
    timer: Pin<Box<Sleep>>,
    /// Set while the client reads nothing of a response.
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Set while a request is in flight whose client has closed its sending side.
    disconnect_timer: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
    /// Whether the client waits for a response that hyper will not send.
    sends_fault: bool,
    /// Whether further requests are held back.
    takes_one: bool,
}

/// The state of the protocol.
#[derive(Debug)]
enum Parser {
    Http1(Framing),
    Http2(Http2),
}

/// The version of HTTP of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// A connection before its first byte. Its buffer counts for a client network, if it is known.
    pub fn new(
        stream: S,
        limits: Limits,
        timeouts: Timeouts,
        memory: (Memory, Option<IpAddr>),
    ) -> Self {
        let deadline = Instant::now() + timeouts.head;
        Self {
            stream,
            received: Buffer::new(memory),
            valid: 0,
            parser: Parser::Http1(Framing::new(limits)),
            in_flight: Arc::default(),
            timeouts,
            deadline: Some(deadline),
            is_closed: false,
            is_idle: false,
            timer: Box::pin(tokio::time::sleep_until(deadline)),
            write_timer: None,
            disconnect_timer: None,
            fault: None,
            sends_fault: false,
            takes_one: false,
        }
    }

    /// The requests in flight.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// Waits for the first request: until then a connection needs none of hyper's buffers, which are larger than all else
    /// of it. `None` when the client closes it before.
    ///
    /// # Errors
    /// What is wrong with the request, or that its head did not come in time.
    pub async fn first_request(&mut self) -> Result<Option<Protocol>, Fault> {
        std::future::poll_fn(|context| self.poll_first_request(context)).await
    }

    fn poll_first_request(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Protocol>, Fault>> {
        loop {
            let seen = self.received.len().min(HTTP2_PREFACE.len());
            if seen > 0 && self.received[..seen] == HTTP2_PREFACE[..seen] {
                if seen == HTTP2_PREFACE.len() {
                    let result = self.begin_http2();
                    return Poll::Ready(result.map(|()| Some(Protocol::Http2)));
                }
            } else if seen > 0 {
                match self.parse_received() {
                    Ok(true) => return Poll::Ready(Ok(Some(Protocol::Http1))),
                    Ok(false) => {}
                    Err(fault) => return Poll::Ready(Err(fault)),
                }
            }
            match ready!(self.poll_fill(context)) {
                Ok(0) => return Poll::Ready(Ok(None)),
                Ok(_) => {}
                Err(_) => return Poll::Ready(self.fault.take().map_or(Ok(None), Err)),
            }
        }
    }

    fn begin_http2(&mut self) -> Result<(), Fault> {
        let mut http2 = Http2::new(self.timeouts);
        http2.received(&self.received)?;
        self.parser = Parser::Http2(http2);
        Ok(())
    }

    /// The complete head of the first request of HTTP/1.
    pub fn first_head(&self) -> &[u8] {
        &self.received[..self.valid]
    }

    /// Passes on the current request and holds all further ones back.
    pub fn take_one_request(&mut self) {
        self.takes_one = true;
    }

    /// Waits for the next request, for another connection of hyper's.
    pub fn expect_request(&mut self) {
        self.takes_one = false;
        self.next_request();
    }

    /// Starts the wait for the next request when the last one has been read.
    fn next_request(&mut self) {
        if let Parser::Http1(framing) = &mut self.parser
            && framing.is_at_end()
        {
            framing.next_request();
            self.is_idle = true;
            self.deadline = Some(Instant::now() + self.timeouts.idle);
        }
    }

    /// Whether the last request and its response are complete, and another request may come.
    pub fn is_between_requests(&self) -> bool {
        let may_follow = !self.is_closed || !self.received.is_empty();
        may_follow && !self.is_mid_request()
    }

    /// Whether a request has been passed on in part, or a response written in part.
    fn is_mid_request(&self) -> bool {
        let is_in_body = match &self.parser {
            Parser::Http1(framing) => !framing.is_at_end() && !framing.is_in_head(),
            Parser::Http2(_) => false,
        };
        is_in_body || self.valid > 0 || self.write_timer.is_some()
    }

    /// The client's fault that ended the connection, and whether to send it as a response: not after a response has been
    /// sent, since a proxy would take it for the response to another client's request.
    pub fn take_fault(&mut self) -> Option<(Fault, bool)> {
        self.fault.take().map(|fault| (fault, self.sends_fault))
    }

    /// The stream, for the last response and the closing.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Parses what was received; whether any of it may be passed on.
    fn parse_received(&mut self) -> Result<bool, Fault> {
        loop {
            let Parser::Http1(framing) = &mut self.parser else {
                self.valid = self.received.len();
                return Ok(self.valid > 0);
            };
            if framing.is_at_end() {
                if self.in_flight.count() > 0 || self.write_timer.is_some() || self.takes_one {
                    return Ok(false);
                }
                self.next_request();
                continue;
            }
            let was_in_head = framing.is_in_head();
            match framing.parse(&self.received)? {
                Parsed::Skipped(count) => self.received.advance(count),
                Parsed::Incomplete => {
                    // The head's timeout starts with its first byte.
                    if was_in_head && self.is_idle && !self.received.is_empty() {
                        self.is_idle = false;
                        self.deadline = Some(Instant::now() + self.timeouts.head);
                    }
                    return Ok(false);
                }
                Parsed::Bytes(count) => {
                    if was_in_head {
                        self.in_flight.begin();
                        self.deadline = None;
                    }
                    self.valid = count;
                    return Ok(true);
                }
            }
        }
    }

    /// Reads from the socket; gives the number of bytes, 0 at its end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_at_end = matches!(&self.parser, Parser::Http1(framing) if framing.is_at_end());
        if self.received.len() >= MAX_BUFFERED && (is_at_end || self.in_flight.count() > 0) {
            return Poll::Pending;
        }
        let mut bytes = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer)? {
            Poll::Ready(()) => {
                let bytes = buffer.filled();
                if let Parser::Http2(http2) = &mut self.parser
                    && let Err(fault) = http2.received(bytes)
                {
                    return Poll::Ready(Err(self.fail(fault)));
                }
                let count = bytes.len();
                self.is_closed |= count == 0;
                match self.received.push(bytes) {
                    Ok(()) => Poll::Ready(Ok(count)),
                    Err(fault) => {
                        self.sends_fault = self.in_flight.count() == 0;
                        Poll::Ready(Err(self.fail(fault)))
                    }
                }
            }
            Poll::Pending => self.poll_deadline(context),
        }
    }

    /// Sets the fault that ends the connection.
    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        self.in_flight.set_fault(fault);
        io::ErrorKind::InvalidData.into()
    }

    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Parser::Http2(http2) = &mut self.parser {
            self.deadline = Some(http2.deadline(&self.in_flight));
        } else if self.write_timer.is_some() {
            return Poll::Pending;
        }
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        // A later deadline is set when the timer has fired: usually the next request comes before, which has another one.
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        ready!(self.timer.as_mut().poll(context));
        if self.timer.deadline() < deadline {
            self.timer.as_mut().reset(deadline);
            ready!(self.timer.as_mut().poll(context));
        }
        match &self.parser {
            // An incomplete request gets a 408; an idle connection is closed without a response, as browsers expect.
            Parser::Http1(_) if !self.received.is_empty() => {
                self.fault = Some(Fault::HeadTooSlow);
                self.sends_fault = true;
            }
            Parser::Http2(http2) => {
                if http2.is_unfinished() {
                    self.in_flight.set_fault(Fault::HeadTooSlow);
                }
            }
            Parser::Http1(_) => {}
        }
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits for the requests in flight of a client that has closed its sending side, for [`DISCONNECT_GRACE`] at most.
    fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Before the count is read.
        self.in_flight.wake_on_change(context.waker());
        if self.in_flight.count() == 0 && self.write_timer.is_none() {
            return Poll::Ready(());
        }
        let timer = self
            .disconnect_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(DISCONNECT_GRACE)));
        timer.as_mut().poll(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_valid(context, buffer);
        self.in_flight.set_mid_request(self.is_mid_request());
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Reads bytes that may be passed on.
    fn poll_read_valid(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.valid > 0 {
                let count = self.valid.min(buffer.remaining());
                buffer.put_slice(&self.received[..count]);
                self.received.advance(count);
                self.valid -= count;
                return Poll::Ready(Ok(()));
            }
            // On HTTP/1, hyper polls the reader again in the task that has sent a response. A waker is needed only for a pipelined
            // request in the buffer, and for a write that is pending.
            let is_held_back = !self.received.is_empty() || self.write_timer.is_some();
            if is_held_back || matches!(self.parser, Parser::Http2(_)) {
                // Before the count is read: a response that ends in between wakes this task again.
                self.in_flight.wake_on_change(context.waker());
            }
            match self.parse_received() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => {
                    self.fault = Some(fault);
                    self.sends_fault = match &self.parser {
                        Parser::Http1(framing) => framing.is_in_head(),
                        Parser::Http2(_) => false,
                    };
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
            // While a request is in flight, only to notice that the client has disconnected.
            if ready!(self.poll_fill(context))? == 0 {
                if matches!(&self.parser, Parser::Http1(framing) if framing.is_at_end()) {
                    if self.takes_one && !self.received.is_empty() {
                        // For another connection of hyper's.
                        return Poll::Pending;
                    }
                    ready!(self.poll_disconnect(context));
                }
                return Poll::Ready(Ok(()));
            }
        }
    }
}
