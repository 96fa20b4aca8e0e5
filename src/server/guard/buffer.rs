//! The bytes of a connection that wait for the HTTP parser, and their memory.

use std::{net::IpAddr, ops::Deref};

use tokio_util::bytes::{Buf as _, BytesMut};

use crate::server::{
    fault::Fault,
    memory::{Memory, Reserved},
};

/// A buffer whose memory is reserved.
#[derive(Debug)]
pub struct Buffer {
    bytes: BytesMut,
    reserved: Option<Reserved>,
    memory: Memory,
    /// The client network for which the memory counts, if it is known.
    network: Option<IpAddr>,
}

impl Buffer {
    /// An empty buffer.
    pub fn new((memory, network): (Memory, Option<IpAddr>)) -> Self {
        Self {
            bytes: BytesMut::new(),
            reserved: None,
            memory,
            network,
        }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Fault::Busy`] when there is no memory left; the buffer is empty then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            // `BytesMut` grows at least to twice its size.
            let grown = needed.max(2 * self.bytes.capacity());
            self.reserved = None;
            match self.memory.reserve(self.network, grown) {
                Ok(reserved) => self.reserved = reserved,
                Err(fault) => {
                    self.bytes = BytesMut::new();
                    return Err(fault);
                }
            }
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Removes `count` bytes from the front. An empty buffer keeps no memory that is counted.
    pub fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if self.reserved.is_some() && self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.reserved = None;
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
