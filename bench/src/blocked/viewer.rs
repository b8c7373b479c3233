//! The cheapest possible viewer: one TLS connection, and just enough HTTP/2 (RFC 9113) to request a playlist and to see that the
//! whole answer arrived. With five thousand real clients, the bench would measure the clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::arrival::Stamped;

const AUTHORITY: &str = "localhost";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:status: 200` in the static table of HPACK (RFC 7541, A).
const STATUS_200: u8 = 0x88;
/// Flow-control window that a viewer grants once for the connection and each stream.
const WINDOW: u32 = 0x7fff_0000;

pub(crate) struct Viewer {
    stream: TlsStream<Stamped>,
    next_id: u32,
    read: Vec<u8>,
    began: Duration,
}

impl Viewer {
    pub(crate) async fn connect(address: SocketAddr, tls: Arc<rustls::ClientConfig>) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = Stamped::new(stream)?;
        let stream = TlsConnector::from(tls).connect(ServerName::try_from(AUTHORITY)?, stream).await?;
        let mut viewer = Self { stream, next_id: 1, read: Vec::new(), began: Duration::ZERO };
        let mut opening = PREFACE.to_vec();
        // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, 6.5.2), so that flow control never delays the server.
        let mut settings = vec![0, 4];
        settings.extend_from_slice(&WINDOW.to_be_bytes());
        frame(&mut opening, SETTINGS, 0, 0, &settings);
        frame(&mut opening, WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        viewer.stream.write_all(&opening).await?;
        Ok(viewer)
    }

    /// Sends a request; [`Viewer::answer`] waits for the answer.
    pub(crate) async fn ask(&mut self, path: &str) -> anyhow::Result<()> {
        // From the static table: `:method: GET`, `:scheme: https`, names of `:path` and `:authority`, `accept-encoding: gzip, deflate`.
        let mut block = vec![0x82, 0x87];
        literal(&mut block, 0x04, path)?;
        literal(&mut block, 0x01, AUTHORITY)?;
        block.push(0x90);
        let mut request = Vec::new();
        frame(&mut request, HEADERS, END_STREAM | END_HEADERS, self.next_id, &block);
        self.next_id += 2;
        self.stream.write_all(&request).await?;
        Ok(())
    }

    /// Waits for the answer to the newest request. Returns its bytes in HTTP/2, before TLS.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<usize> {
        let mut bytes = 0;
        loop {
            while let Some((kind, flags, id, payload)) = self.frame() {
                if id != 0 {
                    bytes += HEADER_BYTES + payload.len();
                }
                match kind {
                    HEADERS => {
                        ensure!(payload.first() == Some(&STATUS_200), "not a 200: {payload:x?}");
                        self.began = self.arrived();
                    }
                    DATA => {}
                    SETTINGS if flags & ACK == 0 => self.send(SETTINGS, &[]).await?,
                    PING if flags & ACK == 0 => self.send(PING, &payload).await?,
                    SETTINGS | PING | WINDOW_UPDATE => {}
                    _ => bail!("frame of type {kind}: {payload:x?}"),
                }
                if id != 0 && flags & END_STREAM != 0 {
                    return Ok(bytes);
                }
            }
            let read = self.stream.read_buf(&mut self.read).await?;
            ensure!(read > 0, "the node closed the connection");
        }
    }

    /// When the last byte of the newest answer arrived at this machine, since 1970.
    pub(crate) fn arrived(&self) -> Duration {
        self.stream.get_ref().0.arrived()
    }

    /// When the header of the newest answer arrived, since 1970.
    pub(crate) fn began(&self) -> Duration {
        self.began
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        frame(&mut bytes, kind, ACK, 0, payload);
        Ok(self.stream.write_all(&bytes).await?)
    }

    /// Takes the next whole frame from the buffer: type, flags, stream and payload.
    fn frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let header: [u8; HEADER_BYTES] = *self.read.first_chunk()?;
        let [a, b, c, kind, flags, id @ ..] = header;
        let end = HEADER_BYTES + usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()?;
        let payload = self.read.get(HEADER_BYTES..end)?.to_vec();
        self.read.drain(..end);
        Some((kind, flags, u32::from_be_bytes(id), payload))
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    out.extend_from_slice(length.get(1..).expect("four bytes"));
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a literal field without indexing, with a name of the static table (RFC 7541, 6.2.2).
fn literal(block: &mut Vec<u8>, name: u8, value: &str) -> anyhow::Result<()> {
    let length = u8::try_from(value.len()).ok().filter(|length| *length < 127).context("too long for this client")?;
    block.extend_from_slice(&[name, length]);
    block.extend_from_slice(value.as_bytes());
    Ok(())
}
