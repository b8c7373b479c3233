//! The calls of a page, as numbers and bytes, and the answers as JSON. Pure.
//!
//! | call | input | does |
//! |---|---|---|
//! | 1 | name of the stream, a line feed, and the fingerprint in hexadecimal or nothing | begins anew |
//! | 2 | an answer of `/api/v1/trust/{stream}` | [`Verifier::take_trust`] |
//! | 3 | an answer of `/live/{stream}/seals` | [`Verifier::take_seals`] |
//! | 4 | the same, from before the oldest seal here | [`Verifier::take_past`] |
//! | 5 | place of an object, a line feed, and its bytes | [`Verifier::object`] |
//! | 6 | nothing | only answers |
//! | 7 | public key, signature and message | answers `true` or `false`: for tests and benchmarks |
//!
//! Every other answer is one object, whose fields `web/verify/src/core.ts` describes.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use media::StreamId;
use seal::limits::{OBJECT_BYTES_MAX, PUBLIC_KEY_BYTES};
use seal::{PublicKey, Refusal};

use crate::{Standing, Verifier};

/// Bytes of an ML-DSA-44 signature.
const SIGNATURE_BYTES: usize = 2_420;

/// Most bytes of an input beside an object: its place.
const PLACE_BYTES_MAX: u64 = 1_024;

/// Room for an input of so many bytes; `None` for what is longer than any object that a seal may name, or than the memory here.
pub fn room(length: usize) -> Option<Vec<u8>> {
    if u64::try_from(length).ok()? > OBJECT_BYTES_MAX.saturating_add(PLACE_BYTES_MAX) {
        return None;
    }
    let mut input = Vec::new();
    input.try_reserve_exact(length).ok()?;
    input.resize(length, 0);
    Some(input)
}

/// The verifier of a page, and its answers.
#[derive(Default)]
pub struct Calls {
    verifier: Option<Verifier>,
}

impl Calls {
    /// Answers a call. `now` is any clock that does not go back.
    pub fn answer(&mut self, call: u32, input: Vec<u8>, now: Duration) -> String {
        if call == 7 {
            return is_signed(&input).to_string();
        }
        let taken = self.take(call, input, now);
        let mut json = String::with_capacity(1_024);
        self.write(&mut json, taken.as_ref().err(), now);
        json
    }

    fn take(&mut self, call: u32, input: Vec<u8>, now: Duration) -> Result<(), Refusal> {
        if call == 1 {
            self.verifier = Some(open(&input)?);
            return Ok(());
        }
        let Some(verifier) = &mut self.verifier else {
            return Err(Refusal::malformed("the first call has to be 1"));
        };
        match call {
            2 => verifier.take_trust(&input),
            3 => verifier.take_seals(&Bytes::from(input), now),
            4 => verifier.take_past(&Bytes::from(input), now),
            5 => {
                let (place, bytes) = line(&input)?;
                verifier.object(place, bytes, now);
                Ok(())
            }
            6 => Ok(()),
            other => Err(Refusal::malformed(format!("there is no call {other}"))),
        }
    }

    fn write(&self, json: &mut String, refused: Option<&Refusal>, now: Duration) {
        let mut object = Object::begin(json);
        object.put("refused", |w| refusal(w, refused));
        if let Some(verifier) = &self.verifier {
            fields(&mut object, &verifier.standing(now));
        }
        object.end();
    }
}

fn open(input: &[u8]) -> Result<Verifier, Refusal> {
    let (stream, fingerprint) = line(input)?;
    let stream = StreamId::new(stream).map_err(|error| Refusal::malformed(error.to_string()))?;
    let fingerprint = (!fingerprint.is_empty()).then(|| hex::decode(fingerprint)).transpose();
    Verifier::new(stream, fingerprint.map_err(|error| Refusal::malformed(error.to_string()))?)
}

/// Cuts an input at its first line feed.
fn line(input: &[u8]) -> Result<(&str, &[u8]), Refusal> {
    let malformed = || Refusal::malformed("no line in front");
    let end = input.iter().position(|byte| *byte == b'\n').ok_or_else(malformed)?;
    let (text, rest) = input.split_at(end);
    let (_, rest) = rest.split_first().ok_or_else(malformed)?;
    Ok((std::str::from_utf8(text).map_err(|_| malformed())?, rest))
}

fn is_signed(input: &[u8]) -> bool {
    let Some((key, rest)) = input.split_at_checked(PUBLIC_KEY_BYTES) else { return false };
    let Some((signature, message)) = rest.split_at_checked(SIGNATURE_BYTES) else { return false };
    PublicKey::from_bytes(key).is_ok_and(|key| key.verify(message, signature))
}

fn fields(object: &mut Object<'_>, standing: &Standing<'_>) {
    let Standing { said, seals, objects, waiting, before, longest_wait, unlisted, node, place, next, doubt, wrong } =
        standing;
    object.put("seals", |w| number(w, *seals));
    object.put("objects", |w| number(w, *objects));
    object.put("waiting", |w| number(w, *waiting as u64));
    object.put("before", |w| number(w, *before as u64));
    object.put("longestWaitMs", |w| number(w, u64::try_from(longest_wait.as_millis()).unwrap_or(u64::MAX)));
    object.put("unlisted", |w| number(w, *unlisted));
    object.put("next", |w| optional(w, next.map(|next| next.0), number));
    object.put("node", |w| optional(w, *node, text));
    object.put("doubt", |w| refusal(w, *doubt));
    object.put("wrong", |w| optional(w, *wrong, text));
    object.put("root", |w| optional(w, said.map(|said| hex::encode(said.root)).as_deref(), text));
    object.put("log", |w| optional(w, said.map(|said| said.log.to_string()).as_deref(), text));
    object.put("saidAt", |w| optional(w, said.map(|said| said.at.0), signed));
    let kept = said.and_then(|said| said.kept);
    object.put("keptFrom", |w| optional(w, kept.map(|(oldest, _)| oldest.0), number));
    object.put("keptTo", |w| optional(w, kept.map(|(_, newest)| newest.0), number));
    object.put("key", |w| optional(w, place.map(|place| place.key.to_string()).as_deref(), text));
    object.put("digest", |w| optional(w, place.map(|place| hex::encode(place.digest.0)).as_deref(), text));
    object.put("epoch", |w| optional(w, place.map(|place| place.epoch.0), number));
    object.put("sequence", |w| optional(w, place.map(|place| place.sequence.0), number));
    object.put("oldest", |w| optional(w, place.and_then(|place| place.oldest).map(|(oldest, _)| oldest.0), number));
    object.put("issuedAt", |w| optional(w, place.map(|place| place.issued_at.0), signed));
}

fn number(json: &mut String, value: u64) {
    _ = write!(json, "{value}");
}

fn signed(json: &mut String, value: i64) {
    _ = write!(json, "{value}");
}

fn optional<T>(json: &mut String, value: Option<T>, write: impl FnOnce(&mut String, T)) {
    match value {
        Some(value) => write(json, value),
        None => json.push_str("null"),
    }
}

/// RFC 8259, 7.
fn text(json: &mut String, value: &str) {
    json.push('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            character if character.is_control() => _ = write!(json, "\\u{:04x}", u32::from(character) & 0xffff),
            character => json.push(character),
        }
    }
    json.push('"');
}

fn refusal(json: &mut String, value: Option<&Refusal>) {
    optional(json, value, |json, refusal| {
        let mut object = Object::begin(json);
        object.put("reason", |w| text(w, refusal.reason.label()));
        object.put("detail", |w| text(w, &refusal.detail));
        object.end();
    });
}

/// A JSON object that is being written.
struct Object<'w> {
    json: &'w mut String,
    is_empty: bool,
}

impl<'w> Object<'w> {
    fn begin(json: &'w mut String) -> Self {
        json.push('{');
        Self { json, is_empty: true }
    }

    fn put(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        if !std::mem::take(&mut self.is_empty) {
            self.json.push(',');
        }
        text(self.json, name);
        self.json.push(':');
        write(self.json);
    }

    fn end(self) {
        self.json.push('}');
    }
}
