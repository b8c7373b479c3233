//! A name server with a script, and servers with bad manners.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use outbound::{Resolve, Resolving};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

pub(crate) const HOST: &str = "rebind.test";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// A certificate for [`HOST`] that is its own authority, and the file with it.
pub(crate) fn certificate(directory: &Path) -> (Arc<ServerConfig>, PathBuf) {
    issued(directory, &CertificateParams::new([HOST.to_owned()]).unwrap())
}

/// As [`certificate`], with these fields.
pub(crate) fn issued(directory: &Path, fields: &CertificateParams) -> (Arc<ServerConfig>, PathBuf) {
    let signing_key = KeyPair::generate().unwrap();
    let own = fields.self_signed(&signing_key).unwrap();
    let path = directory.join("ca.pem");
    std::fs::write(&path, own.pem()).unwrap();
    let certificate = CertificateDer::from(own.der().to_vec());
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    (Arc::new(tls), path)
}

/// A DNS server (RFC 1035) whose answer changes with each question.
pub(crate) struct Names {
    address: SocketAddr,
    state: Arc<Script>,
}

#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<Ipv4Addr>>>,
    asked: AtomicUsize,
}

impl Names {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, state) = (socket.local_addr().unwrap(), Arc::<Script>::default());
        let script = Arc::clone(&state);
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                // Other tests send datagrams, too, to ports that were theirs a moment ago.
                if packet[..length] != question(HOST) {
                    continue;
                }
                script.asked.fetch_add(1, Ordering::SeqCst);
                let addresses = script.answers.lock().unwrap().pop_front().unwrap_or_default();
                let mut answer =
                    vec![packet[0], packet[1], 0x81, 0x80, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0];
                answer.extend(&packet[12..length]);
                for address in addresses {
                    // A pointer to the name, type A, class IN, no time to live.
                    answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend(address.octets());
                }
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        Self { address, state }
    }

    pub(crate) fn answer_with(&self, answers: &[&[&str]]) {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        *self.state.answers.lock().unwrap() = answers.iter().map(parse).collect();
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn resolver(&self) -> Arc<dyn Resolve> {
        Arc::new(Resolver(self.address))
    }
}

/// The question for the addresses of a name.
fn question(name: &str) -> Vec<u8> {
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

/// Asks one name server, without a cache.
struct Resolver(SocketAddr);

impl Resolve for Resolver {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            socket.connect(self.0).await?;
            let question = question(name);
            socket.send(&question).await?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).await?;
            let records = answer.get(question.len()..length).ok_or(io::ErrorKind::InvalidData)?;
            let address = |record: &[u8]| IpAddr::from([record[12], record[13], record[14], record[15]]);
            Ok(records.chunks_exact(16).map(address).collect())
        })
    }
}

/// How a server answers.
#[derive(Clone, Copy)]
pub(crate) enum Answers {
    Text(&'static str),
    /// 302 to this host.
    Redirect(&'static str),
    /// A body that does not end.
    Endless,
    /// Header fields that do not end.
    EndlessHead,
    /// It accepts, and says nothing.
    Nothing,
}

/// Listeners on one port of two addresses. Another test may hold the port on the second one.
pub(crate) async fn listeners(first: &str, second: &str) -> (TcpListener, TcpListener) {
    loop {
        let open = TcpListener::bind((first, 0)).await.unwrap();
        match TcpListener::bind((second, open.local_addr().unwrap().port())).await {
            Ok(other) => return (open, other),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("{second}: {error}"),
        }
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, tls: Arc<ServerConfig>, answers: Answers) -> Self {
        Self::serve(listener, Some(TlsAcceptor::from(tls)), answers)
    }

    pub(crate) fn plain(listener: TcpListener, answers: Answers) -> Self {
        Self::serve(listener, None, answers)
    }

    fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, answers: Answers) -> Self {
        let (address, connections) = (listener.local_addr().unwrap(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        // A client that does not trust the certificate hangs up here.
                        Some(tls) => match tls.accept(socket).await {
                            Ok(socket) => answer(socket, answers).await,
                            Err(_) => Ok(()),
                        },
                        None => answer(socket, answers).await,
                    }
                });
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, answers: Answers) -> io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    while !request.ends_with(b"\r\n\r\n") {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    match answers {
        Answers::Text(text) => {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            socket.write_all(head.as_bytes()).await?;
        }
        Answers::Redirect(host) => {
            let head = format!("HTTP/1.1 302 Found\r\nlocation: https://{host}/\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(head.as_bytes()).await?;
        }
        Answers::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                socket.write_all(&[b'a'; 1024]).await?;
            }
        }
        Answers::EndlessHead => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                socket.write_all(b"x-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n").await?;
            }
        }
        Answers::Nothing => std::future::pending().await,
    }
    socket.shutdown().await
}
