//! Tests of rules that the broken origin does not break, each on playlists in this file.

use std::sync::Arc;
use std::time::Duration;

use super::ROWS;
use crate::observation::{Answer, Asked, Load, Observation, RenditionSeen, Role, Version};
use crate::playlist::{MediaPlaylist, Multivariant, Text};
use crate::verdict::{Status, Verdict};

fn text(text: &str) -> Arc<Text> {
    Arc::new(Text::read(text.as_bytes()))
}

/// A record of a playlist with these versions, one every two seconds.
fn watched(playlists: &[&str]) -> Observation {
    let mut rendition = RenditionSeen {
        name: "v".to_owned(),
        url: "https://x.test/v/index.m3u8".to_owned(),
        roles: vec![Role::Alone],
        ..RenditionSeen::default()
    };
    for (number, written) in (0_u64..).zip(playlists) {
        let at = Duration::from_secs(2 * number);
        let playlist = Arc::new(MediaPlaylist::read(&text(written)));
        let answer = Answer { asked: at, done: at, status: 200, ..Answer::default() };
        let (end, ended) = (playlist.end(), playlist.ended);
        rendition.loads.push(Load { asked: Asked::Plain, answer, end, ended });
        rendition.versions.push(Version { at, sent: at, asked: Asked::Plain, playlist });
    }
    Observation { url: "https://x.test/index.m3u8".to_owned(), renditions: vec![rendition], ..Observation::default() }
}

fn judge(row: usize, observation: &Observation) -> Verdict {
    (ROWS[row - 1].judge)(observation)
}

/// Status of a row for these versions, and its first finding.
fn says(row: usize, playlists: &[&str]) -> (Status, String) {
    let verdict = judge(row, &watched(playlists));
    (verdict.status, verdict.evidence.first().map_or(String::new(), |found| found.text.clone()))
}

fn live(first: u64, tags: &str, segments: &[&str]) -> String {
    let mut written = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{tags}");
    for segment in segments {
        written.push_str(&format!("#EXTINF:2,\n{segment}\n"));
    }
    written
}

#[test]
fn media_sequence_may_not_go_back() {
    let (before, after) = (live(5, "", &["5.ts", "6.ts"]), live(4, "", &["4.ts", "5.ts", "6.ts"]));
    assert_eq!(says(6, &[&before, &after]), (Status::Fail, "v: EXT-X-MEDIA-SEQUENCE went back from 5 to 4".to_owned()));
}

#[test]
fn media_sequence_rises_by_one_for_each_removal() {
    let before = live(5, "", &["5.ts", "6.ts", "7.ts"]);
    let (right, wrong) = (live(6, "", &["6.ts", "7.ts"]), live(7, "", &["6.ts", "7.ts", "8.ts"]));
    assert_eq!(says(6, &[&before, &right]).0, Status::Pass);
    assert_eq!(says(6, &[&before, &wrong]), (Status::Fail, "v segment 7: 7.ts became 6.ts".to_owned()));
}

#[test]
fn parts_leave_from_the_front_and_join_at_the_end_only() {
    let parts = |indices: &[u32]| {
        let tags =
            indices.iter().map(|index| format!("#EXT-X-PART:DURATION=1,URI=\"5.{index}.mp4\"\n")).collect::<String>();
        live(5, "#EXT-X-PART-INF:PART-TARGET=1\n", &[]) + &tags
    };
    let whole = |tags: &str| format!("{tags}#EXTINF:2,\n5.mp4\n");
    assert_eq!(says(6, &[&parts(&[0]), &parts(&[0, 1]), &whole(&parts(&[0, 1])), &whole(&parts(&[]))]).0, Status::Pass);
    assert_eq!(
        says(6, &[&parts(&[0]), &parts(&[3, 1])]),
        (Status::Fail, "v segment 5: part 5.0.mp4 became 5.3.mp4".to_owned())
    );
    assert_eq!(
        says(6, &[&whole(&parts(&[0, 1])), &whole(&parts(&[0, 2]))]),
        (Status::Fail, "v segment 5: its parts changed".to_owned())
    );
}

#[test]
fn a_map_may_not_change_under_a_listed_segment() {
    let with = |map: &str| live(5, &format!("#EXT-X-MAP:URI=\"{map}\"\n"), &["5.mp4"]);
    assert_eq!(says(5, &[&with("a.mp4"), &with("b.mp4")]).0, Status::Fail);
}

#[test]
fn a_playlist_that_stands_still_is_late() {
    let playlist = live(5, "", &["5.ts", "6.ts", "7.ts"]);
    let longer = live(5, "", &["5.ts", "6.ts", "7.ts", "8.ts"]);
    assert_eq!(says(7, &[&playlist, &longer]).0, Status::Pass);
    let (status, finding) = says(7, &[&playlist, &playlist, &playlist, &longer]);
    assert_eq!(
        (status, finding.as_str()),
        (Status::Fail, "v: segment 8 6.000 s after the one before, allowed are 3.000 s")
    );
    // No tag declares it a gap.
    assert_eq!(says(14, &[&playlist, &playlist, &playlist, &longer]).0, Status::Warn);
}

#[test]
fn three_target_durations_are_left_after_a_removal() {
    let before = live(5, "", &["5.ts", "6.ts", "7.ts"]);
    assert_eq!(says(8, &[&before, &live(6, "", &["6.ts", "7.ts"])]).0, Status::Fail);
    // Apple's rule, not the draft's, requires six segments of a stream that is not new.
    let verdict = judge(8, &watched(&[&before, &live(6, "", &["6.ts", "7.ts", "8.ts"])]));
    assert_eq!(verdict.evidence.iter().map(|found| found.section.as_str()).collect::<Vec<_>>(), ["A8.11"]);
}

#[test]
fn a_gap_is_a_gap_with_all_of_its_parts() {
    let tags = "#EXT-X-PART-INF:PART-TARGET=2\n#EXT-X-GAP\n";
    let with = |part: &str| live(5, &format!("{tags}#EXT-X-PART:DURATION=2,URI=\"5.0.mp4\"{part}\n"), &["5.mp4"]);
    assert_eq!(says(14, &[&with("")]).0, Status::Fail);
    assert!(judge(14, &watched(&[&with(",GAP=YES")])).evidence.is_empty());
}

#[test]
fn what_is_on_from_the_start_is_vod() {
    let ended = |kind: &str| live(0, kind, &["0.ts"]) + "#EXT-X-ENDLIST\n";
    assert_eq!(says(12, &[&ended("")]).0, Status::Fail);
    assert_eq!(says(12, &[&ended("#EXT-X-PLAYLIST-TYPE:VOD\n")]).0, Status::Pass);
    assert_eq!(says(12, &[&ended("#EXT-X-PLAYLIST-TYPE:VOD\n"), &live(0, "", &["0.ts"])]).0, Status::Fail);
}

#[test]
fn hints_end_with_the_stream() {
    let hinted = live(0, "#EXT-X-PART-INF:PART-TARGET=1\n", &["0.mp4"])
        + "#EXT-X-PART:DURATION=1,URI=\"1.0.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.mp4\"\n";
    assert_eq!(says(29, &[&hinted]).0, Status::Pass);
    assert_eq!(says(29, &[&(hinted + "#EXT-X-ENDLIST\n")]).0, Status::Fail);
}

#[test]
fn tags_of_a_segment_stand_before_its_first_part() {
    let late = live(0, "#EXT-X-PART-INF:PART-TARGET=1\n", &[])
        + "#EXT-X-PART:DURATION=1,URI=\"0.0.mp4\"\n#EXT-X-DISCONTINUITY\n#EXTINF:1,\n0.mp4\n";
    let (status, finding) = says(2, &[&late]);
    assert_eq!(status, Status::Fail);
    assert!(finding.contains("stands after the first part"), "{finding}");
}

#[test]
fn hold_backs_have_their_least_values() {
    let with = |control: &str| {
        live(0, &format!("#EXT-X-PART-INF:PART-TARGET=0.5\n#EXT-X-SERVER-CONTROL:{control}\n"), &["0.mp4"])
    };
    assert_eq!(says(28, &[&with("PART-HOLD-BACK=1.5,HOLD-BACK=6,CAN-SKIP-UNTIL=12")]).0, Status::Pass);
    for (control, section) in [
        ("PART-HOLD-BACK=0.9", "D4.4.3.8"),
        // Twice the part target is enough for the draft, but not for Apple.
        ("PART-HOLD-BACK=1.2", "A14.3"),
        ("PART-HOLD-BACK=1.5,HOLD-BACK=5.9", "D4.4.3.8"),
        ("PART-HOLD-BACK=1.5,CAN-SKIP-UNTIL=11.9", "D4.4.3.8"),
        ("HOLD-BACK=6", "D4.4.3.8"),
    ] {
        let verdict = judge(28, &watched(&[&with(control)]));
        assert_eq!(
            verdict.evidence.iter().map(|found| found.section.as_str()).collect::<Vec<_>>(),
            [section],
            "{control}"
        );
    }
}

#[test]
fn alternatives_of_sound_have_languages_and_playlists_of_their_own() {
    let says = |media: &str| {
        let written =
            format!("#EXTM3U\n{media}#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"mp4a.40.2\",AUDIO=\"a\"\nv.m3u8\n");
        let multivariant = Some(Arc::new(Multivariant::read(&text(&written))));
        judge(26, &Observation { multivariant, ..watched(&[]) })
            .evidence
            .iter()
            .map(|found| found.section.clone())
            .collect::<Vec<_>>()
    };
    let one = |name: &str, rest: &str| format!("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"{name}\"{rest}\n");
    assert_eq!(says(&one("x", ",LANGUAGE=\"en\"")), Vec::<String>::new());
    assert_eq!(says(&one("x", "")), ["A8.10"]);
    assert_eq!(says(&(one("x", ",LANGUAGE=\"en\"") + &one("y", ",LANGUAGE=\"de\""))), ["A9.7"]);
}

#[test]
fn rows_stand_in_the_order_of_their_numbers() {
    for (number, row) in (1..).zip(&ROWS) {
        assert_eq!(row.number, number, "{}", row.name);
    }
}

#[test]
fn nothing_seen_is_no_verdict() {
    for row in &ROWS {
        let verdict = (row.judge)(&Observation::default());
        let silent = matches!(verdict.status, Status::Skip | Status::NotApplicable);
        assert!(silent && !verdict.note.is_empty(), "row {}: {verdict:?}", row.number);
    }
}
