//! What control writes into the metadata log: what all nodes have to agree on, members, revocations, streams and drained nodes.
//!
//! The log is where members, grants, revocations, drains and the pools of streams are kept. Streams are kept in the catalogue, which
//! has what the log must not show; each change there is brought into the log, and so is, at the start, what a crash left out.

use std::time::Duration;

use media::{Digest, NodeId, UnixMillis};
use messages::{MacForm, Role};
use metadata::{
    Body, EntrySequence, Member, NodePolicy, PageSettings, StreamKeyMac, StreamSettings, View, Visibility, kind,
};
use node::publish_url::PublishUrl;
use serde::Deserialize;

use crate::ControlState;
use crate::certificate::Shown;
use crate::issuers::issuer_edits;
use crate::members::{Listed, NotAdmitted};
use crate::owners::{key_row, tenant_row};
use crate::pages::page_settings;
use crate::rows::{POOL, ended, forget_old, has_streamer, is_shared, put, random};
use crate::viewer_tokens::verifier_edits;

/// Level of the rows that this version writes and understands.
pub(crate) const LEVEL: u64 = 1;
/// For how long after the log's beginning nodes need not be listed whose certificates are older.
const BEGINNING: Duration = Duration::from_secs(86_400);
/// Most characters of what a node says of itself that a refusal repeats.
const SHOWN_CHARS_MAX: usize = 64;
/// How long a command waits for nodes to say that they have an entry.
pub(crate) const ACKNOWLEDGE_WAIT_MAX: Duration = Duration::from_secs(4);
/// The same when other things took long: nodes answer within half a second.
pub(crate) const ACKNOWLEDGE_WAIT_MIN: Duration = Duration::from_millis(700);

/// What a node says of itself when it starts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelfReport {
    /// Newest level of rows that its software understands.
    pub(crate) level: u64,
    /// Where browsers reach it, if they do; of an ingest, where publishers do.
    #[serde(default)]
    pub(crate) public_url: Option<String>,
    #[serde(default)]
    pub(crate) trust: Option<Trust>,
}

/// What a node takes for its cluster.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Name of the cluster in its configuration.
    pub(crate) cluster: String,
    /// Identity of the root key in its `root.pub`.
    pub(crate) root: String,
}

impl ControlState {
    /// Brings the log to what the configuration and the catalogue say.
    ///
    /// # Errors
    /// When the catalogue cannot be read, or the log not written.
    pub(crate) async fn write_log(&self) -> anyhow::Result<EntrySequence> {
        let _in_order = self.logging.lock().await;
        self.take_from_log_after_restore().await?;
        self.log_gone_members().await?;
        let streams = self.catalogue.streams().await?;
        let titles = self.catalogue.titles().await?;
        let pages = self.catalogue.pages().await?;
        let (visibilities, keys) = (self.catalogue.visibilities().await?, self.catalogue.signing_keys().await?);
        let (owners, slugs) = (self.catalogue.owners().await?, self.catalogue.slugs().await?);
        let issuers = self.issuer_rows().await?;
        let api_keys = self.catalogue.all_api_keys().await?;
        let tenants = self.catalogue.all_tenants().await?;
        // Tenants come last: with their first row, the log says that all API keys are in it.
        let owner_rows: Vec<Body> = api_keys.iter().map(key_row).chain(tenants.iter().map(tenant_row)).collect();
        let (cluster, now) = (self.rules.clone(), self.node.clock.wall());
        let rows = |view: View<'_>| {
            let row = |stream: catalogue::Stream| {
                let title = titles.get(stream.name.as_str()).cloned().unwrap_or_default();
                let visibility = visibilities.get(&stream.name).map(String::as_str);
                let tenant = owners.get(stream.name.as_str()).cloned();
                let pages = pages.get(stream.name.as_str()).map(page_settings).unwrap_or_default();
                self.stream_row(&view, stream, (title, visibility, tenant, pages))
            };
            let streams: Vec<Body> = streams.into_iter().map(row).collect();
            let mut edits = view.edits_towards(&streams, &[kind::STREAM], random);
            if view.cluster() != Some(&cluster) {
                edits.extend(put(&view, Body::Cluster(cluster)));
            }
            edits.extend(forget_old(&view, now));
            edits.extend(verifier_edits(&view, &keys, (&slugs, now)));
            edits.extend(issuer_edits(&view, &issuers));
            edits.extend(view.edits_towards(&owner_rows, &[kind::API_KEY, kind::TENANT], random));
            edits
        };
        self.writer.write(rows).await?;
        self.issuers.note_written(issuers);
        // What a grant covers is decided by the rows that are there now: a streamer's stream may be gone.
        let grants = |view: View<'_>| self.rescoped(&view, now).into_iter().chain(ended(&view, &[], now)).collect();
        self.writer.write(grants).await
    }

    /// The row of a stream. Its pool is that of the streamer which has it, or the configured one, or stays what it was.
    pub(crate) fn stream_row(
        &self,
        view: &View<'_>,
        stream: catalogue::Stream,
        (title, visibility, tenant, pages): (String, Option<&str>, Option<String>, PageSettings),
    ) -> Body {
        let mac = Digest(stream.key.mac.0);
        let mac = match stream.key.form {
            MacForm::OfAll => StreamKeyMac::OfAll(mac),
            MacForm::OfStream => StreamKeyMac::OfStream(mac),
        };
        let (name, key_macs) = (stream.name, vec![mac]);
        let known = view.stream(&name);
        // A streamer that is gone, and did not give its streams back, has none.
        let there = known.map(|known| &known.pool).filter(|pool| is_shared(pool) || has_streamer(view, pool));
        let configured = self.stream_pools.get(&name).filter(|_| there.is_none_or(|pool| is_shared(pool)));
        let pool = configured.or(there).cloned().unwrap_or_else(|| POOL.to_owned());
        // A visibility that this version does not know lets nobody in without a token.
        let visibility =
            visibility.map_or(Visibility::Public, |name| Visibility::parse(name).unwrap_or(Visibility::Token));
        Body::Stream(StreamSettings { name, pool, key_macs, visibility, title, tenant, pages })
    }

    /// Brings changed streams into the log, and tells ingests to read the table of keys again.
    pub(crate) async fn streams_changed(&self) -> anyhow::Result<()> {
        self.write_log().await?;
        self.announce_change().await;
        Ok(())
    }

    /// Whether the operator has drained a node.
    pub(crate) fn is_drained(&self, node: &NodeId) -> bool {
        self.writer.log().look(|view| view.policy(node).is_some_and(|policy| policy.is_drained))
    }

    /// The nodes that the operator has drained.
    pub(crate) fn drained(&self) -> Vec<NodeId> {
        self.writer.log().look(|view| view.drained_nodes())
    }

    /// Drains a node, or ends that. Returns whether it changed anything.
    pub(crate) async fn write_drain(&self, node: &NodeId, is_drained: bool) -> anyhow::Result<bool> {
        let mut changes = false;
        let edits = |view: View<'_>| {
            let before = view.policy(node);
            changes = before.is_some_and(|policy| policy.is_drained) != is_drained;
            let weight_percent = before.map_or(100, |policy| policy.weight_percent);
            let policy = NodePolicy { node: node.clone(), is_drained, weight_percent };
            if changes { put(&view, Body::Policy(policy)).into_iter().collect() } else { Vec::new() }
        };
        self.writer.write(edits).await?;
        Ok(changes)
    }

    /// Takes what a member says of itself. Makes a node a member without being listed if its certificate is older than the log, and the
    /// log younger than [`BEGINNING`], unless its role is control. A name belongs to one key; the handshake has verified the certificate.
    ///
    /// # Errors
    /// When the node is no member and may not become one, when it names a URL that it may not, or when the log cannot be written.
    pub(crate) async fn admit(
        &self,
        (node, role): (NodeId, Role),
        shown: &Shown,
        report: SelfReport,
    ) -> Result<EntrySequence, NotAdmitted> {
        if let Some(trust) = &report.trust {
            self.ensure_same_trust(&node, trust)?;
        }
        match &report.public_url {
            // Whoever publishes there tells it the key in any case.
            Some(url) if role == Role::Ingest => {
                if let Err(error) = url.parse::<PublishUrl>() {
                    return Err(NotAdmitted::PublishUrl { node, url: self::shown(url), error });
                }
            }
            Some(url) if !self.may_be_public(url, &shown.names) => {
                return Err(NotAdmitted::PublicUrl { node, url: url.clone() });
            }
            Some(_) | None => {}
        }
        // A member of role control may do everything that the operator may.
        let may_be_new = role != Role::Control && self.is_of_the_beginning(shown);
        let caller = Listed { node: node.clone(), role, spki: shown.spki };
        match self.writer.log().look(|view| NotAdmitted::of(&view, &caller)) {
            None => {}
            Some(NotAdmitted::NotListed { .. }) if may_be_new => {}
            Some(refused) => return Err(refused),
        }
        let edits = |view: View<'_>| {
            let known = view.any_member(&node);
            // Two that ask at the same moment are told apart here: what was seen first stays.
            let spki = known.map_or_else(|| vec![shown.spki], |known| known.spki.clone());
            let SelfReport { level, public_url, .. } = report;
            let is_guest = known.is_some_and(|known| known.is_guest);
            let member = Member { node: node.clone(), role, is_guest, spki, public_url, level };
            if known == Some(&member) { Vec::new() } else { put(&view, Body::Member(member)).into_iter().collect() }
        };
        Ok(self.writer.write(edits).await?)
    }

    /// Refuses a node of another cluster, and one that trusts another root key: it would wait for a log that it can believe, and say nothing.
    fn ensure_same_trust(&self, node: &NodeId, trust: &Trust) -> Result<(), NotAdmitted> {
        let (node, ours) = (node.clone(), &self.node.cluster);
        if trust.cluster != ours.as_str() {
            return Err(NotAdmitted::OtherCluster { node, theirs: shown(&trust.cluster), ours: ours.clone() });
        }
        let ours = self.root.public().id();
        if trust.root != ours.to_string() && !self.writer.log().has_root_key(&trust.root) {
            return Err(NotAdmitted::OtherRoot { node, theirs: shown(&trust.root), ours });
        }
        Ok(())
    }

    /// Whether nobody could list the node before: no file lists any, the log is young, and the certificate older.
    fn is_of_the_beginning(&self, shown: &Shown) -> bool {
        let has_list = self.members.iter().any(|file| file.exists());
        let began = self.writer.log().began();
        let is_older = |began: UnixMillis| shown.valid_from_s <= began.0.saturating_div(1_000);
        let is_young = |began: UnixMillis| self.node.clock.wall().since(began) < BEGINNING;
        !has_list && began.is_some_and(|began| is_young(began) && is_older(began))
    }

    /// Whether viewers may be sent to a URL that a node names.
    fn may_be_public(&self, url: &str, certificate_names: &[String]) -> bool {
        let Some(host) = host_of(url) else { return false };
        let is_named = certificate_names.iter().any(|name| is_name_of(host, name));
        is_named || self.public_hosts.iter().any(|allowed| is_below(host, allowed))
    }

    /// Whether a node is a member, and not revoked.
    pub(crate) fn is_member(&self, node: &NodeId) -> bool {
        self.writer.log().look(|view| view.member(node).is_some())
    }

    /// Whether a node is a streamer's ingest.
    pub(crate) fn is_guest(&self, node: &NodeId) -> bool {
        self.writer.log().look(|view| view.any_member(node).is_none_or(|member| member.is_guest))
    }

    /// Whether a node's requests are refused.
    pub(crate) fn is_revoked(&self, node: &NodeId) -> bool {
        self.writer.log().look(|view| view.is_node_revoked(node))
    }
}

/// What a node has sent, short enough to be shown.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// The host of a URL `https://HOST` or `https://HOST:PORT`.
fn host_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte));
    (is_plain && !authority.contains(['/', '?', '#', '@'])).then_some(host)
}

/// Whether a name of a certificate, which may begin with `*.`, is one of a host (RFC 9525, section 6.3).
fn is_name_of(host: &str, name: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
        }
        None => host.eq_ignore_ascii_case(name),
    }
}

/// Whether a host is `allowed`, or below it where that begins with a dot.
fn is_below(host: &str, allowed: &str) -> bool {
    let (host, allowed) = (host.to_ascii_lowercase(), allowed.to_ascii_lowercase());
    if allowed.starts_with('.') { host.ends_with(&allowed) && host.len() > allowed.len() } else { host == allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_base_url_has_a_host() {
        for (url, host) in [
            ("https://b1.example.org", Some("b1.example.org")),
            ("https://b1.example.org:8443", Some("b1.example.org")),
            ("https://[::1]:8443", Some("::1")),
            ("http://b1.example.org", None),
            ("https://", None),
            ("https://a@evil.example", None),
            ("https://b1.example.org/evil", None),
            ("https://b1.example.org?x", None),
        ] {
            assert_eq!(host_of(url), host, "{url}");
        }
    }

    #[test]
    fn wildcard_of_a_certificate_stands_for_one_label() {
        assert!(is_name_of("b1.example.org", "*.example.org") && is_name_of("B1.example.org", "b1.example.org"));
        for host in ["example.org", ".example.org", "a.b1.example.org", "b1.example.net"] {
            assert!(!is_name_of(host, "*.example.org"), "{host}");
        }
    }

    #[test]
    fn hosts_are_allowed_by_name_or_below_a_suffix() {
        assert!(is_below("b1.Example.org", ".example.org") && is_below("b1.example.org", "b1.example.org"));
        for (host, allowed) in
            [("evilexample.org", ".example.org"), (".example.org", ".example.org"), ("b1.example.org", "example.org")]
        {
            assert!(!is_below(host, allowed), "{host} {allowed}");
        }
    }
}
