//! What the queries of all rows share: pages of a list, changes of one row, room for a stream.

use media::{StreamId, UnixMillis};

use crate::database::{Value, Writing};
use crate::id::Id;
use crate::{Error, STREAMS_MAX};

/// Which rows of a list are wanted.
#[derive(Debug, Clone)]
pub struct Page {
    pub is_newest_first: bool,
    /// Time and identity of the row after which it goes on.
    pub after: Option<(UnixMillis, Id)>,
    /// Only rows made from then on, and until then.
    pub made_after: Option<UnixMillis>,
    pub made_before: Option<UnixMillis>,
    /// A pattern for `LIKE`, in lower case and with `!` before what stands for itself; empty: all rows.
    pub like: String,
    pub limit: i64,
}

impl Page {
    pub(crate) fn values(&self) -> [Value<'_>; 6] {
        let (at, id) = match &self.after {
            Some((at, id)) => (at.0, id.as_str()),
            None if self.is_newest_first => (i64::MAX, ""),
            None => (i64::MIN, ""),
        };
        let number = |at: Option<UnixMillis>, none| Value::Number(at.map_or(none, |at| at.0));
        [
            Value::Number(at),
            Value::Text(id),
            number(self.made_after, i64::MIN),
            number(self.made_before, i64::MAX),
            Value::Text(&self.like),
            Value::Number(self.limit),
        ]
    }

    /// The pattern that finds a text anywhere.
    pub fn containing(text: &str) -> String {
        let mut like = String::with_capacity(text.len() + 2);
        like.push('%');
        for character in text.chars().flat_map(char::to_lowercase) {
            if matches!(character, '!' | '%' | '_') {
                like.push('!');
            }
            like.push(character);
        }
        like.push('%');
        like
    }
}

/// The one row that a change was for is there in the version that it was for.
pub(crate) fn one(changed: u64) -> Result<(), Error> {
    if changed == 1 { Ok(()) } else { Err(Error::VersionMismatch) }
}

/// Refuses a stream more than there may be.
pub(crate) async fn ensure_room(writing: &mut Writing) -> Result<(), Error> {
    let counts = writing.fetch::<(i64,)>("SELECT COUNT(*) FROM streams", &[]).await?;
    if counts.iter().any(|(count,)| *count >= STREAMS_MAX) { Err(Error::Full) } else { Ok(()) }
}

pub(crate) fn key_taken(error: sqlx::Error, name: &StreamId) -> Error {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => Error::KeyTaken(name.clone()),
        _ => Error::Database(error),
    }
}
