//! Chats: who may write what, how fast, and how everybody gets to know. Messages are in the catalogue; nodes hear of changes over the bus,
//! and ask for what they lack. While control is away, nobody writes, and everything else goes on.

pub(crate) mod text;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use access::{Facts, Rules, Verified};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use bus::Message;
use catalogue::Message as Row;
use issuers::ForeignKeys;
use media::{StreamId, UnixMillis};
use messages::{CHAT_HISTORY_MAX, ChatChanges, ChatMessage, ChatRole, Topic};
use metadata::EntrySequence;
use serde::Deserialize;

use crate::ControlState;
use crate::refusal::Refusal;

/// Messages of a stream that the catalogue keeps, for moderators: twice of what viewers get.
pub(crate) const KEPT: i64 = 200;
const _: () = assert!(2 * CHAT_HISTORY_MAX == KEPT.unsigned_abs() as usize);
/// Chats whose place on the bus is remembered; after that, nodes ask once more than they would have to.
const ANNOUNCED_MAX: usize = 10_000;
/// What the keyed hashes of addresses are for.
const ADDRESS_KEY: &str = "\0sealcast chat address";
const DAY_MS: i64 = 86_400_000;

/// What control remembers of chats; all of it is in the catalogue, too.
#[derive(Default)]
pub(crate) struct ChatState {
    /// The last change of each chat that is on the bus. Held while one is said, so that they are said in their order.
    announced: tokio::sync::Mutex<HashMap<StreamId, i64>>,
    /// Who may what, as of an entry of the log.
    rights: Mutex<Option<(EntrySequence, Arc<Rights>)>>,
}

/// Who may what, as the log says, and whose tokens besides control's own count.
pub(crate) struct Rights {
    pub(crate) rules: Rules,
    pub(crate) foreign: ForeignKeys,
}

/// Who writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Writer {
    /// What bans name: no address and no token leads back from it.
    pub(crate) name: String,
    /// What it was called yesterday.
    pub(crate) also: String,
    pub(crate) role: ChatRole,
}

impl Writer {
    /// The holder of a token: the viewer that it names, or the token.
    pub(crate) fn of_token(token: &Verified) -> Self {
        let name = token.viewer.map_or_else(
            || format!("token {}", token.claims.jti),
            |viewer| format!("viewer {}", hex::encode(viewer.0)),
        );
        Self { also: name.clone(), name, role: ChatRole::Viewer }
    }

    /// Whoever may moderate.
    pub(crate) fn moderator(credential: &str) -> Self {
        let name = format!("credential {credential}");
        Self { also: name.clone(), name, role: ChatRole::Moderator }
    }

    /// Somebody who is signed in: one writer in all tenants, and at each sign-in.
    pub(crate) fn person(key: &str, role: ChatRole) -> Self {
        let digest = catalogue::sha256(key.as_bytes()).to_string();
        let name = format!("person {}", digest.get(..24).unwrap_or_default());
        Self { also: name.clone(), name, role }
    }
}

impl ControlState {
    /// A writer without a token is a network, under a hash that differs by stream and by day: nothing about a person lasts.
    pub(crate) fn guest(&self, stream: &StreamId, address: IpAddr) -> Writer {
        let (key, network) = (self.pepper.key_for(ADDRESS_KEY), acceptor::network(address));
        let today = self.node.clock.wall().0.div_euclid(DAY_MS);
        let on = |day: i64| {
            let mac = key.mac(&format!("{stream} {day} {network}")).to_string();
            format!("guest {}", mac.get(..24).unwrap_or_default())
        };
        Writer { name: on(today), also: on(today - 1), role: ChatRole::Guest }
    }

    /// Who may what, as the log says now.
    pub(crate) fn chat_rights(&self) -> Arc<Rights> {
        let at = self.writer.place().sequence;
        let mut kept = self.chat.rights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, rights)) = kept.as_ref()
            && *of == at
        {
            return Arc::clone(rights);
        }
        let rights = Arc::new(self.writer.log().look(|view| {
            let (facts, foreign) = (Facts::from_log(&view, &self.node.cluster), ForeignKeys::of(&view));
            let rules = Rules::from_facts(Facts { signers: foreign.signers(), ..facts });
            Rights { rules, foreign }
        }));
        *kept = Some((at, Arc::clone(&rights)));
        rights
    }

    /// Tells the nodes what has changed in a chat. A bus that is away delays it: nodes see from the next change that they lack one.
    pub(crate) async fn announce_chat(&self, stream: &StreamId) {
        let mut announced = self.chat.announced.lock().await;
        let previous = announced.get(stream).copied().unwrap_or(0);
        let rows = match self.catalogue.chat_changes(stream, previous, KEPT).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%stream, error = &error as &dyn std::error::Error, "a chat cannot be read");
                return;
            }
        };
        let Some(newest) = rows.last().map(|row| row.changed) else { return };
        // Control was started again: what came before, nodes have, or ask for.
        let said = if previous == 0 { rows.split_at(rows.len() - 1).1 } else { &rows };
        let changes = changes(previous, said);
        let payload = serde_json::to_vec(&changes).expect("texts and numbers have a JSON form");
        let topic = self.node.prefix.name(&Topic::Chat(stream.clone()));
        if announced.len() >= ANNOUNCED_MAX && !announced.contains_key(stream) {
            announced.clear();
        }
        announced.insert(stream.clone(), newest);
        if !bus::offer(&*self.node.bus, Message { topic, payload: payload.into(), retain: false }).await {
            tracing::warn!(%stream, "a change of a chat is not on the bus; nodes ask for it with the next one");
        }
    }
}

fn changes(previous: i64, rows: &[Row]) -> ChatChanges {
    let place = |number: i64| u64::try_from(number).unwrap_or(0);
    let message = |row: &Row| ChatMessage {
        id: row.id.to_string(),
        author: row.author.clone(),
        role: ChatRole::of_name(&row.role),
        tag: tag(&row.writer, &row.stream),
        text: (!row.is_deleted).then(|| row.text.clone()),
        at: row.created_at.0,
        changed: place(row.changed),
    };
    ChatChanges { previous: place(previous), messages: rows.iter().map(message).collect() }
}

/// Tells writers of one name apart.
pub(crate) fn tag(writer: &str, stream: &StreamId) -> String {
    let digest = catalogue::sha256(format!("{stream} {writer}").as_bytes()).to_string();
    digest.get(..4).unwrap_or_default().to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct After {
    /// The change that the node has already.
    #[serde(default)]
    after: i64,
}

/// What changed in a chat, for broadcast nodes.
pub(crate) async fn changes_after(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    Query(After { after }): Query<After>,
) -> Result<Json<ChatChanges>, Refusal> {
    let stream = StreamId::new(&name).map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
    let rows = shared.catalogue.chat_changes(&stream, after, KEPT).await?;
    Ok(Json(changes(after, &rows)))
}

/// The writer's message, as it is kept.
pub(crate) fn row(
    (id, stream): (catalogue::Id, StreamId),
    writer: &Writer,
    (author, text): (String, String),
    at: UnixMillis,
) -> Row {
    Row {
        id,
        stream,
        changed: 0,
        author,
        role: writer.role.name().to_owned(),
        writer: writer.name.clone(),
        text,
        is_deleted: false,
        created_at: at,
    }
}
