//! Reading on a node what one has just written: whoever has seen an entry of the metadata log says so, and the node waits for it
//! ([`node::wait`]). Each of these answers says which entry it reflects.

use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use node::problem::Type;
use node::wait::{self, METADATA, wanted};
use tokio::sync::{Semaphore, watch};

use super::respond;

/// Requests that wait for the log at once: programs do, and players do not.
const WAITING_MAX: usize = 1_000;

/// The places of those who wait.
#[derive(Debug)]
pub(super) struct Waiting(Semaphore);

impl Default for Waiting {
    fn default() -> Self {
        Self(Semaphore::new(WAITING_MAX))
    }
}

impl Waiting {
    /// Waits until the node reflects what a request wants to see. Returns the entry that is wanted, and a newer one, or the same, that is here.
    ///
    /// # Errors
    /// With the answer, when the request says no number, when the entry does not come, and when too many wait.
    pub(super) async fn ensure_seen(
        &self,
        mut reflected: watch::Receiver<u64>,
        headers: &HeaderMap,
    ) -> Result<(u64, u64), Response> {
        let malformed = |detail| respond::problem(Type::Malformed, detail);
        let wanted = wanted(headers).map_err(malformed)?.unwrap_or(0);
        if *reflected.borrow() < wanted {
            let behind = || {
                respond::problem(
                    Type::ReplicaBehind,
                    "this node does not have that entry of the metadata log yet: try again",
                )
            };
            let _place = self.0.try_acquire().map_err(|_| behind())?;
            let seen = tokio::time::timeout(wait::MAX, reflected.wait_for(|sequence| *sequence >= wanted)).await;
            if !matches!(seen, Ok(Ok(_))) {
                return Err(behind());
            }
        }
        let here = *reflected.borrow();
        Ok((wanted, here))
    }
}

/// Says which entry an answer reflects.
pub(super) fn reflecting(mut response: Response, sequence: u64) -> Response {
    response.headers_mut().insert(METADATA, HeaderValue::from(sequence));
    response
}
