//! Certificates and TLS: a development authority, the identity of a node, and the rustls configurations made from it.
//!
//! Each node has one certificate, signed by the cluster's authority, that names the node in a URI subject alternative name:
//! `sealcast:{role}/{node}` (RFC 5280, section 4.2.1.6). Between nodes both sides show their certificate (mutual TLS), and the client
//! names the server that it means ([`Server`]). Viewers see it as an ordinary server certificate, or see another one from an authority
//! that browsers trust. Files are read again when they change. Brokers have certificates from an authority of their own, so that a node
//! cannot pass for a broker, nor a broker for a node. Deliberately no revocation of certificates: viewers rely on seals, not on
//! transport.

mod authority;
mod broker;
mod clients;
mod identity;
mod live;
mod loaded;
mod pair;
mod public;
mod rotation;
mod server;
mod visitors;

use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use media::{Digest, NodeId};
use messages::Role;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

pub use authority::{Authority, BROKER_CA_FILE, NODE_CA_FILE, RENEW_BEFORE, names_of};
pub(crate) use broker::ensure_apart;
pub use broker::{BrokerCertificate, BrokerTrust};
pub use clients::Clients;
pub use identity::{Identity, REREAD_INTERVAL, Shown};
pub use loaded::IdentityPaths;
pub use pair::Reread;
pub use public::{PublicPaths, challenge_paths};
pub use server::{Server, WrongServer};
pub use visitors::VisitorTls;

/// Scheme of the URI that says who a certificate belongs to.
const URI_SCHEME: &str = "sealcast";

/// The process's cryptography: aws-lc-rs, with the post-quantum hybrid key exchange X25519MLKEM768 first.
///
/// It is also installed as rustls's default, once, so that a library that asks for the default gets the same.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let made = PROVIDER.get_or_init(|| {
        let provider = CryptoProvider {
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
            ..aws_lc_rs::default_provider()
        };
        if provider.clone().install_default().is_err() {
            tracing::debug!("another default provider of cryptography was there before; ours is used explicitly");
        }
        Arc::new(provider)
    });
    made.clone()
}

/// The node and the role that a certificate names; `None` when it names none, or in a form that is not ours.
///
/// Does not check whether the certificate is to be trusted: the handshake does that.
pub fn node_of(certificate: &CertificateDer<'_>) -> Option<(NodeId, Role)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(URI_SCHEME)?.strip_prefix(':'),
        _ => None,
    });
    // A certificate that names two nodes names none.
    let (only, None) = (uris.next()?, uris.next()) else { return None };
    let (role, node) = only.split_once('/')?;
    Some((NodeId::new(node).ok()?, parse_role(role)?))
}

/// SHA-256 of the public key in a certificate, as its SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7). A renewed certificate has the same.
pub fn spki_of(certificate: &CertificateDer<'_>) -> Option<Digest> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, parsed.public_key().raw);
    digest.as_ref().try_into().ok().map(Digest)
}

/// From when on a certificate is valid, in seconds since 1970: when it was made, less a day or so.
pub fn valid_from_s(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_before.timestamp())
}

/// Whether a certificate can name this: a host name, which may begin with `*.` as a wildcard, or an IP address.
pub fn is_host(text: &str) -> bool {
    ServerName::try_from(text.strip_prefix("*.").unwrap_or(text)).is_ok()
}

fn node_uri(node: &NodeId, role: Role) -> String {
    format!("{URI_SCHEME}:{role}/{node}")
}

fn parse_role(text: &str) -> Option<Role> {
    [Role::Ingest, Role::Broadcast, Role::LoadBalancer, Role::Control].into_iter().find(|role| role.to_string() == text)
}

/// The certificates of a PEM file.
///
/// # Errors
/// When the file has no certificate, or something else in it; names `path`.
pub fn parse_certificates(pem: &[u8], path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>> {
    use rustls_pki_types::pem::PemObject;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not a PEM file of certificates", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} has no certificate in it", path.display());
    Ok(certificates)
}

#[cfg(test)]
mod tests;
