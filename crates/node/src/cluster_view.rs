//! The node's view of the cluster: which nodes are there, and the operator's policy, as the bus delivers both.
//!
//! A shell around the crate [`cluster`]. It owns the subscriptions, reads the messages, checks what each may say, and gives the
//! folds their time; each message also makes the view forget nodes that are gone for long. It deliberately decides nothing: a role chooses among the nodes, and counts or logs what it finds worth it.
//!
//! A role makes a [`ClusterView`], and drives it with the [`Subscription`]: each call of [`Subscription::next`] folds one message
//! into the view. So the view needs no task and no queue, and a role's own loop sees each message in its turn.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bus::{BusError, Message};
use cluster::policy::PolicyInForce;
use cluster::{Health, Member, Membership};
use media::{NodeId, Now};
use messages::{Policy, Prefix, Presence, Topic};
use tokio::sync::watch;

use crate::Context;
use crate::clock::Clock;

/// The view. Clones share it.
#[derive(Debug, Clone)]
pub struct ClusterView {
    /// Locked for one look or one change, never across an await.
    state: Arc<Mutex<State>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct State {
    members: Membership,
    policy: PolicyInForce,
}

/// The cluster at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub members: &'a Membership,
    /// The policy in force; the default one when there is none.
    pub policy: &'a Policy,
    pub now: Now,
}

impl Look<'_> {
    /// Whether a member can be used now.
    pub fn health(&self, member: &Member) -> Health {
        self.members.health(member, self.now)
    }
}

/// What a view subscribes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topics {
    /// Presences of all nodes.
    Nodes,
    /// Presences of all nodes, and the policy.
    NodesAndPolicy,
}

/// What a message did to the view.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// A node spoke, and the view believes it.
    Presence {
        /// What the node says of itself.
        presence: Box<Presence>,
        /// Whether the health, state, role, start or internal URLs of a node changed ([`Membership::heard`]).
        is_news: bool,
    },
    /// A policy is in force from now on, or was repeated.
    Policy(Policy),
    /// The message says nothing about what is there now. A process wrote it that was replaced meanwhile; or it is a last will that
    /// still has to be confirmed, an old copy of the policy, one node too many, or empty (so that brokers forget what they retain).
    Unchanged,
    /// The message could not be read.
    Malformed(Malformed),
}

/// What a message is not, although its topic matches the subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// On one of our topics: it names no possible node.
    Topic,
    /// The presence of the node that its topic names.
    Presence,
    Policy,
}

impl ClusterView {
    /// A view without nodes and without a policy.
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default(), clock }
    }

    /// Subscribes for this view. Works while no broker is there. The view changes only while somebody calls [`Subscription::next`].
    ///
    /// # Errors
    /// When the bus is closed, or has no room for more subscriptions.
    pub async fn subscribe(&self, context: &Context, topics: Topics) -> Result<Subscription, BusError> {
        let nodes = context.bus.subscribe(&context.prefix.filter("nodes/+")).await?;
        let policy = match topics {
            Topics::Nodes => None,
            Topics::NodesAndPolicy => Some(context.bus.subscribe(&context.prefix.name(&Topic::Policy)).await?),
        };
        let brokers = context.bus.connected();
        Ok(Subscription { view: self.clone(), prefix: context.prefix.clone(), nodes, policy, brokers })
    }

    fn with<T>(&self, f: impl FnOnce(&mut State, Now) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        f(&mut state, self.clock.now())
    }

    /// Looks at the cluster. The closure must not use this view: it is locked meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(Look<'_>) -> T) -> T {
        self.with(|state, now| look(Look { members: &state.members, policy: state.policy.policy(now), now }))
    }

    /// Puts what the role itself has found out about the nodes into the view: failures and probes. As in [`ClusterView::look`], the
    /// closure must not use this view.
    pub fn change<T>(&self, change: impl FnOnce(&mut Membership, Now) -> T) -> T {
        self.with(|state, now| change(&mut state.members, now))
    }

    /// Takes from the metadata log which nodes are drained, which from now on no message says, and which are revoked: these are not
    /// heard any more. Returns whether other nodes are revoked than before.
    pub fn take_log(&self, drained: Vec<NodeId>, revoked: BTreeSet<NodeId>) -> bool {
        self.with(|state, _| {
            state.policy.drained(drained);
            state.members.revoke(revoked)
        })
    }

    /// Resolves when time alone changes the health of some node, as the view now stands; never, if only a message can change it.
    pub async fn until_health_changes(&self) {
        match self.look(|cluster| cluster.members.next_deadline(cluster.now)) {
            Some(elapsed) => tokio::time::sleep_until(self.clock.instant(elapsed)).await,
            None => std::future::pending().await,
        }
    }

    /// Folds a message into the view.
    fn take(&self, prefix: &Prefix, message: &Message) -> Update {
        let Ok(topic) = prefix.parse(&message.topic) else { return Update::Malformed(Malformed::Topic) };
        if message.payload.is_empty() {
            return Update::Unchanged;
        }
        match topic {
            Topic::Node(node) => match serde_json::from_slice::<Presence>(&message.payload) {
                // A node speaks for itself only, whatever the broker let through.
                Ok(presence) if presence.node == node => self.take_presence(presence, message.retain),
                _ => Update::Malformed(Malformed::Presence),
            },
            Topic::Policy => match serde_json::from_slice::<Policy>(&message.payload) {
                Ok(policy) => self.take_policy(policy),
                Err(_) => Update::Malformed(Malformed::Policy),
            },
            // The subscriptions match no other topic.
            _ => Update::Unchanged,
        }
    }

    fn take_presence(&self, presence: Presence, is_kept: bool) -> Update {
        self.change(|members, now| {
            let hear = if is_kept { Membership::heard_kept } else { Membership::heard };
            let is_news = hear(members, presence.clone(), now);
            members.expire(now);
            // The last will of a process that was replaced meanwhile says nothing about its successor.
            let known = members.get(&presence.node).map(|member| (member.presence.started_at, member.presence.state));
            if known == Some((presence.started_at, presence.state)) {
                Update::Presence { presence: Box::new(presence), is_news }
            } else {
                Update::Unchanged
            }
        })
    }

    fn take_policy(&self, policy: Policy) -> Update {
        let is_in_force = self.with(|state, now| state.policy.heard(policy.clone(), now));
        if is_in_force { Update::Policy(policy) } else { Update::Unchanged }
    }
}

/// The subscriptions of a view, which drive it. Dropping it ends them, and the view stands still.
pub struct Subscription {
    view: ClusterView,
    prefix: Prefix,
    nodes: bus::Subscription,
    policy: Option<bus::Subscription>,
    /// How many brokers are connected.
    brokers: watch::Receiver<usize>,
}

impl Subscription {
    /// Waits for the next message, folds it into the view, and returns what it did; `None` once the bus is closed. Cancelling loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Update> {
        loop {
            let policy = async {
                match &mut self.policy {
                    Some(policy) => policy.recv().await,
                    None => std::future::pending().await,
                }
            };
            let message = async {
                tokio::select! {
                    message = self.nodes.recv() => message,
                    message = policy => message,
                }
            };
            let message = tokio::select! {
                // What a broker sent before it broke the connection comes first.
                biased;
                message = message => message,
                Ok(()) = self.brokers.changed() => {
                    self.view.change(|members, _| members.broker_changed());
                    continue;
                }
            };
            return Some(self.view.take(&self.prefix, &message?));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bus::broker::{Access, EmbeddedBroker, User};
    use media::{ClusterId, UnixMillis};
    use messages::{Load, NodeState, Role};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Setup, ops, tls};

    fn id(node: &str) -> NodeId {
        NodeId::new(node).unwrap()
    }

    /// What process number `started_at` of a broadcast node says.
    fn presence(node: &str, state: NodeState, started_at: i64) -> Presence {
        Presence {
            node: id(node),
            role: Role::Broadcast,
            state,
            at: UnixMillis(started_at + 1),
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

    /// A last will has the time at which its process started.
    fn will(node: &str, started_at: i64) -> Presence {
        Presence { at: UnixMillis(started_at), ..presence(node, NodeState::Offline, started_at) }
    }

    fn policy(version: u64, drained: &[&str]) -> Policy {
        Policy { version, drained: drained.iter().map(|node| id(node)).collect(), ..Policy::default() }
    }

    fn hear(view: &ClusterView, topic: &str, payload: impl Into<Vec<u8>>) -> Update {
        let prefix = Prefix::default();
        let message = Message { topic: prefix.filter(topic), payload: payload.into().into(), retain: false };
        view.take(&prefix, &message)
    }

    fn say(view: &ClusterView, presence: &Presence) -> Update {
        hear(view, &format!("nodes/{}", presence.node), serde_json::to_vec(presence).unwrap())
    }

    fn say_policy(view: &ClusterView, policy: &Policy) -> Update {
        hear(view, "policy", serde_json::to_vec(policy).unwrap())
    }

    fn news(presence: Presence) -> Update {
        Update::Presence { presence: Box::new(presence), is_news: true }
    }

    fn repeated(presence: Presence) -> Update {
        Update::Presence { presence: Box::new(presence), is_news: false }
    }

    fn health(view: &ClusterView, node: &str) -> Option<Health> {
        view.look(|cluster| cluster.members.get(&id(node)).map(|member| cluster.health(member)))
    }

    #[test]
    fn node_speaks_for_itself_only() {
        let view = ClusterView::new(Clock::new());
        let b1 = presence("b1", NodeState::Online, 1);
        let stranger = hear(&view, "nodes/b2", serde_json::to_vec(&b1).unwrap());
        assert_eq!(stranger, Update::Malformed(Malformed::Presence));
        assert_eq!((health(&view, "b1"), health(&view, "b2")), (None, None));
        assert_eq!(say(&view, &b1), news(b1.clone()));
        assert_eq!(say(&view, &b1), repeated(b1));
        assert_eq!(health(&view, "b1"), Some(Health::Online));
    }

    #[test]
    fn replaced_process_says_nothing_about_its_successor() {
        let view = ClusterView::new(Clock::new());
        say(&view, &presence("b1", NodeState::Online, 2));
        for late in [will("b1", 1), presence("b1", NodeState::Online, 1), presence("b1", NodeState::Offline, 1)] {
            assert_eq!(say(&view, &late), Update::Unchanged, "{late:?}");
            assert_eq!(health(&view, "b1"), Some(Health::Online));
        }
        let gone = presence("b1", NodeState::Offline, 2);
        assert_eq!(say(&view, &gone), news(gone));
        assert_eq!(health(&view, "b1"), Some(Health::Offline));
    }

    #[tokio::test(start_paused = true)]
    async fn last_will_is_no_update_and_counts_when_another_node_speaks_after_it() {
        let view = ClusterView::new(Clock::new());
        say(&view, &presence("b1", NodeState::Online, 1));
        let b2 = presence("b2", NodeState::Online, 1);
        say(&view, &b2);
        assert_eq!(say(&view, &will("b1", 1)), Update::Unchanged);
        assert_eq!(health(&view, "b1"), Some(Health::Online), "its broker may have stopped");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(say(&view, &b2), news(b2), "what is new is that b1 is gone");
        assert_eq!(health(&view, "b1"), Some(Health::Offline));
    }

    #[test]
    fn what_cannot_be_read_is_named_and_an_empty_message_clears_what_brokers_retain() {
        let view = ClusterView::new(Clock::new());
        say(&view, &presence("b1", NodeState::Online, 1));
        say_policy(&view, &policy(1, &["b1"]));
        for (topic, payload, expected) in [
            ("nodes/b1", "{", Update::Malformed(Malformed::Presence)),
            ("nodes/b1", "", Update::Unchanged),
            ("nodes/..", "{}", Update::Malformed(Malformed::Topic)),
            ("policy", "[]", Update::Malformed(Malformed::Policy)),
            ("policy", "", Update::Unchanged),
        ] {
            assert_eq!(hear(&view, topic, payload), expected, "{topic} {payload:?}");
        }
        assert_eq!(health(&view, "b1"), Some(Health::Online));
        view.look(|cluster| assert_eq!((cluster.members.members().count(), cluster.policy.version), (1, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn newest_policy_is_in_force_until_nobody_repeats_it() {
        let view = ClusterView::new(Clock::new());
        assert_eq!(say_policy(&view, &policy(5, &["b1"])), Update::Policy(policy(5, &["b1"])));
        assert_eq!(say_policy(&view, &policy(4, &[])), Update::Unchanged, "an old copy");
        assert_eq!(view.look(|cluster| cluster.policy.clone()), policy(5, &["b1"]));
        tokio::time::advance(cluster::policy::EXPIRY + Duration::from_millis(1)).await;
        assert_eq!(view.look(|cluster| cluster.policy.clone()), Policy::default());
        assert_eq!(
            say_policy(&view, &policy(4, &[])),
            Update::Policy(policy(4, &[])),
            "a control node that counts anew"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn node_is_offline_when_its_lease_ends_and_forgotten_when_others_speak_ten_minutes_later() {
        let view = ClusterView::new(Clock::new());
        say(&view, &presence("b1", NodeState::Online, 1));
        let b2 = presence("b2", NodeState::Online, 1);
        tokio::time::advance(Duration::from_secs(3)).await;
        say(&view, &b2);
        let now = view.clock.elapsed();
        let changes = tokio::time::timeout(Duration::from_secs(60), view.until_health_changes()).await;
        assert!(changes.is_ok(), "a lease ends");
        assert_eq!(view.clock.elapsed() - now, Duration::from_secs(3), "b1 spoke 3 s before b2");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((health(&view, "b1"), health(&view, "b2")), (Some(Health::Offline), Some(Health::Online)));
        for _ in 0..200 {
            tokio::time::advance(Duration::from_secs(3)).await;
            say(&view, &b2);
        }
        assert_eq!((health(&view, "b1"), health(&view, "b2")), (None, Some(Health::Online)));
    }

    #[tokio::test]
    async fn view_that_only_a_message_can_change_has_no_deadline() {
        let view = ClusterView::new(Clock::new());
        tokio::select! {
            biased;
            () = view.until_health_changes() => panic!("nobody is there"),
            () = tokio::task::yield_now() => {}
        }
        say(&view, &presence("b1", NodeState::Online, 1));
        view.change(|members, now| members.failed(&id("b1"), now));
        assert_eq!(health(&view, "b1"), Some(Health::Suspect), "what a role finds out is in the view");
    }

    /// A control node with a broker of its own.
    async fn control(directory: &std::path::Path, shutdown: &CancellationToken) -> Context {
        let user = User { name: "c1".to_owned(), password: "secret".to_owned(), access: Access::Control };
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = bus::broker::Config { listen, users: vec![user], ..Default::default() };
        let broker = EmbeddedBroker::load(config).await.unwrap();
        let url = format!("mqtt://{}", broker.address());
        tokio::spawn(broker.run(shutdown.clone()));
        std::fs::write(directory.join("password"), "secret").unwrap();
        let authority = tls::Authority::ensure(&directory.join("certs"), &Clock::new()).unwrap();
        let setup = Setup {
            identity: authority.issue(&id("c1"), Role::Control, &[]).unwrap(),
            id: id("c1"),
            role: Role::Control,
            cluster: ClusterId::new("test").unwrap(),
            data: directory.join("c1"),
            bus: bus::Config {
                urls: vec![url],
                username: Some("c1".to_owned()),
                password_file: Some(directory.join("password")),
                ..Default::default()
            },
            ops: ops::Ops::new(),
        };
        setup.start(shutdown.clone()).await.unwrap()
    }

    async fn next(subscription: &mut Subscription) -> Option<Update> {
        tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.expect("the bus delivers")
    }

    #[tokio::test]
    async fn bus_delivers_nodes_to_each_view_and_the_policy_where_it_is_wanted() {
        let directory = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let context = control(directory.path(), &shutdown).await;
        let (all, nodes) = (ClusterView::new(context.clock), ClusterView::new(context.clock));
        let mut to_all = all.subscribe(&context, Topics::NodesAndPolicy).await.unwrap();
        let mut to_nodes = nodes.subscribe(&context, Topics::Nodes).await.unwrap();
        let publish = |topic: Topic, payload: Vec<u8>| {
            let message = Message { topic: context.prefix.name(&topic), payload: payload.into(), retain: true };
            let bus = context.bus.clone();
            async move { bus.publish(message).await.unwrap() }
        };
        publish(Topic::Policy, serde_json::to_vec(&policy(7, &[])).unwrap()).await;
        assert_eq!(next(&mut to_all).await, Some(Update::Policy(policy(7, &[]))));
        let c1 = Presence { role: Role::Control, ..presence("c1", NodeState::Online, 1) };
        publish(Topic::Node(id("c1")), serde_json::to_vec(&c1).unwrap()).await;
        assert_eq!(next(&mut to_all).await, Some(news(c1.clone())));
        assert_eq!(next(&mut to_nodes).await, Some(news(c1)), "the first that it hears");
        let versions = [&all, &nodes].map(|view| view.look(|cluster| cluster.policy.version));
        assert_eq!((versions, health(&nodes.clone(), "c1")), ([7, 0], Some(Health::Online)));
        shutdown.cancel();
        assert_eq!((next(&mut to_all).await, next(&mut to_nodes).await), (None, None), "the bus is closed");
    }

    #[tokio::test]
    async fn wills_before_a_connection_broke_and_kept_ones_wait_for_their_nodes() {
        let directory = tempfile::tempdir().unwrap();
        let shutdown = CancellationToken::new();
        let context = control(directory.path(), &shutdown).await;
        let view = ClusterView::new(context.clock);
        let mut subscription = view.subscribe(&context, Topics::Nodes).await.unwrap();
        let (brokers, changes) = watch::channel(1);
        subscription.brokers = changes;
        for node in ["b1", "b2", "b3", "b4"] {
            say(&view, &presence(node, NodeState::Online, 1));
        }
        say(&view, &will("b1", 1));
        brokers.send_replace(0);
        let nothing = tokio::time::timeout(Duration::from_millis(50), subscription.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        say(&view, &will("b2", 1));
        let payload = serde_json::to_vec(&will("b3", 1)).unwrap().into();
        let kept = Message { topic: Prefix::default().filter("nodes/b3"), payload, retain: true };
        view.take(&Prefix::default(), &kept);
        tokio::time::sleep(Duration::from_millis(400)).await;
        say(&view, &presence("b4", NodeState::Online, 1));
        let online = ["b1", "b2", "b3"].map(|node| health(&view, node) == Some(Health::Online));
        assert_eq!(online, [true, false, true], "b2 alone is gone");
        shutdown.cancel();
    }
}
