//! `/streams/{stream}/embed`: the frame that shows a stream's player on another site.

use std::sync::Arc;

use access::AllowedOrigin;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use catalogue::Channel;
use metadata::Visibility;
use node::problem::Type;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Call;
use super::problem::Problem;
use super::respond;
use super::streams::find;
use crate::ControlState;
use crate::nodes::viewers_base;

/// The frame, and which sites may show it.
#[derive(Debug, Serialize, ToSchema)]
struct Frame {
    url: String,
    /// An `iframe`.
    html: String,
    /// A viewer token stands in place of TOKEN.
    needs_token: bool,
    #[schema(extensions(("x-extensible-enum" = json!(["listed", "anywhere", "nowhere"]))))]
    embed: String,
    origins: Vec<String>,
}

fn snippet(base: &str, channel: &Channel) -> Frame {
    let (name, pages) = (&channel.name, &channel.pages);
    let needs_token =
        matches!(Visibility::parse(&pages.visibility), Some(Visibility::Token | Visibility::Members) | None);
    let token = if needs_token { "/t/TOKEN" } else { "" };
    let url = format!("{base}{token}/live/{name}/embed");
    let title = if channel.texts.title.is_empty() { name.as_str() } else { &channel.texts.title };
    let html = format!(
        "<iframe src=\"{url}\" title=\"{}\" width=\"640\" height=\"360\" style=\"border:0\" loading=\"lazy\" \
         allow=\"autoplay; fullscreen; picture-in-picture\"></iframe>",
        escaped(title)
    );
    Frame { url, html, needs_token, embed: pages.embed.clone(), origins: pages.origins.clone() }
}

/// A text in an attribute of HTML.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// The frame (`iframe`) with a stream's player, for pages of other sites, and which sites may show it. With `needs_token`, a viewer token
/// stands in place of TOKEN.
#[utoipa::path(
    get, path = "/api/v1/streams/{stream}/embed", tag = "streams",
    params(
        ("stream" = String, Path, description = "Name or identity"),
        ("base_url" = Option<String>, Query, description = "Where viewers reach the cluster, when a balancer's own address is not it"),
    ),
    responses((status = 200, description = "The frame", body = Frame)),
)]
pub(crate) async fn embed(
    State(shared): State<Arc<ControlState>>,
    Path(name): Path<String>,
    call: Call,
) -> Result<Response, Problem> {
    let channel = find(&shared, &call, &name).await?;
    let given = call.parameter("base_url").map(|base| base.trim_end_matches('/'));
    if given.is_some_and(|base| AllowedOrigin::parse(base).is_err() || base.contains('*')) {
        return Err(Problem::new(Type::Malformed, "base_url is https://HOST or https://HOST:PORT"));
    }
    let base = given.map(str::to_owned).or_else(|| viewers_base(&shared.cluster)).unwrap_or_default();
    Ok(respond(StatusCode::OK, &snippet(&base, &channel)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_of_a_stream_stays_text_in_the_frame() {
        assert_eq!(escaped("\"><script>'&"), "&quot;&gt;&lt;script&gt;&#39;&amp;");
    }
}
