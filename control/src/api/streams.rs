//! `/streams`: a tenant's streams and their keys. HTTP's routes and gRPC call the same functions.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use catalogue::{Channel, Edit, Id, Kind, Pages, StreamKey, Tenant, Texts, is_misleading};
use media::StreamId;
use messages::InputReport;
use node::problem::Type;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::{self, Settings, check_text};
use super::caller::{Call, Caller};
use super::listing::{self, ListParameters, Order, Rows};
use super::problem::{Invalid, Problem};
use super::stream_pages::{self, ChatSettings, PageMembers};
use super::{Answer, Change, overtaking};
use crate::ControlState;
use crate::refusal::{not_kept, not_logged};
use crate::restored::ensure_not_restored;

/// Most characters of a title, a description and a category.
const TITLE_CHARS_MAX: usize = 200;
const DESCRIPTION_CHARS_MAX: usize = 5_000;
const CATEGORY_CHARS_MAX: usize = 50;

/// A new stream.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct NewStream {
    /// Its name, which stays: 1 to 64 characters out of a-z, A-Z, 0-9, `-`, `_` and `.`. Those of a tenant besides `default` begin with
    /// the tenant's slug and a dot; those of `default` have no dot.
    #[schema(required)]
    name: String,
    title: String,
    description: String,
    category: String,
    /// Who may watch: `public`, `unlisted`, `members` or `token`.
    visibility: String,
    /// Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example`
    /// stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player.
    origins: Vec<String>,
    /// Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`.
    embed: String,
    chat: ChatSettings,
}

impl Default for NewStream {
    fn default() -> Self {
        let StreamSettings { title, description, category, visibility, origins, embed, chat } =
            StreamSettings::default();
        Self { name: String::new(), title, description, category, visibility, origins, embed, chat }
    }
}

impl NewStream {
    fn pages(&self) -> PageMembers<'_> {
        let Self { visibility, origins, embed, chat, .. } = self;
        PageMembers { visibility, origins, embed, chat }
    }
}

impl Settings for NewStream {
    const READ_ONLY: &'static [&'static str] =
        &["id", "version", "created_at", "key", "live", "input", "publish_urls", "pending"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        if self.name.is_empty() {
            errors.push(Invalid { pointer: "#/name".to_owned(), code: "required" });
        }
        check(&self.title, &self.description, &self.category, errors);
        self.pages().check(errors);
    }
}

/// What may be changed of a stream. Nothing here concerns the media: whoever publishes goes on, and whoever watches and still may.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub(crate) struct StreamSettings {
    title: String,
    description: String,
    category: String,
    /// Who may watch: `public`, `unlisted`, `members` or `token`.
    visibility: String,
    /// Sites whose scripts may read the stream and that may show its player, such as `https://town.example`; `https://*.town.example`
    /// stands for all that differ in their first label. Empty: every site may read, and none but the cluster's own shows the player.
    origins: Vec<String>,
    /// Which sites may show the player in a frame: `listed` in origins, `anywhere`, or `nowhere`.
    embed: String,
    chat: ChatSettings,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self::of(&Texts::default(), &Pages::default())
    }
}

impl StreamSettings {
    fn of(texts: &Texts, pages: &Pages) -> Self {
        let Texts { title, description, category } = texts.clone();
        let Pages { visibility, origins, embed, .. } = pages.clone();
        Self { title, description, category, visibility, origins, embed, chat: stream_pages::chat_of(pages) }
    }

    fn pages(&self) -> PageMembers<'_> {
        let Self { visibility, origins, embed, chat, .. } = self;
        PageMembers { visibility, origins, embed, chat }
    }
}

impl Settings for StreamSettings {
    const READ_ONLY: &'static [&'static str] =
        &["id", "name", "version", "created_at", "key", "live", "input", "publish_urls", "pending"];

    fn check(&self, errors: &mut Vec<Invalid>) {
        check(&self.title, &self.description, &self.category, errors);
        self.pages().check(errors);
    }
}

fn check(title: &str, description: &str, category: &str, errors: &mut Vec<Invalid>) {
    check_text("#/title", title, (0, TITLE_CHARS_MAX), errors);
    check_text("#/description", description, (0, DESCRIPTION_CHARS_MAX), errors);
    check_text("#/category", category, (0, CATEGORY_CHARS_MAX), errors);
}

/// The name of a new stream. A tenant owns the names that begin with its slug, so a name that is taken tells of nobody else.
fn name_of(tenant: &Tenant, text: &str) -> Result<StreamId, Problem> {
    let name = StreamId::new(text).map_err(|error| Problem::invalid("#/name", "wrong_form", error.to_string()))?;
    if is_misleading(text) {
        let error = catalogue::Error::MisleadingName(name);
        return Err(Problem::invalid("#/name", "misleading", error.to_string()));
    }
    if tenant.is_default() {
        let detail = "names with a dot belong to tenants whose slug they begin with: use a name without one";
        return if text.contains('.') { Err(Problem::invalid("#/name", "not_own", detail)) } else { Ok(name) };
    }
    let rest = text.strip_prefix(tenant.slug.as_str()).and_then(|rest| rest.strip_prefix('.'));
    if rest.is_none_or(str::is_empty) {
        let detail = format!("the names of your streams begin with {}. and go on: use {0}.{text}", tenant.slug);
        return Err(Problem::invalid("#/name", "not_own", detail));
    }
    Ok(name)
}

/// A stream's key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StreamKey)]
struct KeyView {
    /// Its end.
    hint: String,
    /// In the answer that makes the key, and in no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    secret: Option<String>,
}

/// What goes on in a stream.
#[derive(Debug, Serialize, ToSchema)]
struct Live {
    #[schema(extensions(("x-extensible-enum" = json!(["idle", "live", "reconnecting", "ended"]))))]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64)]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64)]
    started_at: Option<i64>,
}

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Stream)]
struct StreamView {
    id: String,
    name: String,
    title: String,
    #[schema(max_length = 20_000)]
    description: String,
    category: String,
    /// Who may watch.
    #[schema(extensions(("x-extensible-enum" = json!(["public", "unlisted", "members", "token"]))))]
    visibility: String,
    #[schema(max_items = 64)]
    origins: Vec<String>,
    #[schema(extensions(("x-extensible-enum" = json!(["listed", "anywhere", "nowhere"]))))]
    embed: String,
    chat: ChatSettings,
    key: KeyView,
    version: i64,
    created_at: i64,
    /// With `include=live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Live)]
    live: Option<Live>,
    /// With `include=publish_urls`, and beside a new key: where encoders publish now, such as `rtmp://live.example.org:1935/live`. Empty
    /// while no ingest is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>)]
    publish_urls: Option<Vec<String>>,
    /// With `include=input`: what the ingest says of the publisher's media; null while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<InputReport>)]
    input: Option<Option<InputReport>>,
}

/// A stream, as the API shows it; its key stands in the answer to the request that made it, and in no other.
fn view(channel: &Channel, key: Option<&StreamKey>) -> StreamView {
    let (texts, pages) = (channel.texts.clone(), channel.pages.clone());
    StreamView {
        id: channel.id.to_string(),
        name: channel.name.to_string(),
        title: texts.title,
        description: texts.description,
        category: texts.category,
        chat: stream_pages::chat_of(&pages),
        visibility: pages.visibility,
        origins: pages.origins,
        embed: pages.embed,
        key: KeyView { hint: channel.key.hint.clone(), secret: key.map(|key| key.expose().to_owned()) },
        version: channel.version,
        created_at: channel.created_at.0,
        live: None,
        input: None,
        publish_urls: None,
    }
}

/// The same with its key, and where that is used.
fn view_with_key(shared: &ControlState, call: &Caller, channel: &Channel, key: &StreamKey) -> StreamView {
    let publish_urls = Some(shared.publish_urls(&channel.name, &call.base_url));
    StreamView { publish_urls, ..view(channel, Some(key)) }
}

/// The same with what `include` names.
fn view_with(shared: &ControlState, call: &Caller, channel: &Channel) -> StreamView {
    let mut view = view(channel, None);
    if call.includes("live") {
        let session = shared.view.session(&channel.name);
        view.live = Some(Live {
            state: session.as_ref().map_or("idle", |session| session.state.name()),
            epoch: session.as_ref().map(|session| session.epoch.0),
            started_at: session.map(|session| session.started_at.0),
        });
    }
    if call.includes("input") {
        view.input = Some(shared.view.inputs(&channel.name, shared.node.clock.now()).into_iter().next());
    }
    if call.includes("publish_urls") {
        view.publish_urls = Some(shared.publish_urls(&channel.name, &call.base_url));
    }
    view
}

fn ensure_parts(call: &Caller) -> Result<(), Problem> {
    let parts = call.parameter("include").unwrap_or_default();
    if parts.split(',').all(|part| matches!(part, "" | "live" | "input" | "publish_urls")) {
        return Ok(());
    }
    Err(Problem::new(Type::Malformed, "include takes live, input and publish_urls, separated by commas"))
}

pub(crate) async fn find(shared: &ControlState, call: &Caller, name: &str) -> Result<Channel, Problem> {
    shared.catalogue.find_channel(&call.tenant.id, name).await?.ok_or_else(Problem::not_found)
}

/// Brings all streams into the metadata log, and tells ingests.
pub(crate) async fn spread_all(shared: &ControlState) -> Result<(), Problem> {
    shared.streams_changed().await.map_err(|error| Problem::from(not_logged(&error)))
}

/// What a change of a stream is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// What viewers are shown: no ingest has to know it.
    Texts,
    /// Whether there is a stream, and its key.
    Key,
}

/// Brings one stream into the metadata log, and tells ingests where they have to know.
async fn spread(shared: &ControlState, name: &StreamId, about: About) -> Result<(), Problem> {
    shared.log_stream(name).await.map_err(|error| Problem::from(not_logged(&error)))?;
    if about == About::Key {
        shared.announce_change().await;
    }
    Ok(())
}

/// The tenant's streams.
#[utoipa::path(
    get, path = "/api/v1/streams", tag = "streams",
    params(ListParameters, ("include" = Option<String>, Query, description = "`live`, `input` and `publish_urls`, with commas between them")),
    responses((status = 200, description = "A page of streams", body = Rows<StreamView>)),
)]
pub(crate) async fn list(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Answer, Problem> {
    ensure_parts(&call)?;
    let page = listing::page(&call, Kind::Stream, Order::OldestFirst)?;
    let channels = shared.catalogue.channels(&call.tenant.id, &page).await?;
    let key = |channel: &Channel| (channel.created_at, channel.id.clone());
    let answer = listing::answer(channels, &page, key, |channel| view_with(&shared, &call, channel));
    Ok(Answer::read(json!(answer)))
}

/// Makes a stream. The answer has its key, which no other answer has.
#[utoipa::path(
    post, path = "/api/v1/streams", tag = "streams", request_body = NewStream,
    responses((status = 201, description = "The stream, with its key", body = StreamView)),
)]
pub(crate) async fn create(State(shared): State<Arc<ControlState>>, call: Call) -> Result<Answer, Problem> {
    let new: NewStream = body::read(&call.body)?;
    let name = name_of(&call.tenant, &new.name)?;
    ensure_not_restored(&shared).await?;
    let (now, key) = (shared.node.clock.wall(), StreamKey::random());
    let channel = Channel {
        id: Id::draw(Kind::Stream, now),
        tenant: call.tenant.id.clone(),
        key: key.kept(&shared.pepper, &name),
        name,
        pages: new.pages().kept(),
        texts: Texts { title: new.title, description: new.description, category: new.category },
        version: 1,
        created_at: now,
    };
    tracing::info!(stream = %channel.name, "stream made");
    let name = channel.name.clone();
    let change = Change {
        object: channel.id.to_string(),
        changes: json!(view(&channel, None)),
        answer: json!(view_with_key(&shared, &call, &channel, &key)),
        edit: Edit::CreateChannel(channel),
        status: StatusCode::CREATED,
    };
    let answer = call.change(&shared, change).await?;
    spread(&shared, &name, About::Key).await?;
    Ok(answer)
}

/// A stream, by name or identity.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}", tag = "streams",
    params(
        ("stream" = String, Path, description = "Name or identity"),
        ("include" = Option<String>, Query, description = "`live`, `input` and `publish_urls`, with commas between them"),
    ),
    responses((status = 200, description = "The stream", body = StreamView)),
)]
pub(crate) async fn show(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let channel = find(&shared, &call, &name).await?;
    ensure_parts(&call)?;
    Ok(Answer::row(&call, channel.version, json!(view_with(&shared, &call, &channel))))
}

/// Changes a stream (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/streams/{stream}", tag = "streams", params(("stream" = String, Path, description = "Name or identity")),
    request_body = StreamSettings,
    responses((status = 200, description = "The stream", body = StreamView)),
)]
pub(crate) async fn update(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let (name, answer) = overtaking!(call, update_once(&shared, &name, &call))?;
    spread(&shared, &name, About::Texts).await?;
    Ok(answer)
}

async fn update_once(shared: &ControlState, name: &str, call: &Caller) -> Result<(StreamId, Answer), Problem> {
    let before = find(shared, call, name).await?;
    call.ensure_version(before.version)?;
    let was = StreamSettings::of(&before.texts, &before.pages);
    let new: StreamSettings = body::patch(&was, &call.body)?;
    let changes = body::changes(&was, &new);
    let pages = new.pages().kept();
    let texts = Texts { title: new.title, description: new.description, category: new.category };
    let channel = Channel { texts, pages, version: before.version + 1, ..before };
    let (name, object, answer) = (channel.name.clone(), channel.id.to_string(), json!(view(&channel, None)));
    let change = Change { edit: Edit::UpdateChannel(channel), object, changes, status: StatusCode::OK, answer };
    Ok((name, call.change(shared, change).await?))
}

/// Deletes a stream and its key, and disconnects its publisher.
#[utoipa::path(
    delete, path = "/api/v1/streams/{stream}", tag = "streams", params(("stream" = String, Path, description = "Name or identity")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let _turn = shared.key_files.turn().await;
    let (name, answer) = overtaking!(call, delete_once(&shared, &name, &call))?;
    spread(&shared, &name, About::Key).await?;
    Ok(answer)
}

async fn delete_once(shared: &ControlState, name: &str, call: &Caller) -> Result<(StreamId, Answer), Problem> {
    let channel = find(shared, call, name).await?;
    call.ensure_version(channel.version)?;
    if shared.key_files.is_configured(&channel.name) {
        let detail = "the configuration of control has this stream, and would make it again: take it out there first";
        return Err(Problem::new(Type::FromFile, detail));
    }
    ensure_not_restored(shared).await?;
    let name = channel.name.clone();
    let change = Change {
        object: channel.id.to_string(),
        changes: json!({ "name": name }),
        edit: Edit::DeleteChannel(channel),
        status: StatusCode::NO_CONTENT,
        answer: Value::Null,
    };
    let answer = call.change(shared, change).await?;
    tracing::info!(stream = %name, "stream deleted");
    shared.key_files.forget(&name).map_err(|error| Problem::from(not_kept(&error)))?;
    Ok((name, answer))
}

/// Gives a stream a new key, and disconnects a publisher that uses the one before.
#[utoipa::path(
    post, path = "/api/v1/streams/{stream}/rotate-key", tag = "streams",
    params(("stream" = String, Path, description = "Name or identity")),
    responses((status = 200, description = "The stream, with its new key", body = StreamView)),
)]
pub(crate) async fn rotate_key(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Answer, Problem> {
    let _turn = shared.key_files.turn().await;
    let (name, answer) = overtaking!(call, rotate_once(&shared, &name, &call))?;
    spread(&shared, &name, About::Key).await?;
    Ok(answer)
}

async fn rotate_once(shared: &ControlState, name: &str, call: &Caller) -> Result<(StreamId, Answer), Problem> {
    let before = find(shared, call, name).await?;
    if shared.key_files.has_fixed_key(&before.name) {
        let detail = "the configuration of control says the key of this stream: change it there";
        return Err(Problem::new(Type::FromFile, detail));
    }
    ensure_not_restored(shared).await?;
    let key = StreamKey::random();
    // First the file: at the next start it says which key the stream has.
    shared.key_files.keep(&before.name, &key).map_err(|error| Problem::from(not_kept(&error)))?;
    let channel =
        Channel { key: key.kept(&shared.pepper, &before.name), version: before.version + 1, ..before.clone() };
    tracing::info!(stream = %channel.name, "stream has a new key");
    let change = Change {
        object: channel.id.to_string(),
        changes: json!({ "key": { "hint": { "from": before.key.hint, "to": channel.key.hint } } }),
        answer: json!(view_with_key(shared, call, &channel, &key)),
        edit: Edit::UpdateChannel(channel),
        status: StatusCode::OK,
    };
    Ok((before.name, call.change(shared, change).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_tenant_begin_with_its_slug_and_those_of_default_have_no_dot() {
        let tenant = |id: Id, slug: &str| Tenant {
            id,
            slug: slug.to_owned(),
            name: String::new(),
            is_suspended: false,
            quota: catalogue::Quota::default(),
            version: 1,
            created_at: media::UnixMillis(0),
        };
        let acme = tenant(Id::draw(Kind::Tenant, media::UnixMillis(1)), "acme");
        let default = tenant(Id::default_tenant(), "default");
        assert_eq!(name_of(&acme, "acme.hall").unwrap().as_str(), "acme.hall");
        assert_eq!(name_of(&default, "hall").unwrap().as_str(), "hall");
        for (tenant, name, code) in [
            (&acme, "hall", "not_own"),
            (&acme, "acme.", "not_own"),
            (&acme, "acmehall", "not_own"),
            (&acme, "acme2.hall", "not_own"),
            (&acme, "acme.hall.m3u8", "misleading"),
            (&acme, "acme.h/all", "wrong_form"),
            (&default, "acme.hall", "not_own"),
            (&default, "str_hall", "misleading"),
            (&default, "-v", "misleading"),
            (&default, "", "wrong_form"),
        ] {
            let problem = name_of(tenant, name).unwrap_err();
            assert_eq!(problem.errors.first().map(|error| error.code), Some(code), "{name}");
        }
    }
}
