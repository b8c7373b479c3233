use messages::{AudioInput, Drops};

use super::*;

/// The report on a publisher without problems.
fn well() -> InputReport {
    InputReport {
        stream: "hall".parse().unwrap(),
        ingest: "ingest1".parse().unwrap(),
        at: UnixMillis(0),
        connected_at: Some(UnixMillis(0)),
        away_since: None,
        slate: false,
        standby: false,
        reconnects: 0,
        encoder: None,
        bit_rate: BitsPerSecond(2_600_000),
        pace_permille: Some(1_000),
        video: Some(VideoInput {
            codec: "avc1.64001f".to_owned(),
            width: 1280,
            height: 720,
            frame_rate_millihertz: Some(30_000),
            announced_frame_rate_millihertz: Some(30_000),
            keyframe_interval_ms: Some(2_000),
            reorder_ms: 66,
            bit_rate: BitsPerSecond(2_500_000),
            passed_through: true,
        }),
        audio: Some(AudioInput {
            codec: "mp4a.40.2".to_owned(),
            sample_rate_hz: Some(48_000),
            channels: Some(2),
            bit_rate: BitsPerSecond(100_000),
        }),
        video_ahead_of_audio_ms: Some(20),
        drops: Drops::default(),
        clock_jumps: 0,
        warnings: Vec::new(),
    }
}

fn seen(report: &InputReport) -> Seen<'_> {
    Seen {
        report,
        announced_bit_rate: Some(BitsPerSecond(2_500_000)),
        shed: &[],
        pass_through_ended: None,
        zero_offset_ms: 0,
        connected_for: Some(Duration::from_secs(60)),
        picture_silent_for: Some(Duration::ZERO),
        sound_silent_for: Some(Duration::ZERO),
        interval_is_whole: true,
        over_quota: None,
    }
}

fn now(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now { elapsed, wall: UnixMillis(1_700_000_000_000).plus(elapsed) }
}

fn kinds(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|warning| warning.kind.as_str()).collect()
}

/// The warnings after the same was seen for a minute.
fn settled(seen: &Seen<'_>) -> Vec<Warning> {
    let mut advisor = Advisor::default();
    (0..30).fold(Vec::new(), |_, step| advisor.observe(seen, now(2 * step)))
}

fn video(change: impl FnOnce(&mut VideoInput)) -> InputReport {
    let mut report = well();
    change(report.video.as_mut().unwrap());
    report
}

fn only(report: &InputReport, kind: &str, says: &[&str]) {
    let warnings = settled(&seen(report));
    assert_eq!(kinds(&warnings), [kind]);
    for part in says {
        assert!(warnings[0].text.contains(part), "{}", warnings[0].text);
    }
}

#[test]
fn stream_that_is_well_has_no_warning() {
    assert!(settled(&seen(&well())).is_empty());
}

#[test]
fn long_keyframe_interval_is_said_with_the_way_out() {
    let report = video(|video| video.keyframe_interval_ms = Some(8_333));
    only(&report, "keyframe_interval", &["keyframe interval is 8.3 s; set 2 s in OBS for low latency"]);
    let open = video(|video| video.keyframe_interval_ms = Some(5_000));
    let warnings = settled(&Seen { interval_is_whole: false, ..seen(&open) });
    assert!(warnings[0].text.starts_with("keyframe interval is more than 5.0 s"), "{}", warnings[0].text);
    only(&video(|video| video.keyframe_interval_ms = Some(33)), "keyframe_interval", &["every 33 ms", "2 s"]);
}

#[test]
fn figures_that_are_off_are_said() {
    only(&video(|video| video.frame_rate_millihertz = Some(21_000)), "frame_rate", &["21.0", "30.0"]);
    only(&video(|video| video.bit_rate = BitsPerSecond(6_000_000)), "bit_rate_high", &["6.0 Mbit/s", "CBR"]);
    only(&video(|video| video.reorder_ms = 200), "b_frames", &["200 ms"]);
    only(&video(|video| video.codec = "hvc1.1.6.L93.B0".to_owned()), "video_transcoded", &["HEVC", "H.264"]);
    only(&InputReport { pace_permille: Some(800), ..well() }, "slower_than_real_time", &["80 %"]);
    only(&InputReport { pace_permille: Some(3_000), ..well() }, "faster_than_real_time", &["300 %", "-re"]);
    only(&InputReport { video_ahead_of_audio_ms: Some(1_400), ..well() }, "audio_skew", &["1.4 s behind"]);
    only(&InputReport { video_ahead_of_audio_ms: Some(-3_000), ..well() }, "audio_skew", &["3.0 s ahead of"]);
    let mut mp3 = well();
    mp3.audio.as_mut().unwrap().codec = "mp3".to_owned();
    only(&mp3, "audio_transcoded", &["mp3", "AAC-LC"]);
}

#[test]
fn bit_rate_that_has_fallen_is_said_and_a_picture_that_never_needed_more_is_not() {
    let easy = video(|video| video.bit_rate = BitsPerSecond(400_000));
    assert!(settled(&seen(&easy)).is_empty(), "a test picture");
    let mut advisor = Advisor::default();
    advisor.observe(&seen(&well()), now(0));
    let fell = (1..30).fold(Vec::new(), |_, step| advisor.observe(&seen(&easy), now(2 * step)));
    assert_eq!(kinds(&fell), ["bit_rate_low"]);
    assert!(fell[0].text.starts_with("picture has fallen to 0.4 Mbit/s where 2.5 were announced"), "{}", fell[0].text);
    // The highest bit rate of the next publisher starts anew.
    let other = InputReport { connected_at: Some(UnixMillis(1)), ..easy };
    let left = (30..60).fold(Vec::new(), |_, step| advisor.observe(&seen(&other), now(2 * step)));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn pass_through_that_ended_is_said_until_it_begins_anew() {
    let encoded = video(|video| video.passed_through = false);
    for (reason, why, way_out) in [
        (BreakReason::Paused(1_240), "no picture came for 1.2 s, and since then", "a steady network"),
        (BreakReason::KeyframesIrregular(4_233), "no keyframe came for 4.2 s", "keyframe interval to 2 s"),
        (BreakReason::Unsegmentable, "a keyframe was left out", "keyframe interval to 2 s"),
    ] {
        let ended = Seen { pass_through_ended: Some(&reason), ..seen(&encoded) };
        let warnings = settled(&ended);
        assert_eq!(kinds(&warnings), ["pass_through_ended"]);
        let text = &warnings[0].text;
        assert!(text.starts_with(why) && text.contains("encoded again instead of passed through"), "{text}");
        assert!(text.contains(way_out) && text.contains("start the encoder's stream again"), "{text}");
        assert!(settled(&Seen { report: &well(), ..ended }).is_empty(), "passed through again");
    }
    assert!(settled(&seen(&encoded)).is_empty(), "it never was");
}

#[test]
fn picture_or_sound_that_does_not_come_is_said() {
    let report = well();
    let seen = seen(&report);
    let silent = Some(Duration::from_secs(9));
    for (case, kind, says) in [
        (Seen { sound_silent_for: None, ..seen }, "no_audio", "no sound comes"),
        (Seen { sound_silent_for: silent, ..seen }, "no_audio", "for 9 s"),
        (Seen { picture_silent_for: None, ..seen }, "no_picture", "only sound"),
        (Seen { picture_silent_for: silent, ..seen }, "no_picture", "for 9 s"),
        (Seen { picture_silent_for: None, sound_silent_for: None, ..seen }, "no_picture", "sends nothing"),
        (Seen { shed: &["1080p".to_owned(), "720p".to_owned()], ..seen }, "rungs_shed", "1080p, 720p were given up"),
        (Seen { zero_offset_ms: -50_000, ..seen }, "clock_offset", "50.0 s before"),
    ] {
        let warnings = settled(&case);
        assert_eq!(kinds(&warnings), [kind]);
        assert!(warnings[0].text.contains(says), "{}", warnings[0].text);
    }
    let early = Seen { sound_silent_for: None, connected_for: Some(Duration::from_secs(4)), ..seen };
    assert!(settled(&early).is_empty(), "sound may come a little later");
}

#[test]
fn warning_that_is_near_its_bound_does_not_flicker() {
    let mut advisor = Advisor::default();
    let mut shown = Vec::new();
    for step in 0..60 {
        // The rate crosses the bound of 90 % to and fro, and never reaches 95 %.
        let rate = if step % 2 == 0 { 26_500 } else { 28_000 };
        let report = video(|video| video.frame_rate_millihertz = Some(rate));
        shown.push(!advisor.observe(&seen(&report), now(2 * step)).is_empty());
    }
    assert!(shown.iter().all(|shown| !shown), "never bad for long enough");
    let bad = video(|video| video.frame_rate_millihertz = Some(20_000));
    let since: Vec<_> = (60..64).map(|step| advisor.observe(&seen(&bad), now(2 * step)).len()).collect();
    assert_eq!(since, [0, 0, 0, 1], "six seconds later");
    for step in 64..120 {
        let rate = if step % 3 == 0 { 30_000 } else { 27_500 };
        let report = video(|video| video.frame_rate_millihertz = Some(rate));
        let warnings = advisor.observe(&seen(&report), now(2 * step));
        assert_eq!(kinds(&warnings), ["frame_rate"], "shown until it is well for ten seconds");
        assert_eq!(warnings[0].since, now(126).wall, "and since the same moment");
        assert_eq!(
            warnings[0].until,
            (step % 3 == 0).then_some(now(2 * step).wall),
            "said to be over while it is well"
        );
    }
    for step in 120..127 {
        let untils: Vec<_> = advisor.observe(&seen(&well()), now(2 * step)).iter().map(|left| left.until).collect();
        assert_eq!(untils, if step < 125 { vec![Some(now(240).wall)] } else { vec![] }, "{step}");
    }
}

#[test]
fn event_is_said_for_a_minute() {
    let mut advisor = Advisor::default();
    let jumped = InputReport { clock_jumps: 1, ..well() };
    assert!(advisor.observe(&seen(&well()), now(0)).is_empty());
    for at in [2, 30, 61] {
        let warnings = advisor.observe(&seen(&jumped), now(at));
        assert_eq!(kinds(&warnings), ["clock_jumped"], "{at}");
        assert!(warnings[0].text.contains("once"), "{}", warnings[0].text);
    }
    assert!(advisor.observe(&seen(&jumped), now(62)).is_empty());
    // Another publisher counts from zero.
    assert!(advisor.observe(&seen(&well()), now(64)).is_empty());
    assert_eq!(kinds(&advisor.observe(&seen(&jumped), now(66))), ["clock_jumped"]);
}

#[test]
fn encoder_that_comes_and_goes_is_said_also_while_it_is_away() {
    let mut advisor = Advisor::default();
    let mut last = Vec::new();
    for count in 0..4 {
        let mut report = video(|video| video.keyframe_interval_ms = Some(8_000));
        report.reconnects = count;
        last = advisor.observe(&Seen { connected_for: None, ..seen(&report) }, now(100 * count));
    }
    assert_eq!(kinds(&last), ["reconnects"], "of who is away nothing else is known");
    assert!(last[0].text.contains("3 times"), "{}", last[0].text);
}

#[test]
fn few_damaged_frames_are_nothing_and_many_are_said() {
    let mut advisor = Advisor::default();
    let dropped = |refused| InputReport { drops: Drops { refused, ..Drops::default() }, ..well() };
    assert!(advisor.observe(&seen(&dropped(4)), now(0)).is_empty());
    assert_eq!(kinds(&advisor.observe(&seen(&dropped(5)), now(2))), ["damaged"]);
    assert_eq!(kinds(&advisor.observe(&seen(&dropped(5)), now(61))), ["damaged"]);
    assert!(advisor.observe(&seen(&dropped(5)), now(62)).is_empty());
}

#[test]
fn most_important_comes_first() {
    let mut report = video(|video| video.keyframe_interval_ms = Some(8_333));
    report.audio.as_mut().unwrap().codec = "mp3".to_owned();
    let warnings = settled(&Seen { sound_silent_for: Some(Duration::from_secs(9)), ..seen(&report) });
    assert_eq!(kinds(&warnings), ["no_audio", "keyframe_interval", "audio_transcoded"]);
}
