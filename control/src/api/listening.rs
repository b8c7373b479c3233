//! Whoever listens to what happens, by `/api/v1/events` or by gRPC: how many may, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use catalogue::Id;
use node::http::Peer;
use node::problem::Type;
use tokio::sync::OwnedSemaphorePermit;

use super::caller::{self, Caller, Principal};
use super::person;
use super::problem::Problem;
use super::scopes::Scopes;
use crate::ControlState;

/// Listeners at once, and those of one tenant. Each asks the catalogue twice a second.
pub(crate) const LISTENERS_MAX: usize = 100;
const LISTENERS_OF_TENANT_MAX: usize = 20;
/// How often a listener looks for what nobody tells it, and whether it still may listen.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often something is sent when nothing happens, so that nobody in between takes the connection for a dead one.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(10);

/// A listener's place, and its right to it.
pub(crate) struct Listening {
    place: Place,
    peer: Option<Peer>,
    headers: HeaderMap,
    principal: Principal,
}

impl Listening {
    /// # Errors
    /// When all places are taken.
    pub(crate) fn begin(shared: &Arc<ControlState>, peer: Option<Peer>, call: &Caller) -> Result<Self, Problem> {
        let busy = || {
            let problem = Problem::new(Type::RateLimited, "too many are listening: end another response or call first");
            Problem { retry_after_s: Some(10), ..problem }
        };
        Ok(Self {
            place: Place::take(shared, &call.tenant.id).ok_or_else(busy)?,
            headers: call.headers.clone(),
            principal: call.principal.clone(),
            peer,
        })
    }

    /// What the credential may do, as of the last [`Listening::ensure_may`].
    pub(crate) const fn scopes(&self) -> Scopes {
        self.principal.scopes
    }

    /// Takes in what the credential may do by now.
    ///
    /// # Errors
    /// When it does not count any more, or not for the same tenant.
    pub(crate) async fn ensure_may(&mut self) -> Result<(), Problem> {
        let Place { shared, tenant, .. } = &self.place;
        let ended = || Problem::new(Type::Unauthenticated, "the credential has ended");
        let principal = person::recognise_any(shared, self.peer.as_ref(), &self.headers).await?;
        let node = self.peer.as_ref().and_then(|peer| peer.node.as_ref());
        let is_revoked = node.is_some_and(|(node, _)| shared.is_revoked(node));
        if is_revoked || principal.credential != self.principal.credential {
            return Err(ended());
        }
        let own = caller::tenant_of(shared, &principal, (&self.headers, false)).await?;
        if own.id != *tenant {
            return Err(Problem::not_found());
        }
        self.principal.scopes = principal.scopes;
        Ok(())
    }
}

/// A place among all listeners.
struct Place {
    shared: Arc<ControlState>,
    tenant: Id,
    _any: OwnedSemaphorePermit,
}

impl Place {
    fn take(shared: &Arc<ControlState>, tenant: &Id) -> Option<Self> {
        let any = Arc::clone(&shared.api.listeners).try_acquire_owned().ok()?;
        let is_free = shared.api.count_listener(tenant, LISTENERS_OF_TENANT_MAX);
        is_free.then(|| {
            metrics::gauge!("control_event_streams").increment(1);
            Self { shared: Arc::clone(shared), tenant: tenant.clone(), _any: any }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.api.forget_listener(&self.tenant);
        metrics::gauge!("control_event_streams").decrement(1);
    }
}
