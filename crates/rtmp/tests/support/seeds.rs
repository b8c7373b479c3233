//! Cuts a captured session into seeds for fuzzing.

use rtmp::{Event, Protocol, amf, chunk::ChunkReader};

/// C0, C1 and C2.
const HANDSHAKE_BYTES: usize = 1 + 1536 + 1536;
/// Bytes kept of a session after its handshake: all commands, metadata, configurations, and the first pictures and audio frames.
const SESSION_BYTES_MAX: usize = 8 * 1024;
/// Bytes kept of the body of a media message.
const BODY_BYTES_MAX: usize = 96;
/// Bodies kept of each kind.
const BODIES_MAX: usize = 4;

/// One file of a corpus.
pub(crate) struct Seed {
    /// Name of its fuzz target.
    pub(crate) target: &'static str,
    /// Name of the file.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// The seeds of a capture, which holds everything that `client` sent.
pub(crate) fn cut(client: &str, capture: &[u8]) -> Vec<Seed> {
    let (handshake, session) = capture.split_at(HANDSHAKE_BYTES);
    let seed = |target, name: &str, bytes: Vec<u8>| Seed { target, name: format!("{client}{name}"), bytes };
    let mut seeds = vec![
        seed("handshake", "", [&[64], handshake, &session[..16]].concat()),
        seed("session", "", [&[0, 0], &session[..session.len().min(SESSION_BYTES_MAX)]].concat()),
        seed("session", "-refused", [&[7, 1], &session[..session.len().min(1024)]].concat()),
    ];
    for (index, bytes) in commands(session).into_iter().enumerate() {
        seeds.push(seed("amf", &format!("-{index}"), bytes));
    }
    for (index, bytes) in bodies(session).into_iter().enumerate() {
        seeds.push(seed("flv", &format!("-{index}"), bytes));
    }
    seeds
}

/// Payloads of all commands and metadata before the first picture.
fn commands(session: &[u8]) -> Vec<Vec<u8>> {
    let mut reader = ChunkReader::new();
    reader.allow_media();
    reader.push(session);
    let mut found = Vec::new();
    while let Ok(Some(message)) = reader.next_message() {
        match message.kind {
            9 => break,
            15 | 18 | 20 if amf::decode(&message.data).is_ok() => found.push(message.data.to_vec()),
            _ => {}
        }
    }
    found
}

fn bodies(session: &[u8]) -> Vec<Vec<u8>> {
    let (mut protocol, mut found, mut pictures, mut sounds) = (Protocol::new(), Vec::new(), 0, 0);
    protocol.input(session);
    while let Ok(Some(event)) = protocol.next_event() {
        let (body, count) = match event {
            Event::Connect { .. } => {
                protocol.accept_connect();
                continue;
            }
            Event::Publish { .. } => {
                protocol.accept_publish();
                continue;
            }
            Event::Video { body, .. } => (body, &mut pictures),
            Event::Audio { body, .. } => (body, &mut sounds),
            _ => continue,
        };
        *count += 1;
        if *count <= BODIES_MAX {
            found.push(body.slice(..body.len().min(BODY_BYTES_MAX)).to_vec());
        }
    }
    found
}
