//! Calls whose answers go on until the caller leaves or its credential ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use node::http::LongLivedGuard;
use tonic::Status;

use super::door::Entered;
use super::status;
use crate::ControlState;
use crate::api::{Listening, Problem, SILENCE_MAX};

/// Messages of a call that goes on.
pub(super) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Where the messages of a call come from.
pub(super) trait Source: Send + 'static {
    type Message: Send + 'static;

    /// Adds messages for what happened since it was last asked.
    fn look(
        &mut self,
        shared: &Arc<ControlState>,
        messages: &mut VecDeque<Self::Message>,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Resolves when it is worth to look again.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;

    /// What is sent while nothing happens.
    fn nothing(&self) -> Self::Message;
}

struct Listener<S: Source> {
    shared: Arc<ControlState>,
    source: S,
    listening: Listening,
    request_id: String,
    messages: VecDeque<S::Message>,
    /// When something was sent, on the node's clock.
    said_at: Duration,
    /// The connection may be silent.
    _long_lived: Option<LongLivedGuard>,
}

impl<S: Source> Listener<S> {
    async fn next(&mut self) -> Result<S::Message, Problem> {
        loop {
            if let Some(message) = self.messages.pop_front() {
                self.said_at = self.shared.node.clock.elapsed();
                return Ok(message);
            }
            self.listening.ensure_may().await?;
            self.source.look(&self.shared, &mut self.messages).await?;
            if !self.messages.is_empty() {
                continue;
            }
            if self.shared.node.clock.elapsed().saturating_sub(self.said_at) >= SILENCE_MAX {
                self.messages.push_back(self.source.nothing());
                continue;
            }
            self.source.wait().await;
        }
    }
}

/// The messages of a call that was let in.
///
/// # Errors
/// When too many listen.
pub(super) fn listen<S: Source>(
    shared: &Arc<ControlState>,
    entered: &Entered,
    source: S,
) -> Result<Messages<S::Message>, Status> {
    let listening = Listening::begin(shared, entered.peer.clone(), &entered.call);
    let listener = Listener {
        listening: listening.map_err(|problem| entered.refusal(&problem))?,
        shared: Arc::clone(shared),
        source,
        request_id: entered.request_id.clone(),
        messages: VecDeque::new(),
        said_at: shared.node.clock.elapsed(),
        _long_lived: entered.peer.as_ref().map(|peer| peer.long_lived.begin()),
    };
    let messages = stream::unfold(Some(listener), |listener| async move {
        let mut listener = listener?;
        match listener.next().await {
            Ok(message) => Some((Ok(message), Some(listener))),
            Err(problem) => Some((Err(status::of(&problem, &listener.request_id)), None)),
        }
    });
    Ok(Box::pin(messages))
}
