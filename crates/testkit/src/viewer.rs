//! A viewer on one HTTP/2 connection that reads when the test lets it, and keeps every frame that it has read.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

/// Bytes that the viewer's operating system takes before anyone reads: few, so that the server soon notices a viewer that does not read.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

/// A DATA frame (RFC 9113, 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    pub stream: u32,
    pub length: usize,
    pub end: bool,
}

/// The viewer's side of the connection.
pub struct Viewer {
    requests: http2::SendRequest<Body>,
    next_stream: u32,
    wire: Arc<Mutex<Wire>>,
}

impl Viewer {
    /// Connects, with a window of this size for each response that is not read.
    pub async fn connect(address: SocketAddr, tls: rustls::ClientConfig, window_bytes: u32) -> Self {
        Self::connect_to("localhost", address, tls, window_bytes).await
    }

    /// The same, to a server that it asks for by this name.
    pub async fn connect_to(name: &str, address: SocketAddr, mut tls: rustls::ClientConfig, window_bytes: u32) -> Self {
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap();
        let wire = Arc::<Mutex<Wire>>::default();
        let tap = Tap { stream, wire: wire.clone() };
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window_bytes)
            .initial_connection_window_size(1 << 28)
            .handshake(TokioIo::new(tap))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { requests, next_stream: 1, wire }
    }

    /// Sends a request; returns its stream and the answer to come.
    pub async fn get(
        &mut self,
        path: &str,
        priority: Option<&str>,
    ) -> (u32, impl Future<Output = hyper::Response<hyper::body::Incoming>> + use<>) {
        let mut request = hyper::Request::get(format!("https://localhost{path}"));
        if let Some(priority) = priority {
            request = request.header("priority", priority);
        }
        self.requests.ready().await.unwrap();
        let answer = self.requests.send_request(request.body(Body::empty()).unwrap());
        let stream = self.next_stream;
        self.next_stream += 2;
        (stream, async { answer.await.unwrap() })
    }

    /// Whether the server has closed the connection, as far as the viewer has read.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Whether the viewer reads from its connection.
    pub fn read(&self, reads: bool) {
        self.read_bytes(if reads { usize::MAX } else { 0 });
    }

    /// Lets the viewer read this many bytes, and up to a TLS record more.
    pub fn read_bytes(&self, bytes: usize) {
        self.change(|wire| wire.may_read_bytes = bytes);
    }

    /// The viewer's machine is gone: its connection closes without GOAWAY.
    pub fn vanish(&self) {
        self.change(|wire| wire.gone = true);
    }

    fn change(&self, change: impl FnOnce(&mut Wire)) {
        let waker = {
            let mut wire = self.wire.lock().unwrap();
            change(&mut wire);
            wire.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The DATA frames that came, in their order.
    pub fn data(&self) -> Vec<Data> {
        self.wire.lock().unwrap().data.clone()
    }

    /// Bytes of `streams` that came before `stream` ended.
    pub fn bytes_before_the_end_of(&self, stream: u32, streams: &[u32]) -> usize {
        let data = self.data();
        let end = data.iter().position(|frame| frame.stream == stream && frame.end).expect("the stream has ended");
        data[..end].iter().filter(|frame| streams.contains(&frame.stream)).map(|frame| frame.length).sum()
    }
}

/// Length of a body, read to its end.
pub async fn length(answer: hyper::Response<hyper::body::Incoming>) -> usize {
    axum::body::to_bytes(Body::new(answer.into_body()), usize::MAX).await.unwrap().len()
}

#[derive(Debug)]
struct Wire {
    may_read_bytes: usize,
    gone: bool,
    waker: Option<Waker>,
    header: Vec<u8>,
    payload_left: usize,
    data: Vec<Data>,
}

impl Default for Wire {
    fn default() -> Self {
        let may_read_bytes = usize::MAX;
        Self { may_read_bytes, gone: false, waker: None, header: Vec::new(), payload_left: 0, data: Vec::new() }
    }
}

impl Wire {
    /// RFC 9113, 4.1.
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            let wanted = (9 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.header[..] {
                self.header.clear();
                self.payload_left = usize::from(l2) << 16 | usize::from(l1) << 8 | usize::from(l0);
                if kind == 0 {
                    let stream = u32::from_be_bytes([s3, s2, s1, s0]);
                    self.data.push(Data { stream, length: self.payload_left, end: flags & 1 == 1 });
                }
            }
        }
    }
}

/// Reads on demand, and keeps the frames.
struct Tap<T> {
    stream: T,
    wire: Arc<Mutex<Wire>>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        {
            let mut wire = self.wire.lock().unwrap();
            wire.waker = Some(cx.waker().clone());
            if wire.gone {
                return Poll::Ready(Err(std::io::ErrorKind::ConnectionReset.into()));
            }
            if wire.may_read_bytes == 0 {
                return Poll::Pending;
            }
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            let mut wire = self.wire.lock().unwrap();
            let bytes = &buf.filled()[before..];
            if wire.may_read_bytes < usize::MAX {
                wire.may_read_bytes = wire.may_read_bytes.saturating_sub(bytes.len());
            }
            wire.take(bytes);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
