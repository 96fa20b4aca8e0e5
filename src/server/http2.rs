//! Limits on what a client sends on an HTTP/2 connection beside requests. hyper answers every frame; this counts
//! control frames, and measures how long a frame or a head is incomplete (RFC 9113, 4.1, 6 and 10.5).

use hyper::body::Incoming;
use poem::http::Version;
use tokio::time::Instant;

use super::{fault::Fault, in_flight::InFlight, timeouts::Timeouts};
use crate::settings::ServerSettings;

/// The length of the connection preface (RFC 9113, 3.4), in bytes.
const PREFACE_LENGTH: usize = 24;
const HEADER_LENGTH: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Control frames that a client may send in a burst, ...
const BURST: u64 = 1000;
/// ... beyond that, in each second, ...
const PER_SECOND: u64 = 100;
/// ... and for each request: the window updates of its response, and a reset.
const PER_REQUEST: u64 = 16;

/// What a client has to read of its responses within the timeout, in bytes: about as much as other servers require
/// (Kestrel's `MinResponseDataRate` is 240 bytes a second).
const MIN_PROGRESS: usize = 16 * 1024;

/// The state of an HTTP/2 connection for its timeouts and limits.
#[derive(Debug)]
pub struct Http2 {
    frames: Frames,
    timeouts: Timeouts,
    start: Instant,
    /// When the client last had read enough of its responses, or had none to read.
    last_progress: Instant,
    /// Bytes sent since then.
    sent: usize,
    /// Requests in flight at the last check.
    in_flight: usize,
}

impl Http2 {
    /// A connection that starts now.
    pub fn new(timeouts: Timeouts) -> Self {
        let start = Instant::now();
        Self {
            frames: Frames::new(),
            timeouts,
            start,
            last_progress: start,
            sent: 0,
            in_flight: 0,
        }
    }

    /// Parses bytes from the client.
    ///
    /// # Errors
    /// [`Fault::TooManyFrames`].
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.frames.read(bytes)
    }

    /// Counts bytes that were written to the client's socket.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= MIN_PROGRESS {
            self.note_progress();
        }
    }

    /// Whether the preface, a frame other than DATA, or the head of a request is incomplete.
    pub fn is_unfinished(&self) -> bool {
        self.frames.unfinished_since.is_some()
    }

    /// When the wait for the client ends.
    pub fn deadline(&mut self, requests: &InFlight) -> Instant {
        let in_flight = requests.count();
        // A response has been read, a new one is ready, or bodies are being received, which have their own timeout.
        if in_flight < self.in_flight
            || self.in_flight == 0 && in_flight > 0
            || requests.is_receiving()
        {
            self.note_progress();
        }
        self.in_flight = in_flight;
        // Responses can wait for a client that never opens the window.
        let progress = self.last_progress
            + if in_flight > 0 {
                self.timeouts.response + self.timeouts.write
            } else {
                self.timeouts.idle
            };
        let first_request = (requests.total() == 0).then_some(self.start);
        let unfinished = self.frames.unfinished_since;
        let head = unfinished.into_iter().chain(first_request).min();
        let head = head.map(|since| since + self.timeouts.head);
        head.map_or(progress, |head| head.min(progress))
    }

    fn note_progress(&mut self) {
        self.sent = 0;
        self.last_progress = Instant::now();
    }
}

/// The frames that a client sends.
#[derive(Debug)]
struct Frames {
    /// The received part of a frame header.
    header: [u8; HEADER_LENGTH],
    header_length: usize,
    /// Bytes of the preface or of a payload that are still to be received.
    left: usize,
    is_data: bool,
    is_in_head: bool,
    /// Since when the preface, a frame other than DATA, or the head of a request has been incomplete.
    unfinished_since: Option<Instant>,
    control_frames: u64,
    requests: u64,
    start: Instant,
}

impl Frames {
    /// At the start of a connection.
    fn new() -> Self {
        let now = Instant::now();
        Self {
            header: [0; HEADER_LENGTH],
            header_length: 0,
            left: PREFACE_LENGTH,
            is_data: false,
            is_in_head: false,
            unfinished_since: Some(now),
            control_frames: 0,
            requests: 0,
            start: now,
        }
    }

    /// Parses received bytes.
    ///
    /// # Errors
    /// [`Fault::TooManyFrames`].
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
            } else {
                let count = (HEADER_LENGTH - self.header_length).min(bytes.len());
                let end = self.header_length + count;
                self.header[self.header_length..end].copy_from_slice(&bytes[..count]);
                self.header_length = end;
                bytes = &bytes[count..];
                if self.header_length == HEADER_LENGTH {
                    self.begin_frame()?;
                }
            }
            if !self.is_unfinished() {
                self.unfinished_since = None;
            }
        }
        if self.is_unfinished() && self.unfinished_since.is_none() {
            self.unfinished_since = Some(Instant::now());
        }
        Ok(())
    }

    fn is_unfinished(&self) -> bool {
        self.is_in_head || self.header_length > 0 || self.left > 0 && !self.is_data
    }

    fn begin_frame(&mut self) -> Result<(), Fault> {
        let [length @ .., kind, flags, _, _, _, _] = self.header;
        self.left = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        self.header_length = 0;
        self.is_data = kind == DATA;
        let is_request = kind == HEADERS && !self.is_in_head;
        if kind == HEADERS || kind == CONTINUATION {
            self.is_in_head = flags & END_HEADERS == 0;
        }
        self.requests += u64::from(is_request);
        let carries_something = match kind {
            DATA => self.left > 0 || flags & END_STREAM != 0,
            HEADERS => true,
            CONTINUATION => self.left > 0,
            _ => false,
        };
        if carries_something {
            return Ok(());
        }
        self.control_frames += 1;
        let allowed = BURST
            + PER_SECOND * self.start.elapsed().as_secs()
            + PER_REQUEST.saturating_mul(self.requests);
        if self.control_frames > allowed {
            return Err(Fault::TooManyFrames);
        }
        Ok(())
    }
}

/// The size of a head, in bytes. Checks its limits on HTTP/2, whose heads come in frames; on HTTP/1 the framing has done so.
///
/// # Errors
/// [`Fault::LineTooLong`], [`Fault::TooManyFields`] or [`Fault::FieldTooLarge`].
pub fn check_head(
    request: &hyper::Request<Incoming>,
    limits: &ServerSettings,
) -> Result<usize, Fault> {
    let target = request.uri().path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    let (mut size, mut largest) = (target, 0);
    for (name, value) in request.headers() {
        let field = name.as_str().len() + value.len() + 2;
        size += field;
        largest = largest.max(field);
    }
    if request.version() != Version::HTTP_2 {
        Ok(size)
    } else if target > limits.limit_request_line {
        Err(Fault::LineTooLong)
    } else if request.headers().len() > limits.limit_request_fields {
        Err(Fault::TooManyFields)
    } else if largest > limits.limit_request_field_size {
        Err(Fault::FieldTooLarge)
    } else {
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(payload);
        frame
    }

    #[tokio::test]
    async fn incomplete_frames_have_a_start_time() {
        let whole = [
            PREFACE.to_vec(),
            frame(4, 0, &[]),
            frame(HEADERS, 0, b"abc"),
            frame(CONTINUATION, END_HEADERS, b"d"),
            frame(DATA, 0, b"body"),
        ]
        .concat();
        let data = whole.len() - 4;
        for piece in 1..whole.len() {
            let (mut frames, mut passed) = (Frames::new(), 0);
            for bytes in whole.chunks(piece) {
                frames.read(bytes).unwrap();
                passed += bytes.len();
                // Between frames, and within the payload of DATA, nothing is unfinished.
                let is_finished = [24, 33, 55].contains(&passed) || passed >= data;
                assert_eq!(frames.unfinished_since.is_none(), is_finished, "{passed}");
            }
        }
    }

    #[tokio::test]
    async fn frames_that_carry_nothing_are_limited_and_requests_are_not() {
        for kind in [2, 3, 4, 6, 8, 0x42, DATA, CONTINUATION] {
            let mut frames = Frames::new();
            frames.read(PREFACE).unwrap();
            let mut read = 0;
            while frames.read(&frame(kind, END_HEADERS, &[])).is_ok() {
                read += 1;
            }
            assert_eq!(read, BURST, "{kind}");
        }
        let mut frames = Frames::new();
        frames.read(PREFACE).unwrap();
        for _ in 0..10_000 {
            for (kind, flags, count) in [(HEADERS, END_HEADERS, 1), (DATA, 0, 2), (8, 0, 8)] {
                for _ in 0..count {
                    frames.read(&frame(kind, flags, b"abcd")).unwrap();
                }
            }
        }
    }
}
