//! Faults of the cluster, how they end, and what viewers may notice of them.

use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng as _, rngs::StdRng};
use testkit::link::Mode;

use super::cluster::{BROADCAST, Cluster, WallClock};

/// Bytes per second of a link that is too slow for the stream (some 110 kB/s), but not dead.
const SLOW: u32 = 60_000;
/// Longest wait for `node drain --wait`, which itself gives up after two minutes and reports what the node still does.
const DRAIN_MAX: Duration = Duration::from_secs(130);

/// Placeholder for the broadcast node that serves the player when the fault comes.
const FEEDING: &str = "feeding";
/// Placeholder for an owner of the stream, other than `FEEDING` if possible.
const OWNER: &str = "owner";
/// Placeholder for a node that is not an owner.
const EDGE: &str = "edge";
/// Placeholder for the ingest that seals the stream.
const ACTIVE: &str = "active";
/// Placeholder for the other ingest.
const STANDBY: &str = "standby";

/// Which node each placeholder means when a fault comes.
#[derive(Debug, Clone)]
pub struct Cast {
    pub feeding: &'static str,
    pub owners: Vec<&'static str>,
    pub active: &'static str,
    pub standby: &'static str,
}

impl Cast {
    fn node(&self, name: &'static str) -> &'static str {
        let other = |id: &&&'static str| **id != self.feeding;
        let found = match name {
            FEEDING => Some(&self.feeding),
            OWNER => self.owners.iter().find(other).or(self.owners.first()),
            ACTIVE => Some(&self.active),
            STANDBY => Some(&self.standby),
            EDGE => BROADCAST.iter().find(|id| !self.owners.contains(id)),
            _ => Some(&name),
        };
        found.unwrap_or(&self.feeding)
    }

    /// Whether viewers, or what feeds their node, depend on this node.
    fn depends_on(&self, id: &str) -> bool {
        self.feeding == id || self.active == id || self.owners.contains(&id)
    }
}

/// Which of the two brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brokers {
    First,
    Second,
    Both,
}

impl Brokers {
    const fn indices(self) -> &'static [usize] {
        match self {
            Self::First => &[0],
            Self::Second => &[1],
            Self::Both => &[0, 1],
        }
    }
}

/// A link of a broadcast node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Data,
    Viewers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a new start at the end.
    Killed(&'static str),
    /// SIGSTOP, and SIGCONT at the end.
    Frozen(&'static str),
    /// A link of a broadcast node is disturbed.
    Link(&'static str, Way, Mode),
    /// Nothing passes between a node and any broker.
    Deaf(&'static str),
    DiskFull(&'static str),
    /// `kill -9`, and a start with a wrong clock; at the end, the same with the right clock.
    Clock(&'static str, WallClock),
    /// Killed, and an empty one in its place at the end.
    BrokerKilled(Brokers),
    /// Stopped by SIGTERM, as an operator does: it publishes every node's last will before it ends.
    BrokerStopped(Brokers),
    /// Killed, and an empty one in its place at once.
    BrokerWiped(Brokers),
    BrokerFrozen(Brokers),
    BrokerCut(Brokers),
    /// Withholds, repeats, holds back, damages and invents messages.
    BrokerHostile(Brokers),
    Drained(&'static str),
    /// Control comes back from a backup that is older than what it has written.
    ControlRestored,
    /// A second control starts with a copy of the first one's data.
    ControlDoubled,
}

/// What viewers may notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// Nothing.
    Nothing,
    /// One short stall, because what served them is gone.
    OneStall,
    /// Stalls while the fault lasts: the link to a live node is too narrow, which no balancer sees.
    Outage,
}

impl Fault {
    /// This fault, with placeholders replaced by nodes.
    pub fn on(self, cast: &Cast) -> Self {
        match self {
            Self::Killed(id) => Self::Killed(cast.node(id)),
            Self::Frozen(id) => Self::Frozen(cast.node(id)),
            Self::Link(id, way, mode) => Self::Link(cast.node(id), way, mode),
            Self::Deaf(id) => Self::Deaf(cast.node(id)),
            Self::DiskFull(id) => Self::DiskFull(cast.node(id)),
            Self::Clock(id, shows) => Self::Clock(cast.node(id), shows),
            Self::Drained(id) => Self::Drained(cast.node(id)),
            brokers => brokers,
        }
    }

    /// What viewers may notice of this fault, without placeholders.
    pub fn allowed(self, cast: &Cast) -> Allowed {
        match self {
            Self::Link(id, Way::Viewers, Mode::Slow(_)) if cast.depends_on(id) => Allowed::Outage,
            Self::Killed(id) | Self::Frozen(id) | Self::Clock(id, _) | Self::Link(id, ..) if cast.depends_on(id) => {
                Allowed::OneStall
            }
            // The player has to notice this by itself.
            Self::Frozen("lb2") => Allowed::OneStall,
            _ => Allowed::Nothing,
        }
    }

    pub async fn inject(self, cluster: &mut Cluster) {
        match self {
            Self::Killed(id) => cluster.kill_node(id),
            Self::Frozen(id) => cluster.signal_node(id, "STOP"),
            Self::Link(id, Way::Data, mode) => cluster.data_link(id, mode),
            Self::Link(id, Way::Viewers, mode) => cluster.viewers_link(id, mode),
            Self::Deaf(id) => {
                for broker in Brokers::Both.indices() {
                    cluster.bus_link(id, *broker, Mode::Blackhole);
                }
            }
            Self::DiskFull(id) => cluster.fill_disk(id),
            Self::Clock(id, shows) => {
                cluster.kill_node(id);
                cluster.start_node(id, shows).await;
            }
            Self::BrokerKilled(which) => which.indices().iter().for_each(|broker| cluster.kill_broker(*broker)),
            Self::BrokerStopped(which) => {
                for broker in which.indices() {
                    cluster.stop_broker(*broker).await;
                }
            }
            Self::BrokerWiped(which) => {
                which.indices().iter().for_each(|broker| cluster.kill_broker(*broker));
                for broker in which.indices() {
                    cluster.start_broker(*broker).await;
                }
            }
            Self::BrokerFrozen(which) => {
                which.indices().iter().for_each(|broker| cluster.signal_broker(*broker, "STOP"));
            }
            Self::BrokerCut(which) => {
                which.indices().iter().for_each(|broker| cluster.broker_links(*broker, Mode::Blackhole));
            }
            Self::BrokerHostile(which) => {
                which.indices().iter().for_each(|broker| cluster.set_hostile(*broker, true));
            }
            Self::ControlRestored => cluster.restore_control().await,
            Self::ControlDoubled => cluster.double_control().await,
            Self::Drained(id) => {
                let drained = tokio::time::timeout(DRAIN_MAX, cluster.admin(&["drain", id, "--wait"])).await;
                drained.expect("drain --wait returns").expect("the node becomes quiet");
            }
        }
    }

    pub async fn heal(self, cluster: &mut Cluster) {
        match self {
            Self::Killed(id) => cluster.start_node(id, WallClock::Right).await,
            Self::Frozen(id) => cluster.signal_node(id, "CONT"),
            Self::Link(id, Way::Data, _) => cluster.data_link(id, Mode::Pass),
            Self::Link(id, Way::Viewers, _) => cluster.viewers_link(id, Mode::Pass),
            Self::Deaf(id) => {
                for broker in Brokers::Both.indices() {
                    cluster.bus_link(id, *broker, Mode::Pass);
                }
            }
            Self::DiskFull(id) => cluster.empty_disk(id),
            Self::Clock(id, _) => {
                cluster.kill_node(id);
                cluster.start_node(id, WallClock::Right).await;
            }
            Self::BrokerKilled(which) | Self::BrokerStopped(which) => {
                for broker in which.indices() {
                    cluster.start_broker(*broker).await;
                }
            }
            Self::BrokerWiped(_) | Self::ControlRestored | Self::ControlDoubled => {}
            Self::BrokerFrozen(which) => {
                which.indices().iter().for_each(|broker| cluster.signal_broker(*broker, "CONT"));
            }
            Self::BrokerCut(which) => {
                which.indices().iter().for_each(|broker| cluster.broker_links(*broker, Mode::Pass));
            }
            Self::BrokerHostile(which) => {
                which.indices().iter().for_each(|broker| cluster.set_hostile(*broker, false));
                assert!(which != Brokers::Both || cluster.were_hostile(), "nodes have heard nothing of the brokers");
            }
            Self::Drained(id) => _ = cluster.admin(&["undrain", id]).await.expect("control answers"),
        }
    }
}

/// A fault, and how many seconds it lasts after it is in effect.
pub type Step = (Fault, u64);

/// The drain of a node by an operator.
pub const DRAINED: Step = (Fault::Drained(FEEDING), 0);

/// Both brokers are in an attacker's hand for ten minutes.
pub const HOSTILE: Step = (Fault::BrokerHostile(Brokers::Both), 600);

/// Each fault once, role by role, except [`DRAINED`].
pub fn each(has_disks: bool) -> Vec<Step> {
    use Brokers::{Both, First, Second};
    use Fault::*;
    use WallClock::{Ahead, Behind};
    let mut steps = vec![
        (BrokerKilled(First), 2),
        (BrokerWiped(Second), 1),
        (BrokerFrozen(First), 2),
        (BrokerCut(Second), 2),
        (BrokerKilled(Both), 2),
        (BrokerStopped(Both), 3),
        (BrokerWiped(Both), 1),
        (BrokerFrozen(Both), 2),
        (BrokerCut(Both), 4),
        (BrokerHostile(First), 4),
        (BrokerHostile(Both), 10),
        (Killed("control"), 1),
        (Frozen("control"), 1),
        (Clock("control", Ahead), 1),
        (Clock("control", Behind), 1),
        (ControlRestored, 1),
        (ControlDoubled, 1),
        (Killed("lb2"), 1),
        (Frozen("lb2"), 2),
        (Deaf("lb2"), 2),
        (Clock("lb2", Ahead), 1),
        (Killed(FEEDING), 1),
        (Killed(OWNER), 1),
        (Killed(EDGE), 1),
        (Frozen(FEEDING), 2),
        (Frozen(OWNER), 7),
        (Link(FEEDING, Way::Viewers, Mode::Blackhole), 2),
        (Link(FEEDING, Way::Viewers, Mode::Reset), 2),
        (Link(FEEDING, Way::Viewers, Mode::Slow(SLOW)), 2),
        (Link(FEEDING, Way::Data, Mode::Blackhole), 2),
        (Link(OWNER, Way::Data, Mode::Reset), 2),
        (Link(FEEDING, Way::Data, Mode::Slow(SLOW)), 2),
        (Deaf(FEEDING), 2),
        (Clock(OWNER, Ahead), 1),
        (Clock(FEEDING, Behind), 1),
        (Killed(ACTIVE), 2),
        (Killed(STANDBY), 1),
        (Frozen(ACTIVE), 5),
        (Frozen(STANDBY), 2),
        (Deaf(ACTIVE), 4),
        (Deaf(STANDBY), 4),
        (Clock(ACTIVE, Ahead), 2),
        (Clock(STANDBY, Behind), 2),
    ];
    if has_disks {
        steps.extend([(DiskFull("control"), 1), (DiskFull(FEEDING), 1), (DiskFull(ACTIVE), 1), (DiskFull("lb2"), 1)]);
    }
    steps
}

/// `count` random faults; the same for the same seed.
pub fn sequence(seed: u64, count: usize, has_disks: bool) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    // Draw as if there were disks, so that a seed means the same on every machine.
    let all = each(true);
    let drawn: Vec<Step> = (0..count)
        .map(|_| {
            let (fault, seconds) = *all.choose(&mut random).expect("there are faults");
            (fault, seconds + random.random_range(0..3))
        })
        .collect();
    drawn.into_iter().filter(|(fault, _)| has_disks || !matches!(fault, Fault::DiskFull(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_says_the_faults() {
        assert_eq!(sequence(7, 20, true), sequence(7, 20, true));
        assert_ne!(sequence(7, 20, true), sequence(8, 20, true));
        assert!(sequence(7, 200, false).iter().all(|(fault, _)| !matches!(fault, Fault::DiskFull(_))));
    }

    #[test]
    fn stall_is_allowed_to_those_only_whose_node_or_its_source_dies() {
        let cast = Cast { feeding: "b1", owners: vec!["b1", "b2"], active: "i1", standby: "i2" };
        let allowed = |fault: Fault| fault.on(&cast).allowed(&cast);
        assert_eq!(Fault::Killed(OWNER).on(&cast), Fault::Killed("b2"));
        assert_eq!(allowed(Fault::Killed(FEEDING)), Allowed::OneStall);
        assert_eq!(allowed(Fault::Killed(EDGE)), Allowed::Nothing);
        assert_eq!(allowed(Fault::Killed("lb2")), Allowed::Nothing);
        assert_eq!(allowed(Fault::BrokerWiped(Brokers::Both)), Allowed::Nothing);
        assert_eq!(allowed(Fault::Killed(ACTIVE)), Allowed::OneStall);
        assert_eq!(allowed(Fault::Killed(STANDBY)), Allowed::Nothing);
    }
}
