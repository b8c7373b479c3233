//! A publisher's socket that is read a few times per part, and not with each packet.
//!
//! Encoders send 80 messages a second, each in its own packet, and waking a thread for each costs more than the media does. So once
//! media comes, the socket leaves the reactor and is read at moments that all publishers of the process share. One wake serves
//! all of them, and their media travels on together. Owns when to read; deliberately knows nothing of what is read.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use node::clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

/// Reads of a publisher's socket per part. They delay a part by an eighth of its length at most, and by half of that on average.
const LOOKS_PER_PART: u32 = 8;

/// The moments at which all publishers are read: multiples of an interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct PollClock {
    clock: Clock,
    every_ms: u64,
}

impl PollClock {
    /// The clock for parts of this length.
    pub(super) fn new(clock: Clock, part: Duration) -> Self {
        let every_ms = u64::try_from((part / LOOKS_PER_PART).as_millis()).unwrap_or(u64::MAX);
        Self { clock, every_ms: every_ms.max(1) }
    }

    fn next(&self) -> tokio::time::Instant {
        self.clock.instant(after(self.clock.elapsed(), self.every_ms))
    }
}

/// The first multiple of `every_ms` after `now`.
fn after(now: Duration, every_ms: u64) -> Duration {
    let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let beats = now_ms.checked_div(every_ms).unwrap_or(0).saturating_add(1);
    Duration::from_millis(beats.saturating_mul(every_ms))
}

/// A socket that changes to paced reads when media begins.
pub(super) trait Pace {
    /// Reads only at the beats from now on.
    ///
    /// # Errors
    /// When the socket cannot leave the reactor.
    fn pace(&mut self) -> io::Result<()>;
}

/// The socket of a stranger, and after [`Pace::pace`] of a publisher.
#[derive(Debug)]
pub(super) struct PublisherSocket {
    poll_clock: PollClock,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Woken by the reactor.
    Strange(TcpStream),
    /// Not known to the reactor.
    Paced(Paced),
    /// It could not leave the reactor.
    Lost,
}

#[derive(Debug)]
struct Paced {
    socket: std::net::TcpStream,
    poll_clock: PollClock,
    sleep: Pin<Box<Sleep>>,
    /// All data was read: the socket is not read again before `sleep` is over.
    is_resting: bool,
}

impl PublisherSocket {
    pub(super) const fn new(socket: TcpStream, poll_clock: PollClock) -> Self {
        Self { poll_clock, state: State::Strange(socket) }
    }
}

impl Pace for PublisherSocket {
    fn pace(&mut self) -> io::Result<()> {
        self.state = match std::mem::replace(&mut self.state, State::Lost) {
            State::Strange(socket) => {
                let sleep = Box::pin(tokio::time::sleep_until(self.poll_clock.next()));
                State::Paced(Paced {
                    socket: socket.into_std()?,
                    poll_clock: self.poll_clock,
                    sleep,
                    is_resting: false,
                })
            }
            other => other,
        };
        Ok(())
    }
}

impl Pace for Box<TlsStream<PublisherSocket>> {
    fn pace(&mut self) -> io::Result<()> {
        self.get_mut().0.pace()
    }
}

impl Paced {
    fn rest(&mut self) {
        self.sleep.as_mut().reset(self.poll_clock.next());
        self.is_resting = true;
    }

    /// Ready when it is time to read.
    fn poll_beat(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_resting {
            ready!(self.sleep.as_mut().poll(cx));
            self.is_resting = false;
        }
        Poll::Ready(())
    }

    /// Does `io`, and again at each poll while it would block.
    fn poll_io(
        &mut self,
        cx: &mut Context<'_>,
        mut io: impl FnMut(&std::net::TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_beat(cx));
            // As the reactor's sockets do: a peer that sends as fast as it is read must leave the thread to other tasks now and then.
            let budget = ready!(tokio::task::coop::poll_proceed(cx));
            match io(&self.socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.rest(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => {
                    budget.made_progress();
                    return Poll::Ready(done);
                }
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let space = buffer.initialize_unfilled();
        let length = space.len();
        let read = ready!(self.poll_io(cx, |mut socket| socket.read(space)))?;
        if read < length {
            // No more data is there.
            self.rest();
        }
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Answers do not wait for the next poll, unless the peer takes no data.
        let was_resting = std::mem::replace(&mut self.is_resting, false);
        let written = self.poll_io(cx, |mut socket| socket.write(bytes));
        self.is_resting |= was_resting;
        written
    }
}

fn lost() -> io::Error {
    ErrorKind::NotConnected.into()
}

impl AsyncRead for PublisherSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Strange(socket) => Pin::new(socket).poll_read(cx, buffer),
            State::Paced(paced) => paced.poll_read(cx, buffer),
            State::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for PublisherSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Strange(socket) => Pin::new(socket).poll_write(cx, bytes),
            State::Paced(paced) => paced.poll_write(cx, bytes),
            State::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Strange(socket) => Pin::new(socket).poll_flush(cx),
            State::Paced(_) | State::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Strange(socket) => Pin::new(socket).poll_shutdown(cx),
            State::Paced(paced) => Poll::Ready(paced.socket.shutdown(Shutdown::Write)),
            State::Lost => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PART: Duration = Duration::from_millis(480);

    async fn pair(part: Duration) -> (TcpStream, PublisherSocket) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        (peer, PublisherSocket::new(socket, PollClock::new(Clock::new(), part)))
    }

    #[test]
    fn beats_are_multiples_and_never_now() {
        let ms = Duration::from_millis;
        for (now, next) in [(0, 40), (39, 40), (40, 80), (41, 80), (1_000_000, 1_000_040)] {
            assert_eq!(after(ms(now), 40), ms(next));
        }
        assert_eq!(PollClock::new(Clock::new(), Duration::ZERO).every_ms, 1);
    }

    #[tokio::test]
    async fn bytes_come_in_order_across_the_change_and_so_does_the_end() {
        let (mut peer, mut socket) = pair(PART).await;
        peer.write_all(b"hello").await.unwrap();
        let mut read = [0; 5];
        socket.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
        socket.pace().unwrap();
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (bytes, sender) = (sent.clone(), async move {
            peer.write_all(&sent).await.unwrap();
            let mut answer = [0; 2];
            peer.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ok");
        });
        let receiver = async {
            socket.write_all(b"ok").await.unwrap();
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, bytes);
        };
        tokio::join!(sender, receiver);
    }

    #[tokio::test]
    async fn what_comes_between_two_beats_waits_for_the_next() {
        let (mut peer, mut socket) = pair(PART * 100_000).await;
        let mut buffer = [0; 64];
        // One packet: once its first byte is here, both are.
        peer.write_all(b"ab").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'a');
        socket.pace().unwrap();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 1, "the first look is at once");
        peer.write_all(b"c").await.unwrap();
        assert!(futures_util::poll!(std::pin::pin!(socket.read(&mut buffer))).is_pending());
        socket.write_all(b"ok").await.unwrap();
        assert!(
            futures_util::poll!(std::pin::pin!(socket.read(&mut buffer))).is_pending(),
            "an answer changes nothing"
        );
    }

    #[tokio::test]
    async fn publisher_that_is_never_read_empty_leaves_the_thread_to_others() {
        let (mut peer, mut socket) = pair(PART).await;
        socket.pace().unwrap();
        let sent = 50_000;
        peer.write_all(&vec![7; sent]).await.unwrap();
        let read = std::cell::Cell::new(0);
        let reader = async {
            while socket.read_u8().await.is_ok() {
                read.set(read.get() + 1);
            }
        };
        assert!(futures_util::poll!(std::pin::pin!(reader)).is_pending());
        assert!((1..1_000).contains(&read.get()), "{} of {sent} bytes without a pause", read.get());
    }

    #[tokio::test]
    async fn writes_wait_for_a_peer_that_takes_nothing_and_go_on() {
        let (mut peer, mut socket) = pair(PART).await;
        socket.pace().unwrap();
        let sent = vec![7; 20_000_000];
        let length = sent.len();
        let writer = tokio::spawn(async move {
            socket.write_all(&sent).await.unwrap();
            socket.shutdown().await.unwrap();
        });
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        writer.await.unwrap();
        assert_eq!(all.len(), length);
    }
}
