//! One authority takes over from another in three steps, between which every node has time to read its files again: first every node
//! trusts both; then the new one signs; then no node trusts the old one.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rcgen::KeyPair;
use rustls_pki_types::CertificateDer;

use super::authority::{Authority, Signs, authority_params, certificate_of, lock, read_key};
use super::parse_certificates;
use crate::clock::Clock;
use crate::files::{self, MODE_PUBLIC, MODE_SECRET};

impl Authority {
    /// Opens the authority of nodes in `directory`.
    ///
    /// # Errors
    /// When there is none, or it cannot be used; names the file.
    pub fn existing(directory: &Path, clock: &Clock) -> Result<Self> {
        Self::open(Signs::Nodes, directory, clock)
    }

    /// Step one: makes the next authority, and adds its certificate to those in the file. A second call changes nothing.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn trust_next(&self) -> Result<()> {
        let _lock = lock(&self.directory)?;
        let (trusted, next) = (self.trusted()?, self.directory.join(self.signs.next_key_file()));
        if next.exists() && certificate_of(&trusted, &read_key(&next)?).is_some() {
            return Ok(());
        }
        let key = KeyPair::generate()?;
        let made = authority_params(self.signs, &self.clock).self_signed(&key)?;
        files::atomic_write(&next, key.serialize_pem().as_bytes(), MODE_SECRET)?;
        self.write_trusted(&[self.certificate.clone(), made.der().clone()])
    }

    /// Step two: the next authority signs from now on; both are trusted. Returns it.
    ///
    /// # Errors
    /// When step one was not done, or the directory cannot be written.
    pub fn issue_by_next(self) -> Result<Self> {
        let lock = lock(&self.directory)?;
        let next = self.directory.join(self.signs.next_key_file());
        ensure!(next.exists(), "no next authority is trusted yet: begin with the step `trust`");
        ensure!(
            certificate_of(&self.trusted()?, &read_key(&next)?).is_some(),
            "{} is not the key of a trusted certificate: do the step `trust` again",
            next.display()
        );
        // One rename switches: the key decides which of the trusted certificates signs.
        std::fs::rename(&next, self.directory.join(self.signs.key_file()))
            .context("cannot put the next authority's key in its place")?;
        drop(lock);
        Self::open(self.signs, &self.directory, &self.clock)
    }

    /// Step three: only the authority that signs is trusted.
    ///
    /// # Errors
    /// When step two was not done, or the directory cannot be written.
    pub fn forget_others(&self) -> Result<()> {
        let _lock = lock(&self.directory)?;
        ensure!(
            !self.directory.join(self.signs.next_key_file()).exists(),
            "the next authority does not sign yet: do the step `issue` first, or nobody would trust it"
        );
        self.write_trusted(std::slice::from_ref(&self.certificate))
    }

    fn trusted(&self) -> Result<Vec<CertificateDer<'static>>> {
        let path = self.ca_path();
        parse_certificates(&files::read_bounded(&path)?, &path)
    }

    fn write_trusted(&self, certificates: &[CertificateDer<'static>]) -> Result<()> {
        let pem: String = certificates.iter().map(|der| pem_of(der)).collect();
        files::atomic_write(&self.ca_path(), pem.as_bytes(), MODE_PUBLIC)
    }
}

/// RFC 7468, section 5.
fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
