//! `Catalogue`: a tenant's streams.

use std::sync::Arc;

use axum::http::Method;
use serde::Deserialize;
use serde_json::{Map, Value};
use tonic::{Request, Response, Status, async_trait};

use super::door::{Asked, Door, message};
use super::listener::{Messages, listen};
use super::v1::catalogue_server::Catalogue;
use super::v1::{
    CreateStreamRequest, DeleteStreamRequest, DeleteStreamResponse, GetStreamRequest, ListStreamsRequest,
    ListStreamsResponse, RotateStreamKeyRequest, Stream, StreamSettings, UpdateStreamRequest, WatchRequest,
    WatchResponse,
};
use super::watch::Changes;
use crate::api::{Answer, streams};

pub(super) struct Streams(Door);

impl Streams {
    pub(super) const fn new(door: Door) -> Self {
        Self(door)
    }
}

const ALL: &str = "/api/v1/streams";
const ONE: &str = "/api/v1/streams/{stream}";

#[async_trait]
impl Catalogue for Streams {
    async fn list_streams(
        &self,
        request: Request<ListStreamsRequest>,
    ) -> Result<Response<ListStreamsResponse>, Status> {
        let ask = |asked: ListStreamsRequest| {
            Asked::of(Method::GET, ALL)
                .with("limit", asked.limit)
                .with("cursor", asked.cursor)
                .with("sort", asked.newest_first.then_some("-created_at"))
                .with("q", asked.q)
                .with("created_after", asked.created_after)
                .with("created_before", asked.created_before)
                .with("include", asked.with_live.then_some("live"))
        };
        self.0.answer(request, ask, |state, _, call| streams::list(state, call), page).await
    }

    async fn get_stream(&self, request: Request<GetStreamRequest>) -> Result<Response<Stream>, Status> {
        let ask = |asked: GetStreamRequest| {
            let asks = Asked::of(Method::GET, ONE).about(asked.stream);
            asks.with("include", asked.with_live.then_some("live"))
        };
        self.0.answer(request, ask, streams::show, message).await
    }

    async fn create_stream(&self, request: Request<CreateStreamRequest>) -> Result<Response<Stream>, Status> {
        let ask = |asked: CreateStreamRequest| {
            let mut said = members(asked.settings);
            said.insert("name".to_owned(), asked.name.into());
            Asked::of(Method::POST, ALL).saying(Value::Object(said))
        };
        self.0.answer(request, ask, |state, _, call| streams::create(state, call), message).await
    }

    async fn update_stream(&self, request: Request<UpdateStreamRequest>) -> Result<Response<Stream>, Status> {
        let ask = |asked: UpdateStreamRequest| {
            let asks = Asked::of(Method::PATCH, ONE).about(asked.stream).if_version(asked.version);
            asks.saying(Value::Object(members(asked.settings)))
        };
        self.0.answer(request, ask, streams::update, message).await
    }

    async fn delete_stream(
        &self,
        request: Request<DeleteStreamRequest>,
    ) -> Result<Response<DeleteStreamResponse>, Status> {
        let ask =
            |asked: DeleteStreamRequest| Asked::of(Method::DELETE, ONE).about(asked.stream).if_version(asked.version);
        self.0.answer(request, ask, streams::delete, |_| Ok(DeleteStreamResponse {})).await
    }

    async fn rotate_stream_key(&self, request: Request<RotateStreamKeyRequest>) -> Result<Response<Stream>, Status> {
        let ask = |asked: RotateStreamKeyRequest| {
            Asked::of(Method::POST, "/api/v1/streams/{stream}/rotate-key").about(asked.stream)
        };
        self.0.answer(request, ask, streams::rotate_key, message).await
    }

    type WatchStream = Messages<WatchResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let after = request.get_ref().after_sequence;
        let entered = self.0.open(request, |_| Asked::of(Method::GET, ALL)).await?;
        let shared = Arc::clone(self.0.shared());
        let changes = Changes::after(&shared, entered.call.tenant.clone(), after);
        let messages = listen(&shared, &entered, changes)?;
        Ok(entered.respond(messages))
    }
}

/// A page of streams.
fn page(answer: Answer) -> Result<ListStreamsResponse, serde_json::Error> {
    #[derive(Deserialize)]
    struct Page {
        items: Vec<Stream>,
        next_cursor: Option<String>,
    }
    let sequence = answer.sequence.unwrap_or(0);
    let Page { items, next_cursor } = message(answer)?;
    Ok(ListStreamsResponse { items, next_cursor, sequence })
}

/// The members that settings say, as a body of HTTP has them: what is not set is not there.
fn members(settings: Option<StreamSettings>) -> Map<String, Value> {
    let StreamSettings { title, description, category, visibility, origins, embed, chat } =
        settings.unwrap_or_default();
    let chat = chat.map(|chat| {
        let said = [
            ("on", chat.on.map(Value::from)),
            ("slow_s", chat.slow_s.map(Value::from)),
            ("writers", chat.writers.map(Value::from)),
        ];
        Value::Object(set(said))
    });
    set([
        ("title", title.map(Value::from)),
        ("description", description.map(Value::from)),
        ("category", category.map(Value::from)),
        ("visibility", visibility.map(Value::from)),
        ("origins", origins.map(|origins| Value::from(origins.items))),
        ("embed", embed.map(Value::from)),
        ("chat", chat),
    ])
}

fn set<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::grpc::v1::{ChatSettings, Origins};

    #[test]
    fn only_fields_that_are_set_are_said() {
        assert_eq!(Value::Object(members(None)), json!({}));
        let settings = StreamSettings {
            title: Some(String::new()),
            origins: Some(Origins { items: Vec::new() }),
            chat: Some(ChatSettings { slow_s: Some(3), ..ChatSettings::default() }),
            ..StreamSettings::default()
        };
        let said = json!({ "title": "", "origins": [], "chat": { "slow_s": 3 } });
        assert_eq!(Value::Object(members(Some(settings))), said);
    }
}
