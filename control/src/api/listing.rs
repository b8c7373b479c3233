//! Lists: parameters, cursors and pages. Pure.

use catalogue::{Id, Kind, Page};
use media::UnixMillis;
use node::problem::Type;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::Problem;

/// Rows of a page, unless the client says otherwise, and at most.
const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 200;
/// Longest text to search for.
const SEARCH_CHARS_MAX: usize = 100;

/// Parameters that all lists have.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "the document is made of it; the parameters are read by name")]
pub(crate) struct ListParameters {
    /// Most rows of the answer, 1 to 200; 50 by default.
    limit: Option<u8>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `created_at`, or `-created_at` for the newest first.
    sort: Option<String>,
    /// Only rows that were made from then on, in Unix milliseconds.
    created_after: Option<i64>,
    /// Only rows that were made until then, in Unix milliseconds.
    created_before: Option<i64>,
    /// Only rows with this text in their name.
    q: Option<String>,
}

/// Which order a list has without `sort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    OldestFirst,
    NewestFirst,
}

/// The page that a request asks for. One row more is read than shown, to know whether there is another page.
pub(crate) fn page(caller: &Caller, kind: Kind, order: Order) -> Result<Page, Problem> {
    let limit =
        match caller.parameter("limit") {
            None => LIMIT,
            Some(text) => text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
                Problem::new(Type::Malformed, format!("limit has to be a number from 1 to {LIMIT_MAX}"))
            })?,
        };
    let is_newest_first = match caller.parameter("sort") {
        None => order == Order::NewestFirst,
        Some("created_at") => false,
        Some("-created_at") => true,
        Some(_) => return Err(Problem::new(Type::Malformed, "sort has to be created_at or -created_at")),
    };
    let cursor = caller.parameter("cursor").map(|text| read_cursor(text, kind)).transpose()?;
    let search = caller.parameter("q").unwrap_or_default();
    if search.chars().count() > SEARCH_CHARS_MAX {
        return Err(Problem::new(Type::Malformed, format!("q may have {SEARCH_CHARS_MAX} characters")));
    }
    Ok(Page {
        is_newest_first,
        after: cursor,
        made_after: time(caller, "created_after")?,
        made_before: time(caller, "created_before")?,
        like: if search.is_empty() { String::new() } else { Page::containing(search) },
        limit: limit + 1,
    })
}

fn time(caller: &Caller, name: &str) -> Result<Option<UnixMillis>, Problem> {
    let wrong = |_| Problem::new(Type::Malformed, format!("{name} has to be a time in Unix milliseconds"));
    caller.parameter(name).map(|text| text.parse().map(UnixMillis).map_err(wrong)).transpose()
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Rows<T> {
    #[schema(max_items = 250)]
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null at the end.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// The answer to a list: a page, and where the next one begins.
pub(crate) fn answer<T, V>(
    mut rows: Vec<T>,
    page: &Page,
    key: impl Fn(&T) -> (UnixMillis, Id),
    view: impl Fn(&T) -> V,
) -> Rows<V> {
    let shown = usize::try_from(page.limit.saturating_sub(1)).unwrap_or(0);
    let has_more = rows.len() > shown;
    rows.truncate(shown);
    let next = rows.last().filter(|_| has_more).map(|row| cursor(&key(row)));
    Rows { items: rows.iter().map(view).collect(), next_cursor: next }
}

fn cursor((at, id): &(UnixMillis, Id)) -> String {
    hex::encode(format!("{} {id}", at.0))
}

fn read_cursor(text: &str, kind: Kind) -> Result<(UnixMillis, Id), Problem> {
    let read = || {
        let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
        let (at, id) = text.split_once(' ')?;
        Some((UnixMillis(at.parse().ok()?), Id::parse(kind, id)?))
    };
    read().ok_or_else(|| Problem::new(Type::CursorInvalid, "this is no cursor of this list"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_read_back_and_that_of_another_list_is_not() {
        let at = (UnixMillis(7), Id::draw(Kind::Stream, UnixMillis(7)));
        assert_eq!(read_cursor(&cursor(&at), Kind::Stream).unwrap(), at);
        assert_eq!(read_cursor(&cursor(&at), Kind::ApiKey).unwrap_err().kind, Type::CursorInvalid);
        for bad in ["", "zz", "00", &cursor(&at)[2..]] {
            assert_eq!(read_cursor(bad, Kind::Stream).unwrap_err().kind, Type::CursorInvalid, "{bad}");
        }
    }
}
