//! A TLS connection in two hands: the protocol reads and writes it, and the driver says when to send.
//!
//! Records are collected here until they are sent, so that what a protocol writes piece by piece leaves in one call of the operating
//! system: `h2` flushes after each frame, and a call costs as much as encrypting several records. Owns nothing of HTTP.

use std::io::{self, BufRead as _, IoSlice, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that may be collected of one connection: four whole records, and what a header and the last slice add.
const COLLECTED_BYTES_MAX: usize = 80 * 1024;

/// Who says that what was collected is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// The protocol, by flushing.
    ByProtocol,
    /// The driver, with [`Transport::poll_send`]; the protocol flushes more often than it has to.
    ByDriver,
}

/// The transport of a connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Transport {
    records: Arc<Mutex<Records>>,
    flush: Flush,
}

struct Records {
    tcp: TcpStream,
    tls: ServerConnection,
    /// What was written and has not all been sent, in bytes before encryption.
    unsent_bytes: usize,
}

impl Transport {
    /// Takes over after the handshake.
    pub(super) fn new(tcp: TcpStream, mut tls: ServerConnection, flush: Flush) -> Self {
        tls.set_buffer_limit(Some(COLLECTED_BYTES_MAX));
        let records = Records { tcp, tls, unsent_bytes: 0 };
        Self { records: Arc::new(Mutex::new(records)), flush }
    }

    /// Sends what was collected. Ready with its length before encryption once all of it has left for the operating system.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.lock().poll_send(cx)
    }

    fn lock(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Blocking { tcp: &mut self.tcp, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(std::mem::take(&mut self.unsent_bytes)))
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
                // The peer may be told why.
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

/// What rustls reads from and writes to.
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
