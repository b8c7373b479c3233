//! A viewer's TLS connection in the shape that Pingora wants. Its own adds buffers of tens of kilobytes to each.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use node::priority::{Connection, Paced};
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
    stream: Paced<TlsStream<TcpStream>>,
    socket: Arc<SocketDigest>,
}

impl Transport {
    pub(crate) fn new(stream: TlsStream<TcpStream>, connection: Connection) -> Self {
        let socket = Arc::new(SocketDigest::from_raw_fd(stream.as_raw_fd()));
        Self { stream: Paced::new(stream, connection), socket }
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.stream.get_ref().get_ref().1.alpn_protocol() == Some(b"h2")
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest { socket_digest: Some(self.socket.clone()), ..Digest::default() }
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Transport {
    async fn shutdown(&mut self) {
        // The viewer may be gone already.
        let _ = self.stream.shutdown().await;
    }
}

impl UniqueID for Transport {
    fn id(&self) -> RawFd {
        self.stream.get_ref().as_raw_fd()
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
