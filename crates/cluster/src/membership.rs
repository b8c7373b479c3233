//! Who is there: a fold over presence messages, failures and time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use media::{NodeId, Now};
use messages::{NodeState, Presence, Role};

/// How long a node counts as there after its last word: three presences of 2 s.
pub const LEASE: Duration = Duration::from_secs(6);

/// How long a node that failed a request is passed over, unless it says something sooner: one presence and some.
pub const SUSPECT: Duration = Duration::from_millis(2_500);

/// A last will counts once somebody has spoken so long after it: a broker that is stopped says everybody's, and then nothing more.
const WILL_CONFIRMED_AFTER: Duration = Duration::from_millis(300);

/// When nobody at all has spoken for this long, it is the bus that is silent, and no node grows older: two presences of 2 s. The own
/// presence of whoever listens is heard too, so a bus that carries anything is never silent.
pub const QUIET: Duration = Duration::from_secs(4);
const _: () = assert!(QUIET.as_nanos() < LEASE.as_nanos());

/// Probes that a node misses in a row before it is passed over: one may be lost.
pub const PROBES_MISSED_MAX: u8 = 2;

/// How long a node that is gone is remembered, so that it can be shown as gone.
const REMEMBER: Duration = Duration::from_secs(600);

/// Most nodes that are remembered; more are ignored. A bus that is garbage must not fill the memory.
pub const NODES_MAX: usize = 4_096;

/// Whether a node can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Says it is there, and did not fail since.
    Online,
    /// Finishes what it has; takes nothing new.
    Draining,
    /// Failed a request a moment ago, or has missed [`PROBES_MISSED_MAX`] probes and answered none since.
    Suspect,
    /// Said goodbye, or was silent for [`LEASE`].
    Offline,
}

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What it last said.
    pub presence: Presence,
    heard_at: Duration,
    failed_at: Option<Duration>,
    /// When its last will was said, until it is believed.
    will_at: Option<Duration>,
    /// Probes missed in a row, [`PROBES_MISSED_MAX`] at most.
    missed: u8,
}

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The node answered.
    Answered,
    /// Nothing came from the node in the time that it had.
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

/// Whether it is a last will: made when the node started, not when it left.
fn is_will(presence: &Presence) -> bool {
    presence.state == NodeState::Offline && presence.at == presence.started_at
}

/// The view. One shape of input each: [`Membership::heard`], [`Membership::failed`], [`Membership::probed`],
/// [`Membership::expire`]. It wants to hear the presence of all roles: while nobody speaks for [`QUIET`], the bus is away and not
/// the nodes, and leases stand still.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    members: BTreeMap<NodeId, Member>,
    /// When anybody last spoke.
    newest: Duration,
}

impl Membership {
    /// Takes in a presence message. A message from before the node's present start is ignored while that process is there (a late
    /// last will of the one before must not take it out); once it is gone, a start that says it was earlier is that of a clock
    /// that was set. Returns whether the view changed in more than its load.
    pub fn heard(&mut self, presence: Presence, now: Now) -> bool {
        self.wake(now);
        if !self.members.contains_key(&presence.node) && self.members.len() >= NODES_MAX {
            return false;
        }
        let before = self.members.get(&presence.node);
        // A process whose clock was ahead must not keep its successor out: once it is gone, whoever lives is believed.
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
            member.will_at.get_or_insert(now.elapsed);
            return false;
        }
        let before = self.members.get(&presence.node);
        let changed = before.is_none_or(|member| {
            let old = &member.presence;
            matches!(self.health(member, now), Health::Offline | Health::Suspect)
                || (old.state, old.role, old.started_at) != (presence.state, presence.role, presence.started_at)
                || (&old.https, &old.data) != (&presence.https, &presence.data)
        });
        // What a node says of itself does not make up for probes; another process begins anew.
        let missed = before.filter(|m| m.presence.started_at == presence.started_at).map_or(0, |member| member.missed);
        let is_spoken = !is_will(&presence);
        self.members.insert(
            presence.node.clone(),
            Member { presence, heard_at: now.elapsed, failed_at: None, missed, will_at: None },
        );
        (is_spoken && self.confirm_wills(now)) | changed
    }

    /// Somebody lives to speak: those whose last will was said a while ago are gone. Whether there is one.
    fn confirm_wills(&mut self, now: Now) -> bool {
        let is_due = |at: Duration| now.elapsed.saturating_sub(at) >= WILL_CONFIRMED_AFTER;
        let mut is_news = false;
        for member in self.members.values_mut().filter(|member| member.will_at.is_some_and(is_due)) {
            member.will_at = None;
            member.presence.state = NodeState::Offline;
            is_news = true;
        }
        is_news
    }

    /// The bus speaks again: who was heard before it fell silent has a whole lease from here on to say so.
    fn wake(&mut self, now: Now) {
        let silence = now.elapsed.saturating_sub(self.newest);
        if silence > QUIET {
            let lost = silence - QUIET;
            self.members.values_mut().for_each(|member| member.heard_at += lost);
        }
        self.newest = self.newest.max(now.elapsed);
    }

    /// What leases are measured by: the clock, but for the time in which nobody speaks.
    fn bus_clock(&self, now: Now) -> Duration {
        now.elapsed.min(self.newest + QUIET)
    }

    /// Whether a member can be used at `now`.
    pub fn health(&self, member: &Member, now: Now) -> Health {
        member.health(now, self.bus_clock(now))
    }

    /// A request to the node failed before it answered.
    pub fn failed(&mut self, node: &NodeId, now: Now) {
        if let Some(member) = self.members.get_mut(node) {
            member.failed_at = Some(now.elapsed);
        }
    }

    /// The node was probed. Returns whether it is found silent by this, or found to be back.
    pub fn probed(&mut self, node: &NodeId, probe: Probe) -> bool {
        let Some(member) = self.members.get_mut(node) else { return false };
        let was_silent = member.missed >= PROBES_MISSED_MAX;
        match probe {
            Probe::Answered => (member.missed, member.failed_at) = (0, None),
            Probe::Missed => member.missed = member.missed.saturating_add(1).min(PROBES_MISSED_MAX),
        }
        was_silent != (member.missed >= PROBES_MISSED_MAX)
    }

    /// Forgets nodes that have long been gone.
    pub fn expire(&mut self, now: Now) {
        let bus = self.bus_clock(now);
        self.members.retain(|_, member| bus.saturating_sub(member.heard_at) <= REMEMBER);
    }

    /// When the health of some node will next change by time alone.
    pub fn next_deadline(&self, now: Now) -> Option<Duration> {
        let bus = self.bus_clock(now);
        let leased = self.members.values().filter(|m| m.health(now, bus) != Health::Offline);
        // While the bus is silent no lease ends.
        let leases = leased.map(|m| m.heard_at + LEASE).filter(|at| *at <= self.newest + QUIET);
        let suspects = self.members.values().filter_map(|m| m.failed_at).map(|at| at + SUSPECT);
        leases.chain(suspects).filter(|at| *at > now.elapsed).min()
    }

    /// All members, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn get(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// Members of a role that can be used at `now`, by name.
    pub fn online(&self, role: Role, now: Now) -> impl Iterator<Item = &Member> {
        let bus = self.bus_clock(now);
        self.members.values().filter(move |m| m.presence.role == role && m.health(now, bus) == Health::Online)
    }

    /// Panics when the view contradicts itself.
    pub fn check_invariants(&self) {
        assert!(self.members.len() <= NODES_MAX, "more nodes than allowed");
        for (id, member) in &self.members {
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
