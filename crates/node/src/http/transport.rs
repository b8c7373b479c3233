//! A TLS connection with two users: the protocol reads and writes it, and the driver says when to send.
//!
//! Records are collected here until they are sent, so that what a protocol writes piece by piece leaves in one system call: `h2` flushes
//! after each frame, and a call costs as much as encrypting several records. Owns nothing of HTTP.

use std::fmt;
use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that may be collected for one connection: four whole records, and what a header and the last slice add.
const COLLECTED_BYTES: usize = 80 * 1024;
/// The same when the peer takes all of it at once, and no other response waits for its turn: fewer calls for the same bytes.
const COLLECTED_BYTES_MAX: usize = 4 * COLLECTED_BYTES;

/// What causes the collected records to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// The protocol, by flushing.
    ByProtocol,
    /// The driver, with [`Transport::poll_send`]; the protocol flushes more often than it has to.
    ByDriver,
}

/// The transport of a connection. Clones share it.
#[derive(Clone)]
pub struct Transport {
    records: Arc<Mutex<Records>>,
    flush: Flush,
}

struct Records {
    tcp: TcpStream,
    tls: ServerConnection,
    /// Bytes, before encryption, that were written since all was last sent.
    unsent_bytes: usize,
    limit: CollectLimit,
}

/// How much may be collected: more for a peer that takes everything at once, little for one that reads slowly and would hold it. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CollectLimit {
    bytes: usize,
    bytes_max: usize,
}

impl CollectLimit {
    const fn new(flush: Flush) -> Self {
        let bytes_max = match flush {
            Flush::ByProtocol => COLLECTED_BYTES_MAX,
            // The order of the responses is decided again after so many bytes.
            Flush::ByDriver => COLLECTED_BYTES,
        };
        Self { bytes: COLLECTED_BYTES, bytes_max }
    }

    /// The limit after all of `bytes`, which were collected, has been sent.
    const fn after_sending(self, bytes: usize) -> Self {
        let doubled = if self.bytes * 2 < self.bytes_max { self.bytes * 2 } else { self.bytes_max };
        Self { bytes: if bytes < self.bytes { self.bytes } else { doubled }, ..self }
    }

    /// The limit after the peer has taken no more for now.
    const fn after_blocking(self) -> Self {
        Self { bytes: COLLECTED_BYTES, ..self }
    }
}

impl Transport {
    /// Takes over after the handshake.
    pub fn new(tcp: TcpStream, mut tls: ServerConnection, flush: Flush) -> Self {
        let limit = CollectLimit::new(flush);
        tls.set_buffer_limit(Some(limit.bytes));
        let records = Records { tcp, tls, unsent_bytes: 0, limit };
        Self { records: Arc::new(Mutex::new(records)), flush }
    }

    /// Sends what was collected. Ready with its length before encryption once the operating system has taken all of it.
    ///
    /// # Errors
    /// When the peer is gone.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.lock().poll_send(cx)
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prints nothing of the peer.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("flush", &self.flush).finish_non_exhaustive()
    }
}

impl Records {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Blocking { tcp: &mut self.tcp, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.give(self.limit.after_blocking());
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        let sent_bytes = std::mem::take(&mut self.unsent_bytes);
        self.give(self.limit.after_sending(sent_bytes));
        Poll::Ready(Ok(sent_bytes))
    }

    fn give(&mut self, limit: CollectLimit) {
        if limit != self.limit {
            self.limit = limit;
            self.tls.set_buffer_limit(Some(limit.bytes));
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.tls.reader().into_first_chunk() {
                Ok(data) => {
                    let (read, _) = data.split_at(data.len().min(buffer.remaining()));
                    buffer.put_slice(read);
                    let length = read.len();
                    self.tls.reader().consume(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            match self.tls.read_tls(&mut Blocking { tcp: &mut self.tcp, cx }) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Err(error) = self.tls.process_new_packets() {
                // Sends the alert that tells the peer why, if there is room.
                let _ = self.poll_send(cx);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        loop {
            let written = self.tls.writer().write_vectored(slices)?;
            if written > 0 {
                self.unsent_bytes = self.unsent_bytes.saturating_add(written);
                return Poll::Ready(Ok(written));
            }
            ready!(self.poll_send(cx))?;
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tls.send_close_notify();
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.flush {
            Flush::ByProtocol => self.poll_send(cx).map_ok(|_| ()),
            Flush::ByDriver => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_shutdown(cx)
    }
}

/// The socket as rustls reads and writes it: instead of waiting it fails with `WouldBlock`.
struct Blocking<'a, 'b> {
    tcp: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

fn or_would_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(done) => done,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl io::Read for Blocking<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        or_would_block(Pin::new(&mut *self.tcp).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl io::Write for Blocking<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.tcp).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.tcp).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_for_a_peer_that_takes_all_at_once_and_is_lost_by_one_that_does_not() {
        let mut limit = CollectLimit::new(Flush::ByProtocol);
        limit = limit.after_sending(COLLECTED_BYTES - 1);
        assert_eq!(limit.bytes, COLLECTED_BYTES, "it had not needed more");
        for expected in [2, 4, 4] {
            limit = limit.after_sending(limit.bytes);
            assert_eq!(limit.bytes, expected * COLLECTED_BYTES);
        }
        assert_eq!(limit.after_blocking(), CollectLimit::new(Flush::ByProtocol));
    }

    #[test]
    fn room_does_not_grow_where_responses_take_turns() {
        let limit = CollectLimit::new(Flush::ByDriver);
        assert_eq!(limit.after_sending(limit.bytes), limit);
    }
}
