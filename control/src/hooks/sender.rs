//! Sends events to endpoints. The queues are [`webhooks::Endpoint`]s in memory, and what became of each delivery is written before the next
//! one of its subject goes. Whatever fails here, the next holder of the lease begins again with what the catalogue has: an event may come
//! twice, and none is lost.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use catalogue::{Became, Error, Id, Pending, Settled, Settlement, Standing, Webhook};
use media::{Now, UnixMillis};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use webhooks::{Endpoint, Event, Input, Outcome, Output, Progress};

use super::{EVENTS, Hooks, Posted, envelope, post};
use crate::lease::LeaseHolder;

/// Attempts at once to all endpoints, and to those of one tenant, so that a tenant whose receivers are slow holds up itself only.
const IN_FLIGHT_MAX: usize = 256;
const IN_FLIGHT_OF_TENANT_MAX: usize = 32;
/// How often events are looked for that another control node has written.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Answers that are written at once.
const SETTLED_MAX: usize = 100;

/// An endpoint that gets events.
struct Receiver {
    tenant: Id,
    queue: Endpoint,
}

/// An attempt that has ended; `None`: it was not made.
struct Answered {
    webhook: Id,
    number: i64,
    attempt: u32,
    posted: Option<Posted>,
}

/// A delivery that may go.
struct Cleared {
    webhook: Id,
    number: i64,
    attempt: u32,
}

/// What has to be written, and what may go after that.
#[derive(Default)]
struct Step {
    settlement: Settlement,
    cleared: Vec<Cleared>,
}

pub(crate) struct Sender {
    hooks: Hooks,
    /// Name under which the lease is held.
    holder: String,
    receivers: BTreeMap<Id, Receiver>,
    /// Newest delivery that was read.
    newest: i64,
    /// How often endpoints had been changed when they were read.
    version: Option<i64>,
    attempts: JoinSet<Result<Answered, Error>>,
    all: Arc<Semaphore>,
    of_tenants: HashMap<Id, Arc<Semaphore>>,
    /// The queues' clock: the wall's at the start, and monotonic from then on.
    began: Duration,
}

impl Sender {
    pub(crate) fn new(hooks: Hooks, lease: &LeaseHolder) -> Self {
        let now = hooks.clock.now();
        let wall = Duration::from_millis(u64::try_from(now.wall.0).unwrap_or(0));
        Self {
            began: wall.saturating_sub(now.elapsed),
            holder: lease.name.clone(),
            receivers: BTreeMap::new(),
            newest: 0,
            version: None,
            attempts: JoinSet::new(),
            all: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            of_tenants: HashMap::new(),
            hooks,
        }
    }

    /// Sends until the lease is lost, or the catalogue fails.
    pub(crate) async fn run(mut self) -> Result<Infallible, Error> {
        let mut changes = self.hooks.catalogue.changes();
        loop {
            changes.mark_unchanged();
            self.look().await?;
            let now = self.now();
            let due = self.receivers.values().filter_map(|receiver| receiver.queue.next_deadline()).min();
            let pause = due.map_or(LOOK_INTERVAL, |due| due.saturating_sub(now.elapsed).min(LOOK_INTERVAL));
            tokio::select! {
                Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    let mut ended = vec![ended];
                    while let Some(more) = self.attempts.try_join_next().filter(|_| ended.len() < SETTLED_MAX) {
                        ended.push(more);
                    }
                    self.take_answers(ended).await?;
                }
                // Its own writes as well; looking is cheap.
                _ = changes.changed() => {}
                () = tokio::time::sleep(pause) => self.tick().await?,
            }
        }
    }

    fn now(&self) -> Now {
        let now = self.hooks.clock.now();
        Now { elapsed: self.began.saturating_add(now.elapsed), wall: now.wall }
    }

    /// Reads what is new: endpoints, and deliveries.
    async fn look(&mut self) -> Result<(), Error> {
        let (newest, version) = self.hooks.catalogue.delivery_counters().await?;
        if self.version != Some(version) {
            self.take_endpoints(self.hooks.catalogue.active_webhooks().await?);
            self.version = Some(version);
        }
        while self.newest < newest {
            let pending = self.hooks.catalogue.pending(self.newest).await?;
            let mut step = Step::default();
            let last = pending.last().map(|last| last.number);
            for one in pending.into_iter().take_while(|one| one.number <= newest) {
                self.enqueue(one, &mut step);
            }
            self.newest = last.unwrap_or(newest).min(newest);
            self.go_on(step).await?;
        }
        Ok(())
    }

    fn take_endpoints(&mut self, webhooks: Vec<Webhook>) {
        let mut before = std::mem::take(&mut self.receivers);
        for webhook in webhooks {
            let new = || Receiver {
                tenant: webhook.tenant.clone(),
                queue: Endpoint::failing_for(webhook.failing_since.map(clocked)),
            };
            let receiver = before.remove(&webhook.id).unwrap_or_else(new);
            self.receivers.insert(webhook.id.clone(), receiver);
        }
        self.of_tenants.retain(|tenant, _| self.receivers.values().any(|receiver| receiver.tenant == *tenant));
    }

    fn enqueue(&mut self, pending: Pending, step: &mut Step) {
        let now = self.now();
        let Some(receiver) = self.receivers.get_mut(&pending.webhook) else { return };
        let Pending { number, webhook, subject, sequence, attempts, due_at, first_failed_at } = pending;
        let event = Event { position: unsigned(number), subject, sequence: unsigned(sequence) };
        let due_at = if attempts == 0 { now.elapsed } else { clocked(due_at) };
        let progress = Progress { attempts, due_at, first_failed_at: first_failed_at.map(clocked) };
        let outputs = receiver.queue.apply(Input::Resumed(event, progress), now);
        take(&webhook, outputs, step);
    }

    async fn tick(&mut self) -> Result<(), Error> {
        let (now, mut step) = (self.now(), Step::default());
        for (webhook, receiver) in &mut self.receivers {
            let outputs = receiver.queue.apply(Input::Tick, now);
            take(webhook, outputs, &mut step);
        }
        self.go_on(step).await
    }

    async fn take_answers(
        &mut self,
        ended: Vec<Result<Result<Answered, Error>, tokio::task::JoinError>>,
    ) -> Result<(), Error> {
        let (now, mut step) = (self.now(), Step::default());
        for ended in ended {
            let answered = ended.map_err(|_| panicked())??;
            self.take_answer(answered, now, &mut step);
        }
        self.go_on(step).await
    }

    fn take_answer(&mut self, answered: Answered, now: Now, step: &mut Step) {
        let Answered { webhook, number, attempt, posted } = answered;
        let Some(receiver) = self.receivers.get_mut(&webhook) else { return };
        let (position, was_failing) = (unsigned(number), receiver.queue.failing_since());
        let Some(posted) = posted else {
            let error = Some("the event is not kept any more".to_owned());
            step.settlement.deliveries.push(Settled { attempts: attempt.saturating_sub(1), error, ..dropped(number) });
            let outputs = receiver.queue.apply(Input::Withdrawn { position }, now);
            return take(&webhook, outputs, step);
        };
        metrics::counter!("control_webhook_attempts_total", "result" => posted.label).increment(1);
        let outcome = posted.outcome;
        let outputs = receiver.queue.apply(Input::Answered { position, outcome, random: rand::random() }, now);
        let waits = receiver.queue.progress(position);
        let became = match (outcome, waits) {
            (Outcome::Delivered, _) => Became::Delivered,
            (_, Some(progress)) => Became::Waits(wall(progress.due_at)),
            _ => Became::Failed,
        };
        step.settlement.deliveries.push(Settled {
            number,
            became,
            attempts: attempt,
            first_failed_at: waits.and_then(|progress| progress.first_failed_at).map(wall),
            answered_at: Some(now.wall),
            status: posted.status,
            error: posted.error.clone(),
        });
        let endpoint = (receiver.tenant.clone(), webhook.clone());
        let standing = match (was_failing, receiver.queue.failing_since()) {
            _ if receiver.queue.is_disabled() => Some(Standing::Disabled(why_disabled(&posted))),
            (Some(_), None) => Some(Standing::Delivers),
            (None, Some(since)) => Some(Standing::FailingSince(wall(since))),
            _ => None,
        };
        if receiver.queue.is_disabled() {
            tracing::warn!(webhook = %webhook, "a webhook is disabled: its receiver takes nothing");
            self.receivers.remove(&webhook);
        }
        step.settlement.endpoints.extend(standing.map(|standing| (endpoint, standing)));
        // Of a disabled endpoint, the catalogue gives up all that waits.
        if self.receivers.contains_key(&webhook) {
            take(&webhook, outputs.into_iter().filter(|output| !is_of(output, position)).collect(), step);
        }
    }

    /// Writes what has to be written, and lets go what waited for that.
    async fn go_on(&mut self, step: Step) -> Result<(), Error> {
        if step.settlement != Settlement::default() {
            self.hooks.catalogue.settle(EVENTS, &self.holder, step.settlement).await?;
        }
        for cleared in step.cleared {
            self.send(cleared);
        }
        Ok(())
    }

    fn send(&mut self, cleared: Cleared) {
        let Cleared { webhook, number, attempt } = cleared;
        let Some(receiver) = self.receivers.get(&webhook) else { return };
        let tenant = receiver.tenant.clone();
        let new = || Arc::new(Semaphore::new(IN_FLIGHT_OF_TENANT_MAX));
        let own = Arc::clone(self.of_tenants.entry(tenant.clone()).or_insert_with(new));
        let (hooks, all) = (self.hooks.clone(), Arc::clone(&self.all));
        self.attempts.spawn(async move {
            // First the tenant's turn: whoever waits for that takes no place of others.
            let _own = own.acquire().await;
            let _any = all.acquire().await;
            // As the event, the endpoint and its secrets are now, and not when it was written.
            let posted = match hooks.catalogue.to_deliver(number, &tenant, &webhook).await? {
                Some((event, endpoint)) => {
                    Some(post(&hooks, &endpoint, event.id.as_str(), envelope(&event).to_string()).await)
                }
                None => None,
            };
            Ok(Answered { webhook, number, attempt, posted })
        });
    }
}

/// Takes in what a queue says.
fn take(webhook: &Id, outputs: Vec<Output>, step: &mut Step) {
    for output in outputs {
        match output {
            Output::Send(delivery) => {
                let (number, attempt) = (signed(delivery.position), delivery.attempt);
                step.cleared.push(Cleared { webhook: webhook.clone(), number, attempt });
            }
            Output::GaveUp { position } => {
                step.settlement.deliveries.push(Settled { became: Became::Failed, ..dropped(signed(position)) });
            }
            Output::Dropped { position } => {
                metrics::counter!("control_webhook_dropped_total").increment(1);
                let error = Some("too many events waited for this endpoint".to_owned());
                step.settlement.deliveries.push(Settled { error, ..dropped(signed(position)) });
            }
            Output::Disabled => {}
        }
    }
}

/// Whether it says that this very delivery was given up: then its answer has said so already.
fn is_of(output: &Output, position: u64) -> bool {
    matches!(output, Output::GaveUp { position: given_up } if *given_up == position)
}

fn why_disabled(posted: &Posted) -> String {
    match posted.outcome {
        Outcome::Gone => "the receiver answered 410: it wants no more".to_owned(),
        _ => format!("nothing could be delivered for a day: {}", posted.error.as_deref().unwrap_or("no answer")),
    }
}

fn dropped(number: i64) -> Settled {
    Settled {
        number,
        became: Became::Dropped,
        attempts: 0,
        first_failed_at: None,
        answered_at: None,
        status: None,
        error: None,
    }
}

fn panicked() -> Error {
    Error::Unreadable("an attempt of a webhook ended in a panic".to_owned())
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A time of the wall on the queues' clock.
fn clocked(at: UnixMillis) -> Duration {
    Duration::from_millis(unsigned(at.0))
}

fn wall(at: Duration) -> UnixMillis {
    UnixMillis(i64::try_from(at.as_millis()).unwrap_or(i64::MAX))
}
