//! A viewer's TLS connection in the shape that Pingora wants. Pingora's own has buffers of tens of kilobytes, and sends piece by piece
//! what it is given; here records leave together ([`node::http::Transport`]).

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use node::http::Flush;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    ALPN, Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A viewer's connection after the handshake.
#[derive(Debug)]
pub(crate) struct Transport {
    records: node::http::Transport,
    socket: Arc<SocketDigest>,
    id: RawFd,
    protocol: Protocol,
}

/// What the viewer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Transport {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        let id = stream.as_raw_fd();
        let (tcp, tls) = stream.into_inner();
        let is_http2 = tls.alpn_protocol() == Some(b"h2");
        let (protocol, flush) =
            if is_http2 { (Protocol::Http2, Flush::ByDriver) } else { (Protocol::Http1, Flush::ByProtocol) };
        let socket = Arc::new(SocketDigest::from_raw_fd(id));
        Self { records: node::http::Transport::new(tcp, tls, flush), socket, id, protocol }
    }

    /// What the driver of an HTTP/2 connection sends.
    pub(crate) fn records(&self) -> node::http::Transport {
        self.records.clone()
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.protocol == Protocol::Http2
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest { socket_digest: Some(self.socket.clone()), ..Digest::default() }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Pingora flushes at the end of a body, and reads whenever it waits for more of it. Sent here, the viewer gets what there is.
        if self.protocol == Protocol::Http1
            && let Poll::Ready(sent) = self.records.poll_send(cx)
        {
            sent?;
        }
        Pin::new(&mut self.records).poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.records).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.records).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.records.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.records).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.records).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Transport {
    async fn shutdown(&mut self) {
        // The viewer may be gone already.
        let _ = self.records.shutdown().await;
    }
}

impl UniqueID for Transport {
    fn id(&self) -> RawFd {
        self.id
    }
}

impl Ssl for Transport {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        Some(if self.is_http2() { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Transport {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Transport {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Transport {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.socket.clone())
    }
}

impl Peek for Transport {}
