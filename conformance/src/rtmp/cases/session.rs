//! Publishers that come, leave, and compete for a stream.

use std::time::Duration;

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Act, Answer, Connection, Options, Script, Target, Wire};

/// How long encoders wait before they connect again (OBS's default).
const RETRY: Duration = Duration::from_secs(2);
/// Connections with a wrong key.
const WRONG: u64 = 20;

pub(super) const CASES: [Case; 5] = [
    Case::new(
        "session",
        "session-half-open",
        "the cable is pulled; after 2 s the encoder connects with the same key, again and again",
        |studio| {
            let mut pulled = Wire::publishing(Options::default(), studio.target);
            pulled.media(&studio.both(MIDDLE_MS)?);
            pulled.act(Act::Leave);
            let back = studio.connection(Options::default(), &studio.both(LENGTH_MS)?);
            // The last media of the first publisher may be lost with it.
            let back = back.beginning(6_000).retrying(RETRY);
            Ok(Script { connections: vec![pulled.connection(), back] })
        },
    )
    .expecting(Outcome::PlaysWithOneDiscontinuity)
    .lasting(20),
    Case::new("session", "session-two-publishers", "a second publisher comes with the key of the first", |studio| {
        let first = studio.connection(Options::default(), &studio.both(LENGTH_MS)?);
        let second = studio.connection(Options::default(), &studio.both(1_000)?);
        Ok(Script { connections: vec![first, second.beginning(3_000).answered(Answer::Refused)] })
    }),
    Case::new("session", "session-wrong-key", "20 publishers with a wrong key, one after the other", |studio| {
        let target = Target { key: format!("{}-wrong", studio.target.key), ..studio.target.clone() };
        let publisher = |count: u64| -> anyhow::Result<Connection> {
            let mut wire = Wire::publishing(Options::default(), &target);
            wire.media(&studio.both(1_000)?);
            Ok(wire.connection().beginning(count * 200).answered(Answer::Refused))
        };
        Ok(Script { connections: (0..WRONG).map(publisher).collect::<anyhow::Result<_>>()? })
    })
    .expecting(Outcome::Refused),
    Case::new(
        "session",
        "session-again",
        "unpublished, and published again over a new connection, the clock at 0",
        |studio| {
            let first = studio.connection(Options::default(), &studio.both(LENGTH_MS)?);
            let second = studio.connection(Options::default(), &studio.both(LENGTH_MS)?);
            Ok(Script { connections: vec![first, second.beginning(9_000).retrying(RETRY)] })
        },
    )
    .expecting(Outcome::PlaysWithOneDiscontinuity)
    .lasting(20),
    Case::new(
        "session",
        "session-again-same-connection",
        "unpublished, and published again over the same connection",
        same_connection,
    )
    .expecting(Outcome::PlaysWithOneDiscontinuity)
    .lasting(20),
];

fn same_connection(studio: &Studio<'_>) -> anyhow::Result<Script> {
    let take = studio.both(LENGTH_MS)?;
    let mut wire = Wire::publishing(Options::default(), studio.target);
    wire.media(&take);
    wire.unpublish(&studio.target.key);
    wire.act(Act::Pause(Duration::from_millis(500)));
    wire.create();
    wire.publish(&studio.target.key);
    wire.media(&take);
    wire.unpublish(&studio.target.key);
    Ok(Script::of(wire.connection()))
}
