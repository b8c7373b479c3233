//! Who belongs to the cluster: files that list certificates, what the operator adds, and nodes that say what they are.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use media::{ClusterId, Digest, NodeId};
use messages::Role;
use metadata::{Body, EntrySequence, Member, View};
use node::publish_url::NoPublishUrl;
use node::{CancellationToken, files, tls};
use rustls_pki_types::CertificateDer;
use seal::KeyId;

use crate::ControlState;
use crate::rows::put;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A node that a file or the operator lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) node: NodeId,
    pub(crate) role: Role,
    pub(crate) spki: Digest,
}

/// Why a node is no member.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAdmitted {
    #[error(
        "the name {node} belongs to another machine: its certificate has another key than the one that was first seen. Give this \
         machine an identity with another name (sealcast certs cluster --node NAME=ROLE), or, if you gave {node} a new key on \
         purpose: sealcast node add {node} --certificate {node}.pem"
    )]
    OtherKey { node: NodeId },
    #[error("the name {node} belongs to a node of role {role}")]
    OtherRole { node: NodeId, role: Role },
    #[error("the name {node} was used by a node that was removed: give this machine an identity with another name")]
    Gone { node: NodeId },
    #[error(
        "{node} is revoked for good: give its machine an identity with another name (sealcast certs cluster --node NAME=ROLE)"
    )]
    Revoked { node: NodeId },
    #[error(
        "{node} is configured for cluster {theirs:?}, and this is {ours}: set cluster = \"{ours}\" there, or the URL of its own control"
    )]
    OtherCluster { node: NodeId, theirs: String, ours: ClusterId },
    #[error(
        "{node} trusts root key {theirs:?}, and this cluster has {ours}: copy root.pub of the control machine to where root_key of {node} points"
    )]
    OtherRoot { node: NodeId, theirs: String, ours: KeyId },
    #[error(
        "{node} is no member of this cluster: add it on the control machine (sealcast node add {node} --certificate {node}.pem), or \
         list its certificate in a file of role.control.members"
    )]
    NotListed { node: NodeId },
    #[error(
        "viewers may not be sent to {url}: its host is no name of the certificate of {node}, and not below one of \
         role.control.public_hosts"
    )]
    PublicUrl { node: NodeId, url: String },
    #[error("publishers cannot be sent to {url:?} of {node}: {error}")]
    PublishUrl { node: NodeId, url: String, error: NoPublishUrl },
    #[error(transparent)]
    Log(#[from] anyhow::Error),
}

impl NotAdmitted {
    /// Why a node with this key is not the member of its name; `None` when it is.
    pub(crate) fn of(view: &View<'_>, caller: &Listed) -> Option<Self> {
        let node = caller.node.clone();
        match view.member(&node) {
            _ if view.was_member(&node) => Some(Self::Gone { node }),
            _ if view.is_node_revoked(&node) => Some(Self::Revoked { node }),
            Some(known) if known.role != caller.role => Some(Self::OtherRole { node, role: known.role }),
            Some(known) if !known.spki.contains(&caller.spki) => Some(Self::OtherKey { node }),
            None => Some(Self::NotListed { node }),
            Some(_) => None,
        }
    }

    /// Reason for which a member's request is refused, as metrics name it.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Gone { .. } => "removed",
            Self::Revoked { .. } => "revoked",
            Self::OtherKey { .. } | Self::OtherRole { .. } => "other_key",
            _ => "unknown",
        }
    }
}

/// What happens to a member whose key is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    /// The operator says so: the listed key counts from now on, and no other.
    Key,
    /// A file says so, which may be old: the member stays as it is.
    Nothing,
}

/// The nodes to which the certificates of a PEM file belong; `name` says in errors which it is.
///
/// # Errors
/// When the text holds no certificates, or one of them is no node's.
pub(crate) fn read(pem: &[u8], name: &str) -> Result<Vec<Listed>> {
    let certificates = tls::parse_certificates(pem, Path::new(name))?;
    let listed = |certificate: &CertificateDer<'_>| {
        let (node, role) = tls::node_of(certificate)?;
        Some(Listed { node, role, spki: tls::spki_of(certificate)? })
    };
    certificates
        .iter()
        .map(|one| listed(one).with_context(|| format!("{name}: a certificate in it is no node's")))
        .collect()
}

impl ControlState {
    /// Makes listed nodes members.
    ///
    /// # Errors
    /// When the operator names a node that was removed, is revoked, or has another role; or when the log cannot be written.
    pub(crate) async fn add_members(
        &self,
        listed: Vec<Listed>,
        replace: Replace,
    ) -> Result<EntrySequence, NotAdmitted> {
        let refused = self.writer.log().look(|view| {
            listed.iter().find_map(|listed| {
                let node = listed.node.clone();
                match view.any_member(&node) {
                    _ if view.was_member(&node) => Some(NotAdmitted::Gone { node }),
                    _ if view.is_node_revoked(&node) => Some(NotAdmitted::Revoked { node }),
                    Some(known) if known.role != listed.role => Some(NotAdmitted::OtherRole { node, role: known.role }),
                    _ => None,
                }
            })
        });
        if let Some(refused) = refused.filter(|_| replace == Replace::Key) {
            return Err(refused);
        }
        let written = self.writer.write(|view| {
            let row = |listed: Listed| {
                let known = view.any_member(&listed.node);
                let is_gone = view.was_member(&listed.node) || view.is_node_revoked(&listed.node);
                let is_taken = is_gone || known.is_some_and(|known| known.role != listed.role);
                let stays = known.is_some_and(|known| replace == Replace::Nothing || known.spki == [listed.spki]);
                if is_taken || stays {
                    return None;
                }
                let (public_url, level) = known.map_or((None, 0), |known| (known.public_url.clone(), known.level));
                let is_guest = known.is_some_and(|known| known.is_guest);
                let Listed { node, role, spki } = listed;
                put(&view, Body::Member(Member { node, role, is_guest, spki: vec![spki], public_url, level }))
            };
            listed.into_iter().filter_map(row).collect()
        });
        Ok(written.await?)
    }
}

/// This control node itself, with the certificate that it has now.
///
/// # Errors
/// When its certificate has no key that can be read.
pub(crate) fn own(shared: &ControlState) -> Result<Listed> {
    let certificate = shared.node.identity.certificate();
    let spki = tls::spki_of(&certificate).context("the own certificate has a key")?;
    Ok(Listed { node: shared.node.id.clone(), role: Role::Control, spki })
}

/// Makes this control node a member, which other nodes answer.
pub(crate) async fn add_self(shared: &ControlState) -> Result<()> {
    shared.add_members(vec![own(shared)?], Replace::Key).await?;
    Ok(())
}

/// Adds the nodes that the files list, now and whenever a file changes, until `shutdown`.
pub(crate) async fn follow(shared: &ControlState, mut seen: Seen, shutdown: &CancellationToken) {
    loop {
        take_lists(shared, &mut seen).await;
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}

/// What each file held when it was last taken.
pub(crate) type Seen = Vec<Option<Vec<u8>>>;

/// Takes the files that have changed.
pub(crate) async fn take_lists(shared: &ControlState, seen: &mut Seen) {
    seen.resize(shared.members.len(), None);
    for (path, seen) in shared.members.iter().zip(seen) {
        if let Err(error) = look(shared, path, seen).await {
            tracing::error!(path = %path.display(), error = format!("{error:#}"), "the list of members was not taken");
        }
    }
}

async fn look(shared: &ControlState, path: &Path, seen: &mut Option<Vec<u8>>) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let pem = files::read_bounded(path)?;
    if seen.as_ref() == Some(&pem) {
        return Ok(());
    }
    let listed = read(&pem, &path.display().to_string());
    *seen = Some(pem);
    shared.add_members(listed?, Replace::Nothing).await?;
    Ok(())
}
