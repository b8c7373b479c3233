//! A viewer on TLS, in one version of HTTP.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use messages::Role;
use node::tls::{Identity, Server};

use super::Node;

/// Cheap to clone; clones share its connections.
#[derive(Clone)]
pub struct Viewer {
    client: reqwest::Client,
    base: String,
}

impl Viewer {
    pub fn new(identity: &Identity, protocol: &[u8], node: &Node) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, identity, protocol, node)
    }

    /// A viewer that comes from this address.
    pub fn at(address: Ipv4Addr, identity: &Identity, protocol: &[u8], node: &Node) -> Self {
        let mut tls = identity.client(Server::Any(Role::Broadcast));
        tls.alpn_protocols = vec![protocol.to_vec()];
        let client =
            reqwest::Client::builder().use_preconfigured_tls(tls).local_address(IpAddr::V4(address)).no_proxy();
        Self { client: client.build().unwrap(), base: node.https.clone() }
    }

    /// A load balancer: it asks for the node by its name.
    pub fn balancer(identity: &Identity, protocol: &[u8], node: &Node) -> Self {
        let mut tls = identity.client(Server::Node(Role::Broadcast, node.id.clone()));
        tls.alpn_protocols = vec![protocol.to_vec()];
        let address: SocketAddr = node.https.trim_start_matches("https://").parse().unwrap();
        let client =
            reqwest::Client::builder().use_preconfigured_tls(tls).resolve(node.id.as_str(), address).no_proxy();
        Self { client: client.build().unwrap(), base: format!("https://{}:{}", node.id, address.port()) }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = request.send().await.unwrap();
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        let (status, headers) = (response.status().as_u16(), response.headers().iter().map(header).collect());
        Answer { status, headers, body: response.bytes().await.unwrap().to_vec() }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn unzipped(&self) -> Vec<u8> {
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(self.body.as_slice()), &mut out).unwrap();
        out
    }
}
