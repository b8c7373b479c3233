//! The shortest way to an answer: a playlist that is kept, for a viewer who stays on its node. The task that reads the viewer's connection
//! answers by itself: no task for the request, no session of the proxy's, no turn among responses.
//!
//! Everything else is the proxy's. So is whatever is not kept: this neither waits nor asks a node.

use std::sync::Arc;

use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};

use crate::answered::Answered;
use crate::members::Members;
use crate::request::stream_of;
use crate::sharing::{Key, Question, Sharing};
use crate::viewer::Connection;

pub(crate) struct KeptPlaylists {
    members: Arc<Members>,
    sharing: Arc<Sharing>,
    answered: Arc<Answered>,
}

impl KeptPlaylists {
    pub(crate) const fn new(members: Arc<Members>, sharing: Arc<Sharing>, answered: Arc<Answered>) -> Self {
        Self { members, sharing, answered }
    }

    /// The answer, which the caller then sends: it counts as sent.
    pub(crate) fn answer(
        &self,
        connection: &Connection,
        request: &RequestHeader,
    ) -> Option<(Box<ResponseHeader>, Bytes)> {
        let question = Question::of(request)?;
        let node = connection.watched_on(&stream_of(request.uri.path())?)?;
        if !self.members.keeps(&node) {
            return None;
        }
        let (head, body) = self.sharing.kept(&Key { node, question })?;
        self.answered.count(Some(head.status));
        Some((head, body))
    }
}
