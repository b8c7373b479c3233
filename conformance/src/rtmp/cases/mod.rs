//! The cases: what encoders and strangers really send, and what a server is expected to do with it.
//!
//! Each case is a small entry: its name, its area, what is sent, what is expected, and its script. No case covers the wrap of 33-bit
//! PES timestamps: RTMP's timestamps are 32-bit milliseconds, and each server maps them to transport streams in its own way.

mod amf;
mod audio;
mod chunk;
mod codec;
mod gop;
mod handshake;
mod session;
mod timing;
mod video;

pub use super::judge::{Outcome, Shows};

use super::clip::{Clips, Name};
use super::script::{Connection, Options, Script, Target, Wire};
use super::take::Take;

/// How long most cases send.
const LENGTH_MS: i64 = 8_000;
/// When something happens in the middle of a case.
const MIDDLE_MS: i64 = 4_000;

#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Name, for `--case`.
    pub name: &'static str,
    /// Area: the beginning of its name.
    pub area: &'static str,
    /// What is sent.
    pub what: &'static str,
    /// What is expected.
    pub outcome: Outcome,
    pub shows: Shows,
    /// About how long it sends, in seconds; long cases start first.
    pub seconds: u32,
    pub script: fn(&Studio<'_>) -> anyhow::Result<Script>,
}

impl Case {
    /// A case with video and audio that has to play.
    const fn new(
        area: &'static str,
        name: &'static str,
        what: &'static str,
        script: fn(&Studio<'_>) -> anyhow::Result<Script>,
    ) -> Self {
        Self { name, area, what, outcome: Outcome::Plays, shows: Shows::Both, seconds: 8, script }
    }

    const fn expecting(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    const fn showing(mut self, shows: Shows) -> Self {
        self.shows = shows;
        self
    }

    const fn lasting(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }
}

/// All cases, area by area.
#[must_use]
pub fn all() -> Vec<Case> {
    let areas = [
        &chunk::CASES[..],
        &handshake::CASES,
        &amf::CASES,
        &timing::CASES,
        &video::CASES,
        &gop::CASES,
        &audio::CASES,
        &codec::CASES,
        &session::CASES,
    ];
    areas.concat()
}

/// A normal publisher, which also follows each case: long enough for any server to list some of it.
pub(super) const NORMAL: Case =
    Case::new("", "normal", "a normal publisher", |studio| studio.script(Options::default(), studio.both(16_000)?));

/// What scripts are written with.
#[derive(Debug, Clone, Copy)]
pub struct Studio<'a> {
    pub clips: &'a Clips,
    pub target: &'a Target,
}

impl Studio<'_> {
    /// The normal clip up to `to_ms`.
    fn both(&self, to_ms: i64) -> anyhow::Result<Take> {
        Ok(Take::both(&*self.clips.get(Name::Normal)?, 0, to_ms))
    }

    /// The video of a clip with the normal audio, up to `to_ms`.
    fn pictures(&self, name: Name, to_ms: i64) -> anyhow::Result<Take> {
        Ok(Take::avc(&*self.clips.get(name)?, 0, to_ms).and(self.sound(to_ms)?))
    }

    /// The normal audio alone, up to `to_ms`.
    fn sound(&self, to_ms: i64) -> anyhow::Result<Take> {
        Ok(Take::aac(&*self.clips.get(Name::Normal)?, 0, to_ms))
    }

    /// A publisher that sends a take and unpublishes.
    fn connection(&self, options: Options, take: &Take) -> Connection {
        let mut wire = Wire::publishing(options, self.target);
        wire.media(take);
        wire.unpublish(&self.target.key);
        wire.connection()
    }

    /// A script with only that publisher.
    #[expect(clippy::needless_pass_by_value, reason = "scripts are written in one expression")]
    fn script(&self, options: Options, take: Take) -> anyhow::Result<Script> {
        Ok(Script::of(self.connection(options, &take)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_that_begins_with_its_area() {
        let names: BTreeSet<_> = all().iter().map(|case| case.name).collect();
        assert_eq!(names.len(), all().len());
        for case in all() {
            assert!(case.name.starts_with(&format!("{}-", case.area)), "{}", case.name);
            assert!(case.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        }
    }

    #[test]
    fn every_script_can_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let clips = Clips::new(directory.path());
        let target = Target { application: "live".to_owned(), url: "rtmp://h/live".to_owned(), key: "k".to_owned() };
        for case in all() {
            let script = (case.script)(&Studio { clips: &clips, target: &target });
            let script = script.unwrap_or_else(|error| panic!("{}: {error:#}", case.name));
            assert!(!script.connections.is_empty(), "{}", case.name);
            let plays = !matches!(case.outcome, Outcome::Refused | Outcome::Survives | Outcome::PlaysOrRefused);
            assert!(!plays || script.media().as_secs() >= 4, "{} sends too little", case.name);
        }
    }
}
