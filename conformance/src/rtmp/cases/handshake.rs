//! The handshake (RTMP 1.0, 5.2), and the commands before the first frame.

use std::time::Duration;

use super::{Case, LENGTH_MS};
use crate::rtmp::amf::{self, Value};
use crate::rtmp::chunk::kind;
use crate::rtmp::handshake::Kind;
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Answer, Options, Pace, Script, Wire, normal_metadata};
use crate::rtmp::take::Take;

pub(super) const CASES: [Case; 8] = [
    Case::new("handshake", "handshake-simple", "the simple handshake", |studio| {
        studio.script(Options::default(), studio.both(LENGTH_MS)?)
    }),
    Case::new("handshake", "handshake-digest", "the handshake with digests", |studio| {
        studio.script(Options { handshake: Kind::Digest, ..Options::default() }, studio.both(LENGTH_MS)?)
    }),
    Case::new("handshake", "handshake-bytewise", "the handshake byte by byte", |studio| {
        studio.script(Options { pace: Pace::Bytewise, ..Options::default() }, studio.both(LENGTH_MS)?)
    }),
    Case::new("handshake", "handshake-slow-loris", "a byte of the handshake every half second, without end", |_| {
        let options = Options { pace: Pace::Drip(Duration::from_millis(500)), ..Options::default() };
        Ok(Script::of(Wire::new(options).connection().answered(Answer::Refused)))
    })
    .expecting(Outcome::Refused)
    .lasting(30),
    Case::new("handshake", "handshake-garbage", "a megabyte that is no RTMP", |_| {
        let mut wire = Wire::new(Options::default());
        let noise: Vec<u8> = (0..1_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        wire.act(crate::rtmp::script::Act::Write(noise.into()));
        Ok(Script::of(wire.connection().answered(Answer::Any)))
    })
    .expecting(Outcome::Survives),
    Case::new("handshake", "handshake-no-release-stream", "neither releaseStream nor FCPublish", |studio| {
        let options = Options { release: false, fc_publish: false, ..Options::default() };
        studio.script(options, studio.both(LENGTH_MS)?)
    }),
    Case::new("handshake", "handshake-fc-publish-only", "FCPublish without releaseStream", |studio| {
        studio.script(Options { release: false, ..Options::default() }, studio.both(LENGTH_MS)?)
    }),
    Case::new("handshake", "handshake-no-set-data-frame", "onMetaData without @setDataFrame", |studio| {
        let bare = Take::one(0, kind::DATA, amf::write(&[Value::text("onMetaData"), normal_metadata()]).into());
        studio.script(Options { metadata: false, ..Options::default() }, bare.and(studio.both(LENGTH_MS)?))
    }),
];
