//! The address of a broker, read from its URL, and the byte stream to it.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Trust;
use crate::Wire;

const PORT_PLAIN: u16 = 1883;
const PORT_TLS: u16 = 8883;

/// Address of a broker, and its TLS settings, if any.
#[derive(Clone)]
pub(super) struct Endpoint {
    host: String,
    port: u16,
    tls: Option<Tls>,
}

/// Where brokers may be reached without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plaintext {
    /// On this machine only.
    Here,
    Anywhere,
}

/// Whether a host is this machine, whatever a name server says.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The authority that the broker's certificate has to come from, and the name it has to have.
#[derive(Clone)]
struct Tls {
    name: ServerName<'static>,
    trust: Arc<dyn Trust>,
}

impl Tls {
    async fn config(&self) -> std::io::Result<Arc<rustls::ClientConfig>> {
        let trust = Arc::clone(&self.trust);
        Ok(tokio::task::spawn_blocking(move || trust.client_config()).await?)
    }
}

impl Endpoint {
    /// Reads `mqtt://host[:port]` or `mqtts://host[:port]`; an IPv6 address is in brackets.
    pub(super) fn new(url: &str, trust: Option<&Arc<dyn Trust>>, plaintext: Plaintext) -> anyhow::Result<Self> {
        ensure!(
            !url.contains('@'),
            "an MQTT broker's URL holds no name or password: these are `username` and `password_file`"
        );
        let (secure, rest) = match url.split_once("://") {
            Some(("mqtt", rest)) => (false, rest),
            Some(("mqtts", rest)) => (true, rest),
            _ => bail!("MQTT broker {url:?}: write mqtt://host:port or mqtts://host:port"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let default_port = if secure { PORT_TLS } else { PORT_PLAIN };
        let (host, port) = split_port(rest, default_port).with_context(|| format!("MQTT broker {url:?}"))?;
        ensure!(
            secure || plaintext == Plaintext::Anywhere || is_this_machine(&host),
            "MQTT broker {url:?} is on another machine, and passwords would travel there in the clear: write mqtts://, or set \
             bus.plaintext = true where nobody else is on that network"
        );
        let tls = if secure {
            let trust = trust.with_context(|| format!("MQTT broker {url:?} needs `ca`, the file of its authority"))?;
            let name = ServerName::try_from(host.clone()).with_context(|| format!("MQTT broker {url:?}"))?;
            Some(Tls { name, trust: Arc::clone(trust) })
        } else {
            None
        };
        Ok(Self { host, port, tls })
    }

    /// For logs: host and port.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) async fn connect(&self) -> std::io::Result<Box<dyn Wire>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => {
                let connector = TlsConnector::from(tls.config().await?);
                Ok(Box::new(connector.connect(tls.name.clone(), stream).await?))
            }
        }
    }
}

fn split_port(text: &str, default_port: u16) -> anyhow::Result<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').context("no `]` after the IPv6 address")?;
            (host, after.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    ensure!(!host.is_empty() && !host.contains('/'), "no host");
    let port = port.map_or(Ok(default_port), str::parse).context("port")?;
    ensure!(port != 0, "port 0");
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, name) in [
            ("mqtt://127.0.0.1:1884", "127.0.0.1:1884"),
            ("mqtt://broker", "broker:1883"),
            ("mqtt://[::1]:1884/", "::1:1884"),
        ] {
            assert_eq!(Endpoint::new(url, None, Plaintext::Anywhere).unwrap().name(), name);
        }
    }

    #[test]
    fn bad_urls_are_refused_and_passwords_in_them_are_not_printed() {
        for url in ["", "127.0.0.1:1883", "http://a", "mqtt://", "mqtt://a:x", "mqtt://a:0", "mqtt://a/b", "mqtts://a"]
        {
            assert!(Endpoint::new(url, None, Plaintext::Anywhere).is_err(), "{url:?}");
        }
        let error = Endpoint::new("mqtt://me:secret@host:1", None, Plaintext::Anywhere).err().unwrap();
        assert!(!format!("{error:#}").contains("secret"), "{error:#}");
    }

    #[test]
    fn broker_on_another_machine_needs_tls_or_a_word_of_the_operator() {
        for here in ["mqtt://127.0.0.1", "mqtt://localhost:1884", "mqtt://[::1]", "mqtt://127.0.0.2:1"] {
            assert!(Endpoint::new(here, None, Plaintext::Here).is_ok(), "{here}");
        }
        for elsewhere in ["mqtt://10.0.0.5", "mqtt://broker:1883", "mqtt://[2001:db8::1]", "mqtt://0.0.0.0"] {
            let error = Endpoint::new(elsewhere, None, Plaintext::Here).err().unwrap().to_string();
            assert!(error.contains(elsewhere) && error.contains("mqtts://") && error.contains("plaintext"), "{error}");
        }
    }
}
