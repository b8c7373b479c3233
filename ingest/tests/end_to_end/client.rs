//! A publisher with another implementation of RTMP (`rml_rtmp`), and raw bytes where a test needs them.

use std::time::Duration;

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, KEY};

/// Connects and completes the handshake; also returns the bytes that came after it.
pub(crate) async fn handshake(address: std::net::SocketAddr) -> std::io::Result<(TcpStream, Vec<u8>)> {
    let mut socket = TcpStream::connect(address).await?;
    let mut handshake = Handshake::new(PeerType::Client);
    socket.write_all(&handshake.generate_outbound_p0_and_p1().unwrap()).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        match handshake.process_bytes(&buffer[..read]).unwrap() {
            HandshakeProcessResult::InProgress { response_bytes } => socket.write_all(&response_bytes).await?,
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                socket.write_all(&response_bytes).await?;
                return Ok((socket, remaining_bytes));
            }
        }
    }
}

/// Publishes, and then sends only what a test tells it to.
pub(crate) struct SilentPublisher {
    pub(crate) socket: TcpStream,
    session: ClientSession,
    key: String,
}

impl SilentPublisher {
    pub(crate) async fn connect(cluster: &Cluster) -> Self {
        Self::connect_with(cluster, KEY).await.expect("closed before publishing")
    }

    /// Publishes with this key; `Err` with what the server said when it refuses.
    pub(crate) async fn connect_with(cluster: &Cluster, key: &str) -> Result<Self, String> {
        let (socket, rest) = handshake(cluster.rtmp).await.unwrap();
        let (session, results) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut publisher = Self { socket, session, key: key.to_owned() };
        publisher.handle(results).await;
        let connect = publisher.session.request_connection("live".to_owned()).unwrap();
        publisher.handle(vec![connect]).await;
        let results = publisher.session.handle_input(&rest).unwrap();
        publisher.handle(results).await;
        let (mut buffer, mut said) = (vec![0; 4096], Vec::new());
        loop {
            let read = publisher.socket.read(&mut buffer).await.unwrap();
            if read == 0 {
                return Err(String::from_utf8_lossy(&said).into_owned());
            }
            said.extend_from_slice(&buffer[..read]);
            let results = publisher.session.handle_input(&buffer[..read]).unwrap();
            if publisher.handle(results).await {
                return Ok(publisher);
            }
        }
    }

    async fn handle(&mut self, results: Vec<ClientSessionResult>) -> bool {
        let mut accepted = false;
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => self.socket.write_all(&packet.bytes).await.unwrap(),
                ClientSessionResult::RaisedEvent(ClientSessionEvent::ConnectionRequestAccepted) => {
                    let publish = self.session.request_publishing(self.key.clone(), PublishRequestType::Live).unwrap();
                    Box::pin(self.handle(vec![publish])).await;
                }
                ClientSessionResult::RaisedEvent(ClientSessionEvent::PublishRequestAccepted) => accepted = true,
                _ => {}
            }
        }
        accepted
    }

    pub(crate) async fn video(&mut self, body: &'static [u8]) {
        let stamp = rml_rtmp::time::RtmpTimestamp::new(0);
        let packet = self.session.publish_video_data(axum::body::Bytes::from_static(body), stamp, false).unwrap();
        self.handle(vec![packet]).await;
    }

    /// What the server still sends before it closes.
    pub(crate) async fn read_to_end(mut self) -> String {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "connection left open");
        String::from_utf8_lossy(&rest).into_owned()
    }
}
