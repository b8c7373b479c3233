//! Direct delivery: the broadcast nodes that browsers reach under names of their own. Their presences say that they are there, the
//! metadata log says where. Pure but for the snapshot that requests read.

use std::sync::Arc;

use arc_swap::ArcSwap;
use cluster::{Health, Membership};
use media::{NodeId, Now, StreamId};
use messages::Role;
use sha2::{Digest as _, Sha256};

/// Longest base URL of a node, in bytes: a host name has 253.
const URL_BYTES_MAX: usize = 280;

/// A broadcast node that browsers reach directly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub node: NodeId,
    /// Its base URL, `https://HOST:PORT`.
    pub url: String,
    /// It takes no new viewers.
    pub is_draining: bool,
    /// Streams that it has, as owner or as edge.
    pub streams: Vec<StreamId>,
}

/// What the node knows of all nodes, itself included. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Neighbours(Arc<ArcSwap<Vec<Neighbour>>>);

impl Neighbours {
    /// A fixed list, for tests.
    pub fn of(neighbours: Vec<Neighbour>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(neighbours)))
    }

    /// Takes from the view the nodes that say that browsers reach them, as long as they are not offline. Where they are reached comes
    /// from the metadata log, because a presence proves nothing.
    pub(crate) fn follow(&self, view: &Membership, url_of: impl Fn(&NodeId) -> Option<String>, now: Now) {
        let nodes = view.members().filter(|member| member.presence.role == Role::Broadcast);
        let shown = nodes.filter_map(|member| {
            let presence = &member.presence;
            let is_draining = match view.health(member, now) {
                Health::Offline => return None,
                Health::Draining => true,
                Health::Online | Health::Suspect => false,
            };
            Some(Neighbour {
                node: presence.node.clone(),
                url: presence.public.as_ref().and_then(|_| url_of(&presence.node)).filter(|url| is_base_url(url))?,
                is_draining,
                streams: presence.streams.iter().chain(&presence.edges).cloned().collect(),
            })
        });
        let shown: Vec<Neighbour> = shown.collect();
        if *self.0.load().as_ref() != shown {
            self.0.store(Arc::new(shown));
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> Arc<Vec<Neighbour>> {
        self.0.load_full()
    }

    /// Whether a node is known to take no new viewers.
    pub fn drains(&self, node: &NodeId) -> bool {
        self.0.load().iter().any(|neighbour| neighbour.node == *node && neighbour.is_draining)
    }

    /// Other nodes that a viewer of `node` could use for a stream, best first: those that have the stream come before the
    /// others. Each node and stream has its own order among them, so that the viewers of a node that dies do not all go to the
    /// same one.
    pub fn others(&self, node: &NodeId, stream: &StreamId) -> Vec<Neighbour> {
        let usable = |other: &&Neighbour| other.node != *node && !other.is_draining;
        let mut others: Vec<Neighbour> = self.0.load().iter().filter(usable).cloned().collect();
        others.sort_by_cached_key(|other| {
            let place = Sha256::digest(format!("{node} {stream} {}", other.node));
            (!other.streams.contains(stream), place)
        });
        others
    }
}

/// Whether the URL is `https://HOST` or `https://HOST:PORT`, without anything that has a meaning in a header or a playlist: it
/// comes over the bus, and goes into both.
pub fn is_base_url(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let authority = url.strip_prefix("https://").filter(|_| url.len() <= URL_BYTES_MAX);
    authority.is_some_and(|authority| !authority.is_empty() && authority.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use media::UnixMillis;
    use messages::{Load, NodeState, Presence};

    use super::*;

    fn presence(node: &str, state: NodeState, public: Option<&str>, streams: &[&str]) -> Presence {
        Presence {
            node: NodeId::new(node).unwrap(),
            role: Role::Broadcast,
            state,
            at: UnixMillis(1),
            started_at: UnixMillis(0),
            https: None,
            data: None,
            public: public.map(str::to_owned),
            load: Load::default(),
            streams: streams.iter().map(|name| StreamId::new(name).unwrap()).collect(),
            edges: Vec::new(),
            tenants: Vec::new(),
        }
    }

    fn at(seconds: u64) -> Now {
        Now { elapsed: Duration::from_secs(seconds), wall: UnixMillis(0) }
    }

    /// What the metadata log says.
    fn logged(node: &NodeId) -> Option<String> {
        (node.as_str() != "b9").then(|| format!("https://{node}.example.net"))
    }

    fn names(neighbours: &[Neighbour]) -> Vec<String> {
        neighbours.iter().map(|neighbour| neighbour.node.to_string()).collect()
    }

    #[test]
    fn nodes_with_public_names_are_known_while_they_speak() {
        let (shown, mut view) = (Neighbours::default(), Membership::default());
        view.heard(presence("b1", NodeState::Online, Some("https://b1.example.net"), &[]), at(0));
        view.heard(presence("b2", NodeState::Draining, Some("https://b2.example.net:8443"), &[]), at(3));
        view.heard(presence("b3", NodeState::Online, None, &[]), at(6));
        shown.follow(&view, logged, at(6));
        assert_eq!(names(&shown.all()), ["b1", "b2"]);
        assert!(shown.drains(&NodeId::new("b2").unwrap()) && !shown.drains(&NodeId::new("b1").unwrap()));
        shown.follow(&view, logged, at(7));
        assert_eq!(names(&shown.all()), ["b2"]);
        view.heard(presence("b2", NodeState::Offline, None, &[]), at(7));
        shown.follow(&view, logged, at(7));
        assert_eq!(names(&shown.all()), [""; 0]);
    }

    #[test]
    fn message_sends_viewers_nowhere_that_the_log_does_not_name() {
        let (shown, mut view) = (Neighbours::default(), Membership::default());
        for node in ["b1", "b9"] {
            view.heard(presence(node, NodeState::Online, Some("https://evil.example"), &[]), at(0));
        }
        shown.follow(&view, logged, at(1));
        let urls: Vec<String> = shown.all().iter().map(|neighbour| neighbour.url.clone()).collect();
        assert_eq!(urls, ["https://b1.example.net"]);
    }

    #[test]
    fn others_are_those_that_take_viewers_and_first_those_that_have_the_stream() {
        let (shown, mut view) = (Neighbours::default(), Membership::default());
        for number in 1..=8 {
            let url = format!("https://b{number}.example.net");
            let state = if number == 8 { NodeState::Draining } else { NodeState::Online };
            let streams: &[&str] = if number % 2 == 0 { &["demo"] } else { &[] };
            view.heard(presence(&format!("b{number}"), state, Some(&url), streams), at(0));
        }
        shown.follow(&view, logged, at(0));
        let demo = StreamId::new("demo").unwrap();
        let order = |node: &str| names(&shown.others(&NodeId::new(node).unwrap(), &demo));
        let mut of_b1 = order("b1");
        assert_eq!(of_b1, order("b1"));
        let firsts: std::collections::BTreeSet<String> =
            (1..=7).map(|number| order(&format!("b{number}")).remove(0)).collect();
        assert!(firsts.len() > 1, "not all of them to {firsts:?}");
        of_b1[..3].sort();
        of_b1[3..].sort();
        assert_eq!(of_b1, ["b2", "b4", "b6", "b3", "b5", "b7"]);
    }

    #[test]
    fn url_that_means_more_than_a_host_is_none() {
        for good in ["https://b1.example.net", "https://127.0.0.1:9101", "https://[2001:db8::1]:8443"] {
            assert!(is_base_url(good), "{good}");
        }
        let long = format!("https://{}", "a".repeat(URL_BYTES_MAX));
        for bad in ["", "https://", "http://b1", "https://b1/", "https://b1;script-src *", "https://b1 *", &long] {
            assert!(!is_base_url(bad), "{bad}");
        }
    }
}
