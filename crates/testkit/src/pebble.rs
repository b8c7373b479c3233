//! Pebble, the test server of ACME's makers (Debian's `pebble`), and a name server that leads all names to this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::process::{Child, Command};

use crate::http::client_of;
use crate::process::free_port;
use crate::wait::within;

/// The certificate of its own listeners, which is its own authority.
const CERTIFICATE: &str = "pebble.pem";
/// The names that certificates are for.
pub const NAMES: [&str; 2] = ["streaming-cluster.test", "live.streaming-cluster.test"];

/// Pebble, and a name server that leads all names to this machine.
pub struct Server {
    directory: TempDir,
    port: u16,
    management: u16,
    _child: Child,
}

impl Server {
    /// Pebble looks for the names' listener on port `asks`, in place of 443.
    pub async fn start(asks: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        let (certificate, key) = (directory.path().join(CERTIFICATE), directory.path().join("pebble.key"));
        std::fs::write(&certificate, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let (port, management) = (free_port(), free_port());
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": free_port(),
            "tlsPort": asks,
        }});
        let path = directory.path().join("pebble.json");
        std::fs::write(&path, config.to_string()).unwrap();
        let names = serve_names().await;
        let mut child = Command::new("pebble")
            .arg("-config")
            .arg(&path)
            .args(["-strict", "-dnsserver", &names.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("pebble is installed: scripts/setup.sh test");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        within("Pebble to be ready", async {
            while let Some(line) = log.next_line().await.unwrap() {
                if line.contains("ACME directory available") {
                    return;
                }
            }
            panic!("Pebble ended at once");
        })
        .await;
        // The rest of its log is read and dropped, so that Pebble never blocks on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let server = Self { directory, port, management, _child: child };
        // Pebble logs that before its listeners exist, and opens them one after the other.
        for port in [server.port, server.management] {
            within("Pebble to listen", async {
                while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        server
    }

    /// The URL at which ACME clients begin (RFC 8555, section 7.1.1).
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// The authority of Pebble's own listeners.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join(CERTIFICATE)
    }

    /// The authority with which it signs.
    pub async fn root(&self) -> Vec<u8> {
        let client = client_of(&self.ca(), |builder| builder.no_proxy());
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        client.get(url).send().await.unwrap().bytes().await.unwrap().to_vec()
    }
}

/// Answers 127.0.0.1 to questions for an address, and nothing to all others (RFC 1035, section 4).
async fn serve_names() -> SocketAddr {
    const ADDRESS: [u8; 2] = [0, 1];
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut packet).await {
            let labels = packet[12..].iter().position(|byte| *byte == 0).unwrap() + 13;
            let question = packet[12..labels + 4].to_vec();
            let is_address = packet[labels..labels + 2] == ADDRESS;
            let mut answer = vec![packet[0], packet[1], 0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0];
            answer.extend(question);
            if is_address {
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}
