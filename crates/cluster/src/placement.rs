//! Chooses the node for the next viewer: weighted rendezvous hashing over the present members.
//!
//! Every balancer that sees the same members makes the same choice for the same key, and a node that comes or goes moves
//! only its own share of the keys. Pure.

use std::time::Duration;

use media::{NodeId, Now, StreamId};
use messages::{Load, NodeState, Policy, Role};

use crate::{Health, Member, Membership};

/// A node with at least this headroom ([`headroom`]) has room for every viewer.
const HEADROOM_AMPLE: f64 = 0.2;
/// When no node has that much, this share of the best node's headroom is enough: when all nodes are busy, a node that has to pull the
/// stream first adds to their load.
const HEADROOM_ALIKE: f64 = 0.75;
/// With at most this share of the headroom that is enough, a node keeps no viewer that another node could serve as well.
const HEADROOM_NONE: f64 = 0.25;
/// A node that sends this share of its egress capacity is full.
const EGRESS_FULL: f64 = 0.95;

/// Smallest weight of a present node: even a node that reports full load is better than an error.
const WEIGHT_MIN: f64 = 0.02;
/// Largest weight: a larger one would leave nothing for the others.
const WEIGHT_MAX: f64 = 1e6;

/// How long a node gets less than its share of viewers after its start: its caches are cold, and it has no connections yet.
const SLOW_START: Duration = Duration::from_secs(30);
/// Share of its weight that a node begins with.
const SLOW_START_SHARE: f64 = 0.1;

/// The viewer to choose a node for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Viewer<'a> {
    /// Key that spreads viewers over the nodes: the same key leads to the same node.
    pub key: u64,
    /// Only the key keeps the viewer on its node, so only a nearly full node sends it away.
    pub is_placed_by_key: bool,
    /// The node that already serves it: only a drain or a failure sends it elsewhere.
    pub watched_on: Option<&'a NodeId>,
    /// The node to which the viewer was sent before.
    pub sticky: Option<&'a NodeId>,
    /// The requested stream; none when the request names none.
    pub stream: Option<&'a StreamId>,
}

/// Broadcast nodes for a viewer, best first: online nodes, then drained ones, and suspect ones as a last resort.
///
/// The node that already serves the viewer comes first among the nodes of the same state, whatever its load, its age and the streams
/// that it reports: its answers show that it has the stream. So load and slow start affect only new viewers.
///
/// Then come nodes with room, first those that hold the stream, as owner or as edge: any node can serve any stream, but others have to
/// pull it first. Among equals, the node to which the viewer was sent before comes first, then weight and key decide. A drained node
/// keeps no viewer: requests in progress finish there, and the next goes elsewhere.
pub fn candidates<'a>(view: &'a Membership, policy: &Policy, viewer: Viewer<'_>, now: Now) -> Vec<&'a Member> {
    let free = view.online(Role::Broadcast, now).filter(|member| !is_drained(member, policy));
    let best = free.map(|member| headroom(&member.presence.load)).fold(0.0, f64::max);
    let enough = if best >= HEADROOM_AMPLE { HEADROOM_AMPLE } else { HEADROOM_ALIKE * best };
    let mut ranked: Vec<(Rank, f64, &Member)> = view
        .members()
        .filter(|member| member.presence.role == Role::Broadcast)
        .filter_map(|member| {
            let (node, load) = (&member.presence.node, &member.presence.load);
            let rank = rank(member, view.health(member, now), policy, (viewer, enough))?;
            let weight = match viewer.is_placed_by_key {
                // Load counts only in the decision whether there is room: otherwise viewers would move with every report.
                true if rank.room != Room::None => 1.0,
                _ => headroom(load),
            };
            let weight = bounded(configured_weight(policy, node) * weight * slow_start(member));
            Some((rank, score(viewer.key, node, weight), member))
        })
        .collect();
    ranked.sort_by(|(rank_a, score_a, a), (rank_b, score_b, b)| {
        rank_a.cmp(rank_b).then(score_a.total_cmp(score_b)).then_with(|| a.presence.node.cmp(&b.presence.node))
    });
    ranked.into_iter().map(|(_, _, member)| member).collect()
}

/// The node that already serves the viewer, while nothing sends the viewer elsewhere: then it comes first among the [`candidates`].
pub fn stays<'a>(view: &'a Membership, policy: &Policy, viewer: Viewer<'_>, now: Now) -> Option<&'a Member> {
    let member = view.get(viewer.watched_on?)?;
    let may_stay = view.health(member, now) == Health::Online && !is_drained(member, policy);
    (member.presence.role == Role::Broadcast && may_stay).then_some(member)
}

/// Whether no node can take another viewer: every node that takes new ones uses 95 % or more of its configured egress. A node
/// without a configured capacity is never full. A cluster without nodes is not full but gone.
pub fn is_full(view: &Membership, policy: &Policy, now: Now) -> bool {
    let mut nodes = view.online(Role::Broadcast, now).filter(|member| !is_drained(member, policy)).peekable();
    nodes.peek().is_some() && nodes.all(|member| egress_share(&member.presence.load) >= EGRESS_FULL)
}

/// The criteria before weight and key; less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_suspect: bool,
    is_drained: bool,
    is_not_watched_on: bool,
    room: Room,
    is_other: bool,
}

/// What a node can offer one more viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// Room, and the stream.
    WithStream,
    /// Room, but not the stream.
    WithoutStream,
    /// No room, with or without the stream.
    None,
}

fn rank(member: &Member, health: Health, policy: &Policy, (viewer, enough): (Viewer<'_>, f64)) -> Option<Rank> {
    let presence = &member.presence;
    let is_sticky = viewer.sticky == Some(&presence.node);
    let holds = viewer.stream.is_none_or(|stream| presence.streams.contains(stream) || presence.edges.contains(stream));
    let room = match has_room(member, viewer, enough) || is_sticky {
        true if holds => Room::WithStream,
        true => Room::WithoutStream,
        false => Room::None,
    };
    (health != Health::Offline).then_some(Rank {
        is_suspect: health == Health::Suspect,
        is_drained: is_drained(member, policy),
        is_not_watched_on: viewer.watched_on != Some(&presence.node),
        room,
        is_other: !is_sticky,
    })
}

/// Whether the node itself or the operator drains it.
fn is_drained(member: &Member, policy: &Policy) -> bool {
    member.presence.state == NodeState::Draining || policy.drained.contains(&member.presence.node)
}

/// Whether the node has room for this viewer. Viewers that are placed by key leave a filling node one by one: if all left at once, they
/// would oscillate between two nodes.
fn has_room(member: &Member, viewer: Viewer<'_>, enough: f64) -> bool {
    let headroom = headroom(&member.presence.load);
    if headroom >= enough {
        return true;
    }
    let share = (headroom / enough - HEADROOM_NONE) / (1.0 - HEADROOM_NONE);
    viewer.is_placed_by_key && uniform(mix(viewer.key), &member.presence.node) < share
}

/// The unused share of a node's scarcest resource, CPU or egress, 0 to 1; 0 when its load is not a number.
pub fn headroom(load: &Load) -> f64 {
    let headroom = 1.0 - load.cpu.max(egress_share(load));
    if load.cpu.is_finite() && headroom.is_finite() { headroom.clamp(0.0, 1.0) } else { 0.0 }
}

/// Share of its egress capacity that a node uses; 0 when none is configured.
fn egress_share(load: &Load) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a ratio; exact to 2^53 bit/s")]
    let share = if load.egress_capacity.0 == 0 { 0.0 } else { load.egress.0 as f64 / load.egress_capacity.0 as f64 };
    share
}

/// Share of its weight that a node has at its age, which is measured on its own clock. It only rises, so rendezvous hashing moves
/// viewers to the node and never away from it.
fn slow_start(member: &Member) -> f64 {
    let age_ms = member.presence.at.0.saturating_sub(member.presence.started_at.0).max(0);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let grown = age_ms as f64 / SLOW_START.as_millis() as f64;
    SLOW_START_SHARE + (1.0 - SLOW_START_SHARE) * grown.min(1.0)
}

/// Weights and loads come over the bus: a negative value, or one that is not a number, counts as [`WEIGHT_MIN`].
fn bounded(weight: f64) -> f64 {
    if weight.is_finite() { weight.clamp(WEIGHT_MIN, WEIGHT_MAX) } else { WEIGHT_MIN }
}

/// The operator's weight of a node; 1 by default.
pub(crate) fn configured_weight(policy: &Policy, node: &NodeId) -> f64 {
    bounded(policy.weights.get(node).copied().unwrap_or(1.0))
}

/// The rendezvous key of a stream.
pub(crate) fn key_of(stream: &StreamId) -> u64 {
    fnv(stream.as_str().as_bytes())
}

/// Rendezvous score, smaller is better: an exponential variate of rate `weight`, drawn by hashing key and node.
pub(crate) fn score(key: u64, node: &NodeId, weight: f64) -> f64 {
    -uniform(key, node).ln() / weight
}

/// A number between 0 and 1, both excluded, drawn by hashing key and node.
fn uniform(key: u64, node: &NodeId) -> f64 {
    let hash = mix(key ^ fnv(node.as_str().as_bytes()));
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept on purpose")]
    let uniform = ((hash >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    uniform
}

/// FNV-1a, 64 bit.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64's finaliser: spreads every input bit over the output.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests;
