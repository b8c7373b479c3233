//! What the files of an identity say: the node's certificate and key, and the authorities that it trusts.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use media::NodeId;
use messages::Role;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pair::Pair;
use super::{node_of, parse_certificates, provider};
use crate::files;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityPaths {
    /// PEM: the node's certificate, then any intermediate ones.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: the authority that all nodes of the cluster share; two while one takes over from the other.
    pub ca: PathBuf,
}

/// What the files of an identity said when they were read.
pub(super) struct Loaded {
    pub(super) node: NodeId,
    pub(super) role: Role,
    pub(super) pair: Arc<Pair>,
    pub(super) authorities: Arc<[CertificateDer<'static>]>,
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) servers: Arc<WebPkiServerVerifier>,
}

impl Loaded {
    pub(super) fn read(paths: &IdentityPaths) -> Result<Self> {
        let pair = Arc::new(Pair::load(&paths.certificate, &paths.key)?);
        let leaf = pair.chain.first().context("a chain has a first certificate")?;
        let (node, role) = node_of(leaf).with_context(|| {
            format!("{} does not say whose it is: no URI sealcast:ROLE/NODE in it", paths.certificate.display())
        })?;
        let authorities = parse_certificates(&files::read_bounded(&paths.ca)?, &paths.ca)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            X509Certificate::from_der(authority).with_context(|| format!("{} is damaged", paths.ca.display()))?;
            roots.add(authority.clone()).with_context(|| format!("{} is not an authority", paths.ca.display()))?;
        }
        let roots = Arc::new(roots);
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider()).build()?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
        Ok(Self { node, role, pair, authorities: authorities.into(), clients, servers })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pair.is_same(&other.pair) && self.authorities == other.authorities
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.pair.certified.clone()
    }
}
