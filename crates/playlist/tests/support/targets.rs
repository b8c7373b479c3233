//! The bodies of the fuzz targets; tests run them on random bytes and on the corpus.

use playlist::reload::Extent;
use playlist::reload::{Answer, BadDirective, Directives};
use playlist::{Timeline, render};

use super::script::{Event, Script};
use super::viewer::Stream;
use super::{delta, fold_with, full, ladder, writer::Writer};

/// Writes a log by a script, and lets viewers watch it from the first seal to the last.
pub(crate) fn log(bytes: &[u8]) {
    let script = Script::read(bytes);
    let mut stream = Stream::new(script.settings);
    let mut log = Vec::new();
    let mut went_back = false;
    for event in &script.events {
        match event {
            Event::Seal(body) => {
                stream.apply(body);
                log.push(body.clone());
            }
            Event::VoidAfter(sequence) => {
                stream.void_after(*sequence);
                went_back = true;
                log.retain(|body: &seal::SealBody| body.sequence <= *sequence);
            }
            Event::Tampered(body) => {
                let mut timeline = stream.timeline.clone();
                let before = timeline.clone();
                if timeline.apply(body).is_err() {
                    assert_eq!(timeline, before, "what contradicts the log changes nothing");
                }
                timeline.check_invariants();
                texts(&timeline);
            }
            Event::Join => join(&stream.timeline, &log, went_back),
        }
    }
    join(&stream.timeline, &script.log, went_back);
}

/// A node that joins at the oldest needed seal gets the same playlists.
fn join(timeline: &Timeline, log: &[seal::SealBody], went_back: bool) {
    // When the log has gone back and the new epoch has not begun, there is nothing to compare.
    let Some(from) = timeline.oldest_needed().filter(|_| timeline.head() == log.last().map(|body| body.sequence))
    else {
        return;
    };
    let from = log.partition_point(|body| body.sequence < from);
    let mut late = Timeline::new(timeline.settings());
    log[from..].iter().for_each(|body| _ = late.apply(body).expect("it was taken before"));
    late.check_invariants();
    let front = |timeline: &Timeline| timeline.listed().next().map(|segment| segment.key());
    if went_back && front(&late) != front(timeline) {
        // Segments that left at the front because of seals now void do not come back.
        return;
    }
    assert_eq!(texts(&late), texts(timeline));
    assert_eq!(late.edge(), timeline.edge());
}

/// All playlists of a stream.
fn texts(timeline: &Timeline) -> Vec<Option<String>> {
    let renditions = timeline.renditions();
    let media = renditions.iter().flat_map(|name| {
        let i_frames = |extent| render::iframes(timeline, name, extent);
        [full(timeline, name), delta(timeline, name), i_frames(Extent::Full), i_frames(Extent::Delta)]
    });
    media.chain([render::multivariant(timeline)]).collect()
}

/// Reads a query, and answers it at some edge, which the first byte selects.
pub(crate) fn directives(bytes: &[u8]) {
    let (edge, query) = bytes.split_first().unwrap_or((&0, &[]));
    let Ok(query) = std::str::from_utf8(query) else { return };
    match Directives::parse(query) {
        Ok(directives) => understood(query, &directives, *edge),
        Err(BadDirective::PartAlone) => {
            let mut names = query.split('&').map(|pair| pair.split('=').next());
            assert!(names.all(|name| name != Some("_HLS_msn")));
        }
        Err(BadDirective::NotANumber(name) | BadDirective::Repeated(name)) => assert!(query.contains(name)),
    }
}

fn understood(query: &str, directives: &Directives, edge: u8) {
    let Directives { msn, part, extent } = *directives;
    assert!(part.is_none() || msn.is_some());
    // The plain form of the query means the same.
    let mut plain = Vec::new();
    plain.extend(msn.map(|msn| format!("_HLS_msn={msn}")));
    plain.extend(part.map(|part| format!("_HLS_part={part}")));
    plain.extend((extent == Extent::Delta).then(|| "_HLS_skip=YES".to_owned()));
    assert_eq!(Directives::parse(&plain.join("&")), Ok(*directives), "{query}");

    let mut writer = Writer::new(ladder(&[360], false));
    writer.segments(1 + usize::from(edge % 3));
    (0..edge / 4 % 8).for_each(|_| _ = writer.row(super::writer::PART, false, None));
    if edge >= 128 {
        writer.end();
    }
    let timeline = fold_with(&writer.log, playlist::Settings::default());
    let edge = timeline.edge().expect("a segment is complete");
    let text = full(&timeline, &super::rendition("360p")).expect("a segment is complete");
    let answer = edge.answer(directives);
    let Some(msn) = msn else { return assert_eq!(answer, Answer::Now) };
    let playlist = super::client::Playlist::parse(&text);
    assert_eq!(answer, super::oracle::answer(&playlist, msn.0, part.map(|part| part.0)), "{query}");
}
