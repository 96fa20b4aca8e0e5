//! A connection between the socket and the HTTP parser: it lets through what is sound, one request at a time, and gives
//! ends it when the client takes too long.

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
    framing::{Found, Framing, Limits},
    http2::Http2,
    in_flight::InFlight,
    memory::Memory,
    timeouts::Timeouts,
};

/// Read from the socket at once, in bytes.
const PIECE: usize = 4096;
/// What is read ahead of further requests while one is answered, in bytes.
const MAX_WAITING: usize = 16 * 1024;
/// How long a request is answered after its client has closed its side of the connection: some close it when they have sent
/// all, most when they have gone.
const DISCONNECT_GRACE: Duration = Duration::from_secs(1);
/// What a connection begins with that speaks HTTP/2 without TLS (RFC 9113, 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// The connection.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    /// What has come and was not passed on.
    waiting: Buffer,
    /// How much of it may be passed on.
    sound: usize,
    protocol: Parser,
    in_flight: Arc<InFlight>,
    timeouts: Timeouts,
    /// When the wait for the client ends. Set while no request is being answered.
    deadline: Option<Instant>,
    is_closed: bool,
    is_idle: bool,
    alarm: Pin<Box<Sleep>>,
    /// Runs while the client reads nothing of a response.
    write_alarm: Option<Pin<Box<Sleep>>>,
    /// Runs while a request is answered whose client has closed its side.
    disconnect_alarm: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
    /// Whether the client waits for a response that hyper will not send.
    may_answer: bool,
    /// Whether further requests are kept back.
    takes_one: bool,
}

/// What follows the bytes that come.
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
    /// Guards a stream from its first byte on. What it has to keep counts for a client network, if it is known.
    pub fn new(
        stream: S,
        limits: Limits,
        timeouts: Timeouts,
        memory: (Memory, Option<IpAddr>),
    ) -> Self {
        let deadline = Instant::now() + timeouts.head;
        Self {
            stream,
            waiting: Buffer::new(memory),
            sound: 0,
            protocol: Parser::Http1(Framing::new(limits)),
            in_flight: Arc::default(),
            timeouts,
            deadline: Some(deadline),
            is_closed: false,
            is_idle: false,
            alarm: Box::pin(tokio::time::sleep_until(deadline)),
            write_alarm: None,
            disconnect_alarm: None,
            fault: None,
            may_answer: false,
            takes_one: false,
        }
    }

    /// The requests that are being answered.
    pub fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    /// Waits for the first request: until then a connection needs no parser, which would cost more than the connection
    /// itself. `None` when the client leaves without a word.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub async fn first_request(&mut self) -> Result<Option<Protocol>, Fault> {
        std::future::poll_fn(|context| self.poll_first_request(context)).await
    }

    fn poll_first_request(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Protocol>, Fault>> {
        loop {
            let seen = self.waiting.len().min(HTTP2_PREFACE.len());
            if seen > 0 && self.waiting[..seen] == HTTP2_PREFACE[..seen] {
                if seen == HTTP2_PREFACE.len() {
                    let begun = self.begin_http2();
                    return Poll::Ready(begun.map(|()| Some(Protocol::Http2)));
                }
            } else if seen > 0 {
                match self.examine() {
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
        http2.received(&self.waiting)?;
        self.protocol = Parser::Http2(http2);
        Ok(())
    }

    /// The head of the first request of HTTP/1, whose end has been seen.
    pub fn first_head(&self) -> &[u8] {
        &self.waiting[..self.sound]
    }

    /// Passes on the request that has begun and keeps all others back.
    pub fn take_one_request(&mut self) {
        self.takes_one = true;
    }

    /// Waits for the next request, which another parser gets.
    pub fn expect_request(&mut self) {
        self.takes_one = false;
        self.next_request();
    }

    /// Begins to wait for the next request, when the last one has been read.
    fn next_request(&mut self) {
        if let Parser::Http1(framing) = &mut self.protocol
            && framing.is_at_end()
        {
            framing.next_request();
            self.is_idle = true;
            self.deadline = Some(Instant::now() + self.timeouts.idle);
        }
    }

    /// Whether HTTP/1 is between two requests, and there may be another.
    pub fn is_between_requests(&self) -> bool {
        let may_follow = !self.is_closed || !self.waiting.is_empty();
        may_follow && !self.is_mid_request()
    }

    /// A head of which nothing has been passed on does not count.
    fn is_mid_request(&self) -> bool {
        let is_in_body = match &self.protocol {
            Parser::Http1(framing) => !framing.is_at_end() && !framing.is_in_head(),
            Parser::Http2(_) => false,
        };
        is_in_body || self.sound > 0 || self.write_alarm.is_some()
    }

    /// What made the connection end, if it was the client, and whether to send it as a response: not after a response has
    /// been sent, since a proxy would take it for the response to another client's request.
    pub fn take_fault(&mut self) -> Option<(Fault, bool)> {
        self.fault.take().map(|fault| (fault, self.may_answer))
    }

    /// The stream, to say good-bye.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Finds out how much of what has come may be passed on; whether there is any.
    fn examine(&mut self) -> Result<bool, Fault> {
        loop {
            let Parser::Http1(framing) = &mut self.protocol else {
                self.sound = self.waiting.len();
                return Ok(self.sound > 0);
            };
            if framing.is_at_end() {
                if self.in_flight.count() > 0 || self.write_alarm.is_some() || self.takes_one {
                    return Ok(false);
                }
                self.next_request();
                continue;
            }
            let was_in_head = framing.is_in_head();
            match framing.look(&self.waiting)? {
                Found::Nothing(count) => self.waiting.advance(count),
                Found::More => {
                    // From its first byte on, a head has its own time.
                    if was_in_head && self.is_idle && !self.waiting.is_empty() {
                        self.is_idle = false;
                        self.deadline = Some(Instant::now() + self.timeouts.head);
                    }
                    return Ok(false);
                }
                Found::Bytes(count) => {
                    if was_in_head {
                        self.in_flight.begin();
                        self.deadline = None;
                    }
                    self.sound = count;
                    return Ok(true);
                }
            }
        }
    }

    /// Reads from the socket; gives how much has come, 0 at its end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_at_end = matches!(&self.protocol, Parser::Http1(framing) if framing.is_at_end());
        if self.waiting.len() >= MAX_WAITING && (is_at_end || self.in_flight.count() > 0) {
            return Poll::Pending;
        }
        let mut piece = [0; PIECE];
        let mut buffer = ReadBuf::new(&mut piece);
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer)? {
            Poll::Ready(()) => {
                let piece = buffer.filled();
                if let Parser::Http2(http2) = &mut self.protocol
                    && let Err(fault) = http2.received(piece)
                {
                    return Poll::Ready(Err(self.give_up(fault)));
                }
                let count = piece.len();
                self.is_closed |= count == 0;
                match self.waiting.push(piece) {
                    Ok(()) => Poll::Ready(Ok(count)),
                    Err(fault) => {
                        self.may_answer = self.in_flight.count() == 0;
                        Poll::Ready(Err(self.give_up(fault)))
                    }
                }
            }
            Poll::Pending => self.poll_deadline(context),
        }
    }

    /// Notes why the connection ends.
    fn give_up(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        self.in_flight.set_fault(fault);
        io::ErrorKind::InvalidData.into()
    }

    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Parser::Http2(http2) = &mut self.protocol {
            self.deadline = Some(http2.deadline(&self.in_flight));
        } else if self.write_alarm.is_some() {
            return Poll::Pending;
        }
        let Some(deadline) = self.deadline else {
            return Poll::Pending;
        };
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        ready!(self.alarm.as_mut().poll(context));
        match &self.protocol {
            // A begun request gets a response; an idle connection is closed without one, as browsers expect.
            Parser::Http1(_) if !self.waiting.is_empty() => {
                self.fault = Some(Fault::HeadTooSlow);
                self.may_answer = true;
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

    /// Waits until the requests of a client that has closed its side are answered, but not for long.
    fn poll_disconnect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.in_flight.count() == 0 && self.write_alarm.is_none() {
            return Poll::Ready(());
        }
        let alarm = self
            .disconnect_alarm
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(DISCONNECT_GRACE)));
        alarm.as_mut().poll(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_sound(context, buffer);
        self.in_flight.set_mid_request(self.is_mid_request());
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Reads what may be passed on.
    fn poll_read_sound(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.sound > 0 {
                let count = self.sound.min(buffer.remaining());
                buffer.put_slice(&self.waiting[..count]);
                self.waiting.advance(count);
                self.sound -= count;
                return Poll::Ready(Ok(()));
            }
            // Before the count is read: an answer that ends in between wakes this task again.
            self.in_flight.wake_on_change(context.waker());
            match self.examine() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => {
                    self.fault = Some(fault);
                    self.may_answer = match &self.protocol {
                        Parser::Http1(framing) => framing.is_in_head(),
                        Parser::Http2(_) => false,
                    };
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
            }
            // While a request is answered, only to notice that the client has gone.
            if ready!(self.poll_fill(context))? == 0 {
                if matches!(&self.protocol, Parser::Http1(framing) if framing.is_at_end()) {
                    if self.takes_one && !self.waiting.is_empty() {
                        // For another parser.
                        return Poll::Pending;
                    }
                    ready!(self.poll_disconnect(context));
                }
                return Poll::Ready(Ok(()));
            }
        }
    }
}
