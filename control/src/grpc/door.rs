//! How a call comes in and goes out: it is read into what the routes of HTTP take, passes the same decisions, and the answer becomes a message.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use bytes::Bytes;
use node::http::Peer;
use node::problem::Type;
use node::wait::{METADATA, WAIT};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::{Request, Response, Status};

use super::status;
use crate::ControlState;
use crate::api::{
    Admission, Answer, Arrival, Call, IDEMPOTENCY_KEY, Problem, REQUEST_ID, Standing, TENANT, Turn, etag, request_id,
};

/// What is taken of a call's metadata. Cookies are for pages, and conditions are fields of messages.
const TAKEN: [&str; 5] = ["authorization", "x-api-key", TENANT, IDEMPOTENCY_KEY, WAIT];

/// What a call asks for, in the words of HTTP's routes.
#[derive(Debug)]
pub(super) struct Asked {
    /// The route whose rules hold.
    route: (Method, &'static str),
    /// What its path names.
    object: String,
    parameters: Vec<(String, String)>,
    body: Value,
    version: Option<i64>,
}

impl Asked {
    pub(super) fn of(method: Method, path: &'static str) -> Self {
        Self { route: (method, path), object: String::new(), parameters: Vec::new(), body: Value::Null, version: None }
    }

    pub(super) fn about(self, object: String) -> Self {
        Self { object, ..self }
    }

    /// A parameter of the query; `None` is none.
    pub(super) fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.parameters.extend(value.map(|value| (name.to_owned(), value.to_string())));
        self
    }

    pub(super) fn saying(self, body: Value) -> Self {
        Self { body, ..self }
    }

    /// Only if the row has this version.
    pub(super) fn if_version(self, version: Option<i64>) -> Self {
        Self { version, ..self }
    }
}

/// A call that was let in.
pub(super) struct Entered {
    pub(super) call: Call,
    pub(super) object: String,
    pub(super) peer: Option<Peer>,
    pub(super) request_id: String,
    admission: Admission,
}

/// A call that was answered before, or was refused.
enum Done {
    Again(Answer, Box<Admission>, String),
    Refused(Status),
}

/// Lets calls in. Cheap to clone.
#[derive(Clone)]
pub(super) struct Door(Arc<ControlState>);

impl Door {
    pub(super) const fn new(shared: Arc<ControlState>) -> Self {
        Self(shared)
    }

    pub(super) const fn shared(&self) -> &Arc<ControlState> {
        &self.0
    }

    /// Answers a call with what a handler of HTTP's routes says.
    pub(super) async fn answer<R, M, F>(
        &self,
        request: Request<R>,
        ask: impl FnOnce(R) -> Asked,
        handle: impl FnOnce(State<Arc<ControlState>>, Path<String>, Call) -> F,
        read: impl FnOnce(Answer) -> Result<M, serde_json::Error>,
    ) -> Result<Response<M>, Status>
    where
        F: Future<Output = Result<Answer, Problem>>,
    {
        let (answer, admission, request_id) = match self.enter(request, ask).await {
            Err(Done::Refused(status)) => return Err(status),
            Err(Done::Again(answer, admission, request_id)) => (answer, *admission, request_id),
            Ok(Entered { call, object, request_id, mut admission, .. }) => {
                match handle(State(Arc::clone(&self.0)), Path(object), call).await {
                    Ok(answer) => (answer, admission, request_id),
                    Err(problem) => {
                        admission.refused(problem.kind).await;
                        return Err(refusal(&problem, &request_id, admission.standing()));
                    }
                }
            }
        };
        let sequence = admission.sequence();
        let message = read(answer.reflecting(sequence)).map_err(|error| {
            let problem = Problem::new(Type::Internal, format!("the answer is no message: {error}"));
            refusal(&problem, &request_id, admission.standing())
        })?;
        let mut response = Response::new(message);
        tell(response.metadata_mut(), &request_id, admission.standing());
        set(response.metadata_mut(), METADATA.as_str(), &sequence.to_string());
        Ok(response)
    }

    /// Lets in a call whose answer is a stream.
    pub(super) async fn open<R>(&self, request: Request<R>, ask: impl FnOnce(R) -> Asked) -> Result<Entered, Status> {
        match self.enter(request, ask).await {
            Ok(entered) => Ok(entered),
            Err(Done::Refused(status)) => Err(status),
            // Such calls make nothing, so no answer of them is kept.
            Err(Done::Again(_, admission, request_id)) => {
                let problem = Problem::new(Type::KeyReused, "this call has no answer to repeat");
                Err(refusal(&problem, &request_id, admission.standing()))
            }
        }
    }

    async fn enter<R>(&self, request: Request<R>, ask: impl FnOnce(R) -> Asked) -> Result<Entered, Done> {
        let (metadata, extensions, message) = request.into_parts();
        let peer = extensions.get::<Peer>().cloned();
        let given = metadata.into_headers();
        let request_id = request_id(&self.0, &given);
        let Asked { route, object, parameters, body, version } = ask(message);
        let arrival = Arrival {
            peer: peer.clone(),
            target: format!("grpc {} {object}", route.1),
            route,
            object: object.clone(),
            request_id: request_id.clone(),
            headers: taken(&given, version),
            parameters,
            body: if body.is_null() { Bytes::new() } else { body.to_string().into() },
        };
        let (admission, turn) = Admission::begin(&self.0, arrival).await;
        match turn {
            Ok(Turn::Handle(call)) => Ok(Entered { call, object, peer, request_id, admission }),
            Ok(Turn::Again(answer)) => Err(Done::Again(answer, Box::new(admission), request_id)),
            Err(problem) => Err(Done::Refused(refusal(&problem, &request_id, admission.standing()))),
        }
    }
}

impl Entered {
    /// The refusal of a call that was let in.
    pub(super) fn refusal(&self, problem: &Problem) -> Status {
        refusal(problem, &self.request_id, self.admission.standing())
    }

    /// The response whose messages follow.
    pub(super) fn respond<S>(&self, messages: S) -> Response<S> {
        let mut response = Response::new(messages);
        tell(response.metadata_mut(), &self.request_id, self.admission.standing());
        response
    }
}

/// The answer as a message whose fields have the names of its members.
pub(super) fn message<M: DeserializeOwned>(answer: Answer) -> Result<M, serde_json::Error> {
    serde_json::from_value(answer.body)
}

fn taken(given: &HeaderMap, version: Option<i64>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in TAKEN {
        if let Some(value) = given.get(name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(tag) = version.and_then(|version| HeaderValue::from_str(&etag(version)).ok()) {
        headers.insert(header::IF_MATCH, tag);
    }
    headers
}

fn refusal(problem: &Problem, request_id: &str, standing: Option<&Standing>) -> Status {
    let mut status = status::of(problem, request_id);
    tell(status.metadata_mut(), request_id, standing);
    status
}

/// What every answer says beside its message.
fn tell(metadata: &mut MetadataMap, request_id: &str, standing: Option<&Standing>) {
    set(metadata, REQUEST_ID.as_str(), request_id);
    if let Some(standing) = standing {
        set(metadata, "ratelimit-policy", &standing.policy());
        set(metadata, "ratelimit", &standing.left());
    }
}

fn set(metadata: &mut MetadataMap, name: &str, value: &str) {
    // All of them are plain ASCII.
    if let (Ok(name), Ok(value)) = (AsciiMetadataKey::from_bytes(name.as_bytes()), value.parse()) {
        metadata.insert(name, value);
    }
}
