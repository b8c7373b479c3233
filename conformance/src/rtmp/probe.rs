//! Decodes every frame of a case's media with `ffprobe`, in runs from one discontinuity to the next.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use tokio::process::Command;

use super::watch::{Record, Rendition, Segment};

/// Longest time to decode a run.
const TOOL_WAIT_MAX: Duration = Duration::from_secs(60);
/// Most complaints that are kept of a run; more show nothing new.
const COMPLAINTS_MAX: usize = 3;

/// Frames of one kind in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Track {
    /// Presentation time of the first frame, in seconds.
    pub start: f64,
    /// End of the last frame, in seconds.
    pub end: f64,
    pub frames: usize,
}

/// Segments of a rendition between two discontinuities.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Sum of their EXTINF.
    pub listed: Duration,
    /// Tracks by kind: `video` and `audio`.
    pub tracks: BTreeMap<String, Track>,
    /// Complaints of the decoders.
    pub complaints: Vec<String>,
}

/// Decodes everything. Returns the runs of each rendition, in order.
pub async fn probe(record: &Record) -> anyhow::Result<Vec<Vec<Run>>> {
    let mut renditions = Vec::new();
    for rendition in record.renditions.values() {
        let mut runs = Vec::new();
        for segments in runs_of(rendition) {
            runs.push(run(&segments).await?);
        }
        renditions.push(runs);
    }
    Ok(renditions)
}

/// Segments with media, cut where a player's decoder has to start again.
fn runs_of(rendition: &Rendition) -> Vec<Vec<&Segment>> {
    let mut runs: Vec<Vec<&Segment>> = Vec::new();
    let mut anew = true;
    for segment in rendition.segments.values() {
        if segment.gap {
            anew = true;
            continue;
        }
        let other = runs.last().and_then(|run| run.first()).is_some_and(|first| first.init != segment.init);
        match runs.last_mut().filter(|_| !anew && !segment.discontinuity && !other) {
            Some(run) => run.push(segment),
            None => runs.push(vec![segment]),
        }
        anew = false;
    }
    runs
}

async fn run(segments: &[&Segment]) -> anyhow::Result<Run> {
    let mut whole =
        segments.first().and_then(|first| first.init.as_ref()).map(|init| init.to_vec()).unwrap_or_default();
    let mut found = Run::default();
    for segment in segments {
        found.listed += segment.duration;
        match &segment.bytes {
            Some(bytes) if !bytes.is_empty() => whole.extend_from_slice(bytes),
            _ => found.complaints.push("a listed segment cannot be fetched".to_owned()),
        }
    }
    let file = tempfile::NamedTempFile::new()?;
    tokio::fs::write(file.path(), &whole).await?;
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-of", "compact=p=0", "-show_entries"]);
    command.arg("frame=media_type,best_effort_timestamp_time,pkt_duration_time,duration_time").arg(file.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(TOOL_WAIT_MAX, command.output()).await?.context("ffprobe is not on the PATH")?;
    found.tracks = tracks(&String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said.lines().map(|line| line.split_once("] ").map_or(line, |(_, said)| said).to_owned());
    found.complaints.extend(said.take(COMPLAINTS_MAX));
    Ok(found)
}

fn tracks(text: &str) -> BTreeMap<String, Track> {
    let mut tracks: BTreeMap<String, Track> = BTreeMap::new();
    for line in text.lines() {
        let field = |wanted: &str| {
            line.split('|')
                .filter_map(|field| field.split_once('='))
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| value)
        };
        let seconds = |name: &str| field(name).and_then(|value| value.parse::<f64>().ok());
        let (Some(kind), Some(start)) = (field("media_type"), seconds("best_effort_timestamp_time")) else { continue };
        let end = start + seconds("duration_time").or_else(|| seconds("pkt_duration_time")).unwrap_or(0.0);
        let track = tracks.entry(kind.to_owned()).or_insert(Track { start, end, frames: 0 });
        track.start = track.start.min(start);
        track.end = track.end.max(end);
        track.frames += 1;
    }
    tracks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(discontinuity: bool, gap: bool) -> Segment {
        Segment { duration: Duration::from_secs(1), discontinuity, gap, init: None, bytes: None }
    }

    #[test]
    fn runs_end_at_discontinuities_and_gaps() {
        let segments = [
            segment(true, false),
            segment(false, false),
            segment(false, true),
            segment(false, false),
            segment(true, false),
        ];
        let rendition = Rendition { segments: (0..).zip(segments).collect(), ..Rendition::default() };
        assert_eq!(runs_of(&rendition).iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1]);
    }

    #[test]
    fn frames_are_put_together_by_kind() {
        let text = "media_type=video|best_effort_timestamp_time=1.0|pkt_duration_time=0.5\n\
                    media_type=audio|best_effort_timestamp_time=1.1|pkt_duration_time=N/A\n\
                    media_type=video|best_effort_timestamp_time=1.5|duration_time=0.5\n";
        let tracks = tracks(text);
        assert_eq!(tracks["video"], Track { start: 1.0, end: 2.0, frames: 2 });
        assert_eq!(tracks["audio"], Track { start: 1.1, end: 1.1, frames: 1 });
    }
}
