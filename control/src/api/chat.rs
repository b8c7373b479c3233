//! Chats: what viewers write (`POST /live/{stream}/chat`), and what moderators do about it (`/streams/{stream}/messages` and `…/bans`).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use catalogue::{Ban, Channel, Edit, Id, Kind, Message, Saying};
use media::StreamId;
use messages::ChatRole;
use node::http::Peer;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings};
use super::caller::Call;
use super::chat_writers::{self, Asked, Known};
use super::limits::{CHAT_ADDRESS, CHAT_WRITER, Rate};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::streams::find;
use super::{Change, gate, person, respond};
use crate::ControlState;
use crate::chat::{self, text};
use crate::restored::ensure_not_restored;

/// Longest body of a message in bytes: a text of 2,000 with each byte escaped.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long a ban lasts when nobody says, and at most. A writer without a token is not known for longer than a day.
const BAN_S: u64 = 3_600;
const BAN_S_MAX: u64 = 24 * 3_600;

/// What a viewer writes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    /// The name that others see, of whoever has none of its own.
    #[serde(default)]
    name: String,
    text: String,
}

/// `POST /live/{stream}/chat`.
pub(crate) async fn say(
    State(shared): State<Arc<ControlState>>,
    Path(stream): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = StreamId::new(&stream).map_err(|_| Problem::not_found())?;
    write(&shared, (&stream, None), request).await
}

/// The same below a viewer's token.
pub(crate) async fn say_with_token(
    State(shared): State<Arc<ControlState>>,
    Path((token, stream)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let stream = StreamId::new(&stream).map_err(|_| Problem::new(Type::TokenElsewhere, "the token is not for this"))?;
    write(&shared, (&stream, Some(token)), request).await
}

async fn write(
    shared: &Arc<ControlState>,
    (stream, token): (&StreamId, Option<String>),
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    let address = peer.as_ref().and_then(|peer| gate::address_of(peer, &parts.headers));
    let address = address.ok_or_else(|| Problem::new(Type::Malformed, "the balancer does not say who asks"))?;
    take(shared, CHAT_ADDRESS, &acceptor::network(address).to_string())?;
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
    ensure_own_page(&parts.headers, host)?;
    let asked = Asked {
        stream,
        token: token.as_deref(),
        peer: peer.as_ref(),
        uri: &parts.uri,
        headers: &parts.headers,
        address,
    };
    let Known { rules, writer, name, person } = chat_writers::known(shared, &asked).await?;
    let body = axum::body::to_bytes(Body::new(body), BODY_BYTES_MAX).await;
    let body = body.map_err(|_| Problem::new(Type::TooLarge, format!("a body may have {BODY_BYTES_MAX} bytes")))?;
    let said: Said = serde_json::from_slice(&body).map_err(|error| Problem::new(Type::Malformed, error.to_string()))?;
    let text = text::message(&said.text)
        .map_err(|why| Problem::invalid("#/text", why.code(), "a message has 1 to 500 characters"))?;
    let author = match name {
        Some(name) => name,
        None => text::name(&said.name)
            .map_err(|why| Problem::invalid("#/name", why.code(), "a name has 1 to 32 characters"))?,
    };
    take(shared, CHAT_WRITER, &format!("{stream} {}", writer.name))?;
    ensure_not_restored(shared).await?;
    let now = shared.node.clock.wall();
    let is_moderator = writer.role == ChatRole::Moderator;
    let slow_ms = if is_moderator { 0 } else { i64::try_from(rules.slow_s).unwrap_or(0).saturating_mul(1_000) };
    let message = chat::row((Id::draw(Kind::Message, now), stream.clone()), &writer, (author, text), now);
    let answer = json!({
        "id": message.id.as_str(), "author": message.author, "role": message.role, "text": message.text, "at": now.0,
        "tag": chat::tag(&message.writer, stream),
    });
    shared.catalogue.say(Saying { message, also: writer.also, slow_ms, kept: chat::KEPT }).await?;
    shared.announce_chat(stream).await;
    let mut response = respond(StatusCode::CREATED, &answer);
    if let Some(person) = person {
        person::renew(shared, &person, &mut response).await;
    }
    Ok(response)
}

/// Refuses what a page of another site would have its visitors write: with their addresses, and unknown to them.
fn ensure_own_page(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let refused = || Problem::new(Type::OriginRefused, "only this server's own pages, and programs, write in a chat");
    let is_json = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !is_json {
        return Err(Problem::new(Type::Malformed, "a message is JSON: content-type: application/json"));
    }
    match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(refused()),
        // Browsers that say nothing of sites name the origin of a page with each change.
        None => match headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or("null")) {
            None => Ok(()),
            Some(origin) => {
                let is_own = origin.split_once("://").is_some_and(|(_, authority)| authority == host);
                if is_own { Ok(()) } else { Err(refused()) }
            }
        },
    }
}

fn take(shared: &ControlState, rate: Rate, who: &str) -> Result<(), Problem> {
    let now = shared.node.clock.elapsed();
    let mut buckets = shared.api.chat_buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let problem = Problem::new(Type::RateLimited, "you write too fast: wait as long as Retry-After says");
    buckets
        .take(rate, who, 1.0, now)
        .map(drop)
        .map_err(|exhausted| Problem { retry_after_s: Some(exhausted.retry_after_s), ..problem })
}

/// A message of a chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
struct MessageView {
    id: String,
    author: String,
    role: String,
    /// Tells writers of one name apart.
    tag: String,
    /// Null once it is deleted.
    #[schema(required)]
    text: Option<String>,
    #[schema(extensions(("x-extensible-enum" = json!(["shown", "deleted"]))))]
    state: &'static str,
    created_at: i64,
}

fn message_view(message: &Message) -> MessageView {
    MessageView {
        id: message.id.to_string(),
        author: message.author.clone(),
        role: message.role.clone(),
        tag: chat::tag(&message.writer, &message.stream),
        text: (!message.is_deleted).then(|| message.text.clone()),
        state: if message.is_deleted { "deleted" } else { "shown" },
        created_at: message.created_at.0,
    }
}

/// A ban from a chat.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Ban)]
struct BanView {
    id: String,
    author: String,
    tag: String,
    created_at: i64,
    expires_at: i64,
}

fn ban_view(ban: &Ban) -> BanView {
    BanView {
        id: ban.id.to_string(),
        author: ban.author.clone(),
        tag: chat::tag(&ban.writer, &ban.stream),
        created_at: ban.created_at.0,
        expires_at: ban.until.0,
    }
}

/// The newest messages of a stream's chat.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/messages", tag = "chat",
    params(ListParameters, ("stream" = String, Path, description = "Name or identity")),
    responses((status = 200, description = "A page of messages", body = Rows<MessageView>)),
)]
pub(crate) async fn messages(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let Channel { name, .. } = find(&shared, &call, &name).await?;
    let page = listing::page(&call, Kind::Message, Order::NewestFirst)?;
    let found = shared.catalogue.chat_messages(&name, &page).await?;
    let key = |message: &Message| (message.created_at, message.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(found, &page, key, message_view)))
}

/// Deletes a message, also from the screens of those who have it.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}/messages/{message}", tag = "chat",
    params(("stream" = String, Path, description = "Name or identity"), ("message" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete_message(
    State(shared): State<Arc<ControlState>>,
    Path((name, id)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    let Channel { name, .. } = find(&shared, &call, &name).await?;
    let message = shared.catalogue.find_message(&name, &id).await?.ok_or_else(Problem::not_found)?;
    let change = Change {
        object: message.id.to_string(),
        changes: json!({ "stream": name, "author": message.author }),
        edit: Edit::DeleteMessage(message, shared.node.clock.wall()),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let response = call.commit(&shared, change).await?;
    shared.announce_chat(&name).await;
    Ok(response)
}

/// A new ban.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewBan {
    /// Identity of a message of whoever is banned.
    #[schema(required)]
    message: String,
    /// For how many seconds, 1 to 86400.
    for_s: u64,
}

impl Default for NewBan {
    fn default() -> Self {
        Self { message: String::new(), for_s: BAN_S }
    }
}

impl Settings for NewBan {
    fn check(&self, errors: &mut Vec<Invalid>) {
        let mut note = |pointer: &str, code| errors.push(Invalid { pointer: pointer.to_owned(), code });
        if self.message.is_empty() {
            note("#/message", "required");
        }
        if !(1..=BAN_S_MAX).contains(&self.for_s) {
            note("#/for_s", "out_of_range");
        }
    }
}

/// The bans of a stream that count.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/bans", tag = "chat",
    params(ListParameters, ("stream" = String, Path, description = "Name or identity")),
    responses((status = 200, description = "A page of bans", body = Rows<BanView>)),
)]
pub(crate) async fn bans(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let Channel { name, .. } = find(&shared, &call, &name).await?;
    let page = listing::page(&call, Kind::Ban, Order::NewestFirst)?;
    let found = shared.catalogue.bans(&name, &page, shared.node.clock.wall()).await?;
    let key = |ban: &Ban| (ban.created_at, ban.id.clone());
    Ok(respond(StatusCode::OK, &listing::answer(found, &page, key, ban_view)))
}

/// Bans whoever has written a message: by the viewer token, or else by the address, of which only a keyed hash is kept. Deletes all that
/// it has written.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/bans", tag = "chat", request_body = NewBan,
    params(("stream" = String, Path, description = "Name or identity")),
    responses((status = 201, description = "The ban", body = BanView)),
)]
pub(crate) async fn ban(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let Channel { name, .. } = find(&shared, &call, &name).await?;
    let new: NewBan = body::read(&call.body)?;
    let unknown = || Problem::invalid("#/message", "unknown_value", "there is no such message in this chat any more");
    let message = shared.catalogue.find_message(&name, &new.message).await?.ok_or_else(unknown)?;
    let now = shared.node.clock.wall();
    let ban = Ban {
        id: Id::draw(Kind::Ban, now),
        stream: name.clone(),
        writer: message.writer,
        author: message.author,
        created_at: now,
        until: now.plus(Duration::from_secs(new.for_s)),
    };
    let answer = json!(ban_view(&ban));
    let change = Change {
        object: ban.id.to_string(),
        changes: json!({ "stream": name, "author": ban.author, "expires_at": ban.until.0 }),
        edit: Edit::BanWriter(ban),
        status: StatusCode::CREATED,
        answer,
    };
    let response = call.commit(&shared, change).await?;
    shared.announce_chat(&name).await;
    Ok(response)
}

/// Ends a ban. What was deleted with it stays deleted.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}/bans/{ban}", tag = "chat",
    params(("stream" = String, Path, description = "Name or identity"), ("ban" = String, Path, description = "Identity")),
    responses((status = 204, description = "It is over")),
)]
pub(crate) async fn lift(
    State(shared): State<Arc<ControlState>>,
    Path((name, id)): Path<(String, String)>,
    call: Call,
) -> Result<Response, Problem> {
    let Channel { name, .. } = find(&shared, &call, &name).await?;
    let ban = shared.catalogue.find_ban(&name, &id, shared.node.clock.wall()).await?.ok_or_else(Problem::not_found)?;
    let change = Change {
        object: ban.id.to_string(),
        changes: json!({ "stream": name, "author": ban.author }),
        edit: Edit::LiftBan(ban),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    call.commit(&shared, change).await
}
