//! The members of the cluster: a fold over presence messages, failures and time. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use media::{NodeId, Now};
use messages::{NodeState, Presence, Role};

/// How long a node counts as present after its last message: three presences of 2 s.
pub const LEASE: Duration = Duration::from_secs(6);

/// How long a node is passed over after it failed a request, unless a presence comes sooner: a little over one presence interval.
pub const SUSPECT: Duration = Duration::from_millis(2_500);

/// A last will counts once another message has come this long after it: a broker that stops sends every node's will, and then breaks
/// the connection ([`Membership::broker_changed`]).
const WILL_CONFIRMED_AFTER: Duration = Duration::from_millis(300);

/// The same for a last will that the broker had kept: the node may have lost its connection when we lost ours, and be late to return.
const KEPT_WILL_CONFIRMED_AFTER: Duration = SUSPECT;

/// When no message at all has come for this long, the bus is silent, and leases stop running: two presences of 2 s. A node hears its
/// own presence too, so a working bus is never silent.
pub const QUIET: Duration = Duration::from_secs(4);
const _: () = assert!(QUIET.as_nanos() < LEASE.as_nanos());

/// Probes that a node may miss in a row before it is passed over: one may be lost.
pub const PROBES_MISSED_MAX: u8 = 2;

/// How long the view remembers a node that is gone, so that it can be shown as gone.
const REMEMBER: Duration = Duration::from_secs(600);

/// Most nodes in the view; it ignores more, so that garbage on the bus does not fill the memory.
pub const NODES_MAX: usize = 4_096;

/// Whether a node can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It reports that it is online, and has not failed since.
    Online,
    /// It finishes its work, and takes nothing new.
    Draining,
    /// It failed a request less than [`SUSPECT`] ago, or has missed [`PROBES_MISSED_MAX`] probes in a row.
    Suspect,
    /// It reported its stop, its last will counts, or it was silent for [`LEASE`].
    Offline,
}

impl Health {
    /// Its name in `/status` and in what control answers.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Draining => "draining",
            Self::Suspect => "suspect",
            Self::Offline => "offline",
        }
    }
}

/// A node in the view.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its newest presence message.
    pub presence: Presence,
    heard_at: Duration,
    failed_at: Option<Duration>,
    /// From when on the next message of another node makes its last will count.
    will_from: Option<Duration>,
    /// Probes missed in a row, [`PROBES_MISSED_MAX`] at most.
    missed: u8,
}

/// Result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    Answered,
    /// The node did not answer in time.
    Missed,
}

impl Member {
    /// Whether it can be used at `now`; its lease runs on the clock of `bus`.
    fn health(&self, now: Now, bus: Duration) -> Health {
        if self.presence.state == NodeState::Offline || bus.saturating_sub(self.heard_at) > LEASE {
            return Health::Offline;
        }
        if self.missed >= PROBES_MISSED_MAX {
            return Health::Suspect;
        }
        if self.failed_at.is_some_and(|at| now.elapsed.saturating_sub(at) <= SUSPECT) {
            return Health::Suspect;
        }
        if self.presence.state == NodeState::Draining { Health::Draining } else { Health::Online }
    }
}

/// Whether the message is a last will, which the node wrote when it started, not when it left.
fn is_will(presence: &Presence) -> bool {
    presence.state == NodeState::Offline && presence.at == presence.started_at
}

/// The view of the cluster. Its inputs are [`Membership::heard`], [`Membership::heard_kept`], [`Membership::broker_changed`],
/// [`Membership::failed`], [`Membership::probed`] and [`Membership::expire`]. Give it the presence of all roles: after [`QUIET`] without
/// any message it takes the bus for silent, not the nodes for gone, and leases stop running.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
    /// When the newest message of any node came.
    newest: Duration,
    /// Nodes that are not trusted any more, whatever they say.
    revoked: BTreeSet<NodeId>,
}

impl Membership {
    /// Takes a presence message. Returns whether the health, state, role, start or internal URLs of a node changed.
    ///
    /// Ignores a message with an earlier start than the node's known process while that is present: a late last will of the previous
    /// process must not remove it. Once the known process is gone, an earlier start means that its clock was set back.
    pub fn heard(&mut self, presence: Presence, now: Now) -> bool {
        self.hear(presence, WILL_CONFIRMED_AFTER, now)
    }

    /// As [`Membership::heard`], for a message that a broker had kept and sent because we connected.
    pub fn heard_kept(&mut self, presence: Presence, now: Now) -> bool {
        self.hear(presence, KEPT_WILL_CONFIRMED_AFTER, now)
    }

    /// A connection to a broker broke or was made. Last wills that do not count yet never will: a broker that stops sends those of all
    /// nodes and then breaks their connections, and whoever returns to it first must not take the others for gone. A node that is gone
    /// indeed is so when its lease ends.
    pub fn broker_changed(&mut self) {
        self.members.values_mut().for_each(|member| member.will_from = None);
    }

    fn hear(&mut self, presence: Presence, will_counts_after: Duration, now: Now) -> bool {
        self.wake(now);
        let is_new = !self.members.contains_key(&presence.node);
        if self.revoked.contains(&presence.node) || (is_new && self.members.len() >= NODES_MAX) {
            return false;
        }
        let before = self.members.get(&presence.node);
        // A process whose clock was ahead must not keep its successor out: once it is gone, a live node is believed.
        let is_superseded = |member: &Member| {
            let is_alive = presence.state != NodeState::Offline && self.health(member, now) == Health::Offline;
            presence.started_at < member.presence.started_at && !is_alive
        };
        if before.is_some_and(is_superseded) {
            return false;
        }
        if let Some(member) = self.members.get_mut(&presence.node)
            && is_will(&presence)
            && member.presence.state != NodeState::Offline
        {
            let from = now.elapsed + will_counts_after;
            member.will_from = Some(member.will_from.map_or(from, |earlier| earlier.min(from)));
            return false;
        }
        let before = self.members.get(&presence.node);
        let changed = before.is_none_or(|member| {
            let old = &member.presence;
            matches!(self.health(member, now), Health::Offline | Health::Suspect)
                || (old.state, old.role, old.started_at) != (presence.state, presence.role, presence.started_at)
                || (&old.https, &old.data) != (&presence.https, &presence.data)
        });
        // A presence message does not make up for missed probes; a new process starts from zero.
        let missed = before.filter(|m| m.presence.started_at == presence.started_at).map_or(0, |member| member.missed);
        let is_spoken = !is_will(&presence);
        self.members.insert(
            presence.node.clone(),
            Member { presence, heard_at: now.elapsed, failed_at: None, missed, will_from: None },
        );
        (is_spoken && self.confirm_wills(now)) | changed
    }

    /// A message came, so the bus works: nodes whose last will is old enough are gone. Returns whether there is one.
    fn confirm_wills(&mut self, now: Now) -> bool {
        let is_due = |from: Duration| now.elapsed >= from;
        let mut is_news = false;
        for member in self.members.values_mut().filter(|member| member.will_from.is_some_and(is_due)) {
            member.will_from = None;
            member.presence.state = NodeState::Offline;
            is_news = true;
        }
        is_news
    }

    /// A message came: after a silence of the bus, leases run on with the time that they had left when they stopped.
    fn wake(&mut self, now: Now) {
        let silence = now.elapsed.saturating_sub(self.newest);
        if silence > QUIET {
            let lost = silence - QUIET;
            self.members.values_mut().for_each(|member| member.heard_at += lost);
        }
        self.newest = self.newest.max(now.elapsed);
    }

    /// The clock for leases: it stops [`QUIET`] after the newest message.
    fn bus_clock(&self, now: Now) -> Duration {
        now.elapsed.min(self.newest + QUIET)
    }

    /// Whether a member can be used at `now`.
    pub fn health(&self, member: &Member, now: Now) -> Health {
        member.health(now, self.bus_clock(now))
    }

    /// Notes that a request to the node failed before it answered.
    pub fn failed(&mut self, node: &NodeId, now: Now) {
        if let Some(member) = self.members.get_mut(node) {
            member.failed_at = Some(now.elapsed);
        }
    }

    /// Notes the result of a probe. Returns whether the node thereby became suspect, or is no longer.
    pub fn probed(&mut self, node: &NodeId, probe: Probe) -> bool {
        let Some(member) = self.members.get_mut(node) else { return false };
        let was_silent = member.missed >= PROBES_MISSED_MAX;
        match probe {
            Probe::Answered => (member.missed, member.failed_at) = (0, None),
            Probe::Missed => member.missed = member.missed.saturating_add(1).min(PROBES_MISSED_MAX),
        }
        was_silent != (member.missed >= PROBES_MISSED_MAX)
    }

    /// Forgets these nodes, and hears them no more; others are heard again. Returns whether that changed anything.
    pub fn revoke(&mut self, nodes: BTreeSet<NodeId>) -> bool {
        let is_new = self.revoked != nodes;
        self.revoked = nodes;
        self.members.retain(|node, _| !self.revoked.contains(node));
        is_new
    }

    /// Forgets nodes that were last heard more than ten minutes ago.
    pub fn expire(&mut self, now: Now) {
        let bus = self.bus_clock(now);
        self.members.retain(|_, member| bus.saturating_sub(member.heard_at) <= REMEMBER);
    }

    /// When the health of some node next changes by time alone, on the clock of [`Now::elapsed`].
    pub fn next_deadline(&self, now: Now) -> Option<Duration> {
        let bus = self.bus_clock(now);
        let leased = self.members.values().filter(|m| m.health(now, bus) != Health::Offline);
        // No lease ends while the bus is silent.
        let leases = leased.map(|m| m.heard_at + LEASE).filter(|at| *at <= self.newest + QUIET);
        let suspects = self.members.values().filter_map(|m| m.failed_at).map(|at| at + SUSPECT);
        leases.chain(suspects).filter(|at| *at > now.elapsed).min()
    }

    /// All members, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member by name, even one that is offline.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// Members of a role that are online at `now`, by name.
    pub fn online(&self, role: Role, now: Now) -> impl Iterator<Item = &Member> {
        let bus = self.bus_clock(now);
        self.members.values().filter(move |m| m.presence.role == role && m.health(now, bus) == Health::Online)
    }

    /// Panics when the view contradicts itself. For tests.
    pub fn check_invariants(&self) {
        assert!(self.members.len() <= NODES_MAX, "more nodes than allowed");
        for (id, member) in &self.members {
            assert!(!self.revoked.contains(id), "a revoked node is no member");
            assert_eq!(*id, member.presence.node, "a member is kept under its own name");
            assert!(member.missed <= PROBES_MISSED_MAX, "more misses are counted than matter");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use media::UnixMillis;
    use messages::Load;
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn presence(node: &str, state: NodeState, started_at: i64) -> Presence {
        Presence {
            node: NodeId::new(node).unwrap(),
            role: Role::Broadcast,
            state,
            at: UnixMillis(0),
            started_at: UnixMillis(started_at),
            https: None,
            data: None,
            public: None,
            load: Load::default(),
            streams: Vec::new(),
            edges: Vec::new(),
            tenants: Vec::new(),
        }
    }

    pub(crate) fn at(millis: u64) -> Now {
        Now { elapsed: Duration::from_millis(millis), wall: UnixMillis(1_000_000 + i64::try_from(millis).unwrap()) }
    }

    fn health(view: &Membership, node: &str, now: Now) -> Health {
        view.health(view.get(&NodeId::new(node).unwrap()).unwrap(), now)
    }

    #[test]
    fn process_whose_clock_was_ahead_does_not_keep_its_successor_out() {
        let mut view = Membership::default();
        view.heard(presence("b1", NodeState::Online, 3_600_000), at(0));
        view.heard(presence("b1", NodeState::Online, 5), at(10));
        assert_eq!(view.get(&NodeId::new("b1").unwrap()).unwrap().presence.started_at, UnixMillis(3_600_000));
        view.heard(presence("b1", NodeState::Offline, 3_600_000), at(20));
        view.heard(presence("b1", NodeState::Offline, 4), at(30));
        assert_eq!(view.online(Role::Broadcast, at(30)).count(), 0);
        view.heard(presence("b1", NodeState::Online, 5), at(40));
        assert_eq!(view.online(Role::Broadcast, at(40)).count(), 1);
    }

    fn will(node: &str, started_at: i64) -> Presence {
        Presence { at: UnixMillis(started_at), ..presence(node, NodeState::Offline, started_at) }
    }

    #[test]
    fn wills_of_a_broker_that_stops_take_nobody_out_and_that_of_a_node_does() {
        let mut view = Membership::default();
        for node in ["b1", "b2"] {
            view.heard(presence(node, NodeState::Online, 5), at(0));
        }
        for node in ["b1", "b2"] {
            assert!(!view.heard(will(node, 5), at(1_000)));
        }
        assert_eq!(view.online(Role::Broadcast, at(60_000)).count(), 2, "nobody has spoken since");
        view.heard(presence("b2", NodeState::Online, 5), at(61_000));
        assert_eq!(health(&view, "b1", at(61_000)), Health::Offline);
        assert_eq!(health(&view, "b2", at(61_000)), Health::Online);
        view.heard(presence("b1", NodeState::Online, 5), at(61_100));
        view.heard(will("b1", 5), at(62_000));
        view.heard(presence("b2", NodeState::Online, 5), at(62_100));
        assert_eq!(health(&view, "b1", at(62_100)), Health::Online, "it may be said at the same moment");
        assert!(view.heard(presence("b2", NodeState::Online, 5), at(64_100)));
        assert_eq!(health(&view, "b1", at(64_100)), Health::Offline);
    }

    #[test]
    fn who_returns_first_to_a_broker_that_was_stopped_takes_nobody_for_gone() {
        let mut view = Membership::default();
        let returned = |view: &mut Membership, at_ms| {
            view.heard(presence("b2", NodeState::Online, 5), at(at_ms));
            health(view, "b1", at(at_ms))
        };
        for node in ["b1", "b2"] {
            view.heard(presence(node, NodeState::Online, 5), at(0));
        }
        // The broker stops, and starts.
        view.heard(will("b1", 5), at(1_000));
        view.broker_changed();
        view.broker_changed();
        assert_eq!(returned(&mut view, 4_000), Health::Online);
        // It has kept the will.
        view.heard_kept(will("b1", 5), at(4_000));
        assert_eq!(returned(&mut view, 4_500), Health::Online, "it may be on its way");
    }

    #[test]
    fn kept_will_counts_when_the_node_does_not_return() {
        let mut view = Membership::default();
        view.heard(presence("b1", NodeState::Online, 5), at(3_000));
        view.heard_kept(will("b1", 5), at(4_000));
        view.heard(presence("b2", NodeState::Online, 5), at(6_400));
        assert_eq!(health(&view, "b1", at(6_400)), Health::Online);
        assert!(view.heard(presence("b2", NodeState::Online, 5), at(6_500)));
        assert_eq!(health(&view, "b1", at(6_500)), Health::Offline);
    }

    #[test]
    fn silence_for_a_lease_is_offline() {
        let mut view = Membership::default();
        assert!(view.heard(presence("b1", NodeState::Online, 1), at(0)));
        view.heard(presence("b2", NodeState::Online, 1), at(4_000));
        assert_eq!(view.next_deadline(at(4_000)), Some(LEASE));
        assert_eq!(health(&view, "b1", at(6_000)), Health::Online);
        assert_eq!(health(&view, "b1", at(6_001)), Health::Offline);
        assert!(view.heard(presence("b1", NodeState::Online, 1), at(7_000)), "coming back is a change");
    }

    #[test]
    fn while_the_bus_is_silent_nobody_is_gone() {
        let mut view = Membership::default();
        view.heard(presence("b1", NodeState::Online, 1), at(0));
        view.heard(presence("b2", NodeState::Online, 1), at(1_000));
        assert_eq!(view.next_deadline(at(1_000)), None, "no lease can end before somebody speaks");
        assert_eq!(health(&view, "b1", at(500_000)), Health::Online);
        view.heard(presence("b2", NodeState::Online, 1), at(600_000));
        assert_eq!(health(&view, "b1", at(600_000)), Health::Online, "it has the rest of its lease to say so");
        view.heard(presence("b2", NodeState::Online, 1), at(602_000));
        assert_eq!(health(&view, "b1", at(602_000)), Health::Offline);
    }

    #[test]
    fn failed_node_is_passed_over_until_it_speaks() {
        let mut view = Membership::default();
        view.heard(presence("b1", NodeState::Online, 1), at(0));
        view.failed(&NodeId::new("b1").unwrap(), at(100));
        assert_eq!(health(&view, "b1", at(101)), Health::Suspect);
        view.heard(presence("b1", NodeState::Online, 1), at(500));
        assert_eq!(health(&view, "b1", at(501)), Health::Online);
    }

    #[test]
    fn node_that_misses_two_probes_is_passed_over_until_it_answers_one_or_is_another_process() {
        let mut view = Membership::default();
        let b1 = NodeId::new("b1").unwrap();
        view.heard(presence("b1", NodeState::Online, 1), at(0));
        assert!(!view.probed(&b1, Probe::Missed));
        assert!(!view.probed(&b1, Probe::Answered));
        assert!(!view.probed(&b1, Probe::Missed));
        assert_eq!(health(&view, "b1", at(0)), Health::Online, "never two in a row");
        assert!(view.probed(&b1, Probe::Missed), "this is news");
        assert!(!view.probed(&b1, Probe::Missed), "and this is not");
        view.heard(presence("b1", NodeState::Online, 1), at(3_000));
        assert_eq!(health(&view, "b1", at(3_000)), Health::Suspect, "whatever it says of itself");
        assert!(view.probed(&b1, Probe::Answered));
        assert_eq!(health(&view, "b1", at(3_000)), Health::Online);
        view.probed(&b1, Probe::Missed);
        view.probed(&b1, Probe::Missed);
        view.heard(presence("b1", NodeState::Online, 2), at(3_500));
        assert_eq!(health(&view, "b1", at(3_500)), Health::Online);
    }

    #[test]
    fn late_last_will_of_the_process_before_is_ignored() {
        let mut view = Membership::default();
        view.heard(presence("b1", NodeState::Online, 2), at(0));
        assert!(!view.heard(presence("b1", NodeState::Offline, 1), at(10)));
        assert_eq!(health(&view, "b1", at(10)), Health::Online);
        view.heard(presence("b1", NodeState::Offline, 2), at(20));
        assert_eq!(health(&view, "b1", at(20)), Health::Offline);
    }

    proptest! {
        #[test]
        fn any_inputs_keep_the_invariants(steps in prop::collection::vec((0u8..6, 0u8..6, 0i64..3, 0u64..8_000), 1..60)) {
            let mut view = Membership::default();
            let mut clock = 0;
            for (kind, node, started, wait) in steps {
                clock += wait;
                let name = format!("b{node}");
                match kind {
                    0 => { view.heard(presence(&name, NodeState::Online, started), at(clock)); }
                    1 => { view.heard(presence(&name, NodeState::Offline, started), at(clock)); }
                    2 => view.failed(&NodeId::new(&name).unwrap(), at(clock)),
                    3 => { view.probed(&NodeId::new(&name).unwrap(), Probe::Missed); }
                    4 => { view.probed(&NodeId::new(&name).unwrap(), Probe::Answered); }
                    _ => view.expire(at(clock)),
                }
                view.check_invariants();
                let deadline = view.next_deadline(at(clock));
                prop_assert!(deadline.is_none_or(|d| d > at(clock).elapsed), "a deadline lies ahead");
            }
        }
    }
}
