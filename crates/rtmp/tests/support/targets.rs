//! The bodies of the fuzz targets; tests run them on the corpus.

use bytes::Bytes;
use rtmp::handshake::{Handshake, HandshakeError, RANDOM_BYTES};
use rtmp::{Event, Protocol, amf, flv};

/// C1, S1, C2 and S2 each.
const PACKET_BYTES: usize = 1536;
/// Most bytes of an answer to one byte that completes a message (the answer to the shortest `connect`), and per input byte.
const ANSWER_BYTES_MAX: usize = 1024;
const ANSWER_BYTES_PER_BYTE_MAX: usize = 32;

/// Cuts bytes into pieces of `step`; a step of 0 gives everything at once.
fn pieces(bytes: &[u8], step: u8) -> impl Iterator<Item = &[u8]> {
    let step = if step == 0 { bytes.len().max(1) } else { usize::from(step) };
    bytes.chunks(step)
}

/// A handshake. The first byte is the length of the pieces in which the others arrive; the cuts must not change the result.
pub(crate) fn handshake(bytes: &[u8]) {
    let Some((step, bytes)) = bytes.split_first() else { return };
    assert_eq!(shake(bytes, *step), shake(bytes, 0), "pieces change what is said");
}

fn shake(bytes: &[u8], step: u8) -> Result<(Vec<u8>, Option<Vec<u8>>), HandshakeError> {
    let mut handshake = Handshake::new(Box::new([0x5A; RANDOM_BYTES]));
    let (mut answers, mut rest) = (Vec::new(), None);
    for piece in pieces(bytes, step) {
        if let Some(rest) = &mut rest {
            Vec::extend_from_slice(rest, piece);
            continue;
        }
        let progress = handshake.input(piece)?;
        answers.extend(progress.answer);
        rest = progress.rest;
    }
    assert!([0, 1 + 2 * PACKET_BYTES].contains(&answers.len()), "{} bytes in answer", answers.len());
    assert_eq!(answers.is_empty(), bytes.len() < 1 + PACKET_BYTES, "answered once C1 is whole");
    assert_eq!(rest.as_ref().map(Vec::len), bytes.len().checked_sub(1 + 2 * PACKET_BYTES));
    Ok((answers, rest))
}

/// A connection after its handshake, answered as the server does. The first byte is the length of the pieces in which the rest
/// arrives; the second decides whether the server accepts `publish`.
pub(crate) fn session(bytes: &[u8]) {
    let [step, mood, bytes @ ..] = bytes else { return };
    let is_welcome = mood & 1 == 0;
    assert_eq!(serve(bytes, *step, is_welcome), serve(bytes, 0, is_welcome), "pieces change what is meant");
}

/// Serves the connection, and returns everything that happened as text.
fn serve(bytes: &[u8], step: u8, is_welcome: bool) -> Vec<String> {
    let (mut protocol, mut seen) = (Protocol::new(), Vec::new());
    for piece in pieces(bytes, step) {
        protocol.input(piece);
        loop {
            match protocol.next_event() {
                Ok(Some(event)) => {
                    let is_over = answer(&mut protocol, &event, is_welcome);
                    seen.push(words(event));
                    if is_over {
                        return seen;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.limit().is_none_or(|limit| !limit.is_empty()));
                    seen.push(error.to_string());
                    return seen;
                }
            }
        }
        protocol.check_invariants();
        let answered = protocol.take_output().len();
        let most = ANSWER_BYTES_MAX + ANSWER_BYTES_PER_BYTE_MAX * piece.len();
        assert!(answered <= most, "{answered} bytes in answer to {}", piece.len());
    }
    seen
}

/// Answers an event; returns whether the server then closes the connection.
fn answer(protocol: &mut Protocol, event: &Event, is_welcome: bool) -> bool {
    match event {
        Event::Connect { .. } => protocol.accept_connect(),
        Event::Publish { .. } if is_welcome => protocol.accept_publish(),
        Event::Publish { .. } => {
            protocol.reject_publish("NetStream.Publish.BadName", "no");
            return true;
        }
        Event::Play => {
            protocol.reject_play();
            return true;
        }
        Event::Unpublish => return true,
        Event::Metadata(_) | Event::Video { .. } | Event::Audio { .. } => {}
    }
    false
}

fn words(event: Event) -> String {
    match event {
        Event::Publish { key } => format!("publish {:?}", key.expose()),
        Event::Video { stamp_ms, body } => format!("{stamp_ms} {} {:?}", body.len(), flv::video(&body)),
        Event::Audio { stamp_ms, body } => format!("{stamp_ms} {} {:?}", body.len(), flv::audio(&body)),
        other => format!("{other:?}"),
    }
}

/// AMF 0. Values that were read are the same after writing and reading them again.
pub(crate) fn amf(bytes: &[u8]) {
    /// Writing cuts strings of 64 KiB and more, and turns a byte that is not UTF-8 into three.
    const WRITTEN_WHOLE_MAX: usize = 21_000;
    let Ok(values) = amf::decode(bytes) else { return };
    if bytes.len() <= WRITTEN_WHOLE_MAX {
        let written = amf::encode(&values);
        let again = amf::decode(&written).expect("what was written reads");
        assert_eq!(amf::encode(&again), written);
    }
}

/// Bodies of media messages, each read as video and as audio. An error has a text.
pub(crate) fn flv(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    for read in [flv::video(&body), flv::audio(&body)] {
        match read {
            Ok(flv::Body::Video { data, .. } | flv::Body::Audio(data)) => {
                assert!(!data.is_empty() && bytes.ends_with(&data), "media are the body's end");
            }
            Ok(_) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
