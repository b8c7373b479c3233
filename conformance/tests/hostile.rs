//! Servers may send anything: the checker reads and judges it without a panic.

use std::sync::Arc;
use std::time::Duration;

use conformance::media::{Content, Init};
use conformance::observation::{
    Answer, Asked, Fetch, HintSeen, InitSeen, Load, Observation, PartSeen, Probe, Question, RenditionSeen, Role,
    SegmentSeen, Version,
};
use conformance::playlist::{MediaPlaylist, Multivariant, Text};
use conformance::report::Report;
use proptest::prelude::*;

/// Meaningful lines, so that random playlists are not only noise.
fn line() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(0_u64), Just(1), 0_u64..100, Just(u64::MAX)];
    let attribute = "[A-Z-]{1,12}=(\"[a-z./0-9@]{0,12}\"|[0-9.]{0,12}|YES|NONE|)";
    let attributes = prop::collection::vec(attribute, 0..4).prop_map(|all| all.join(","));
    let tag = prop_oneof![
        Just("EXT-X-PART"),
        Just("EXT-X-MAP"),
        Just("EXT-X-KEY"),
        Just("EXT-X-SKIP"),
        Just("EXT-X-PRELOAD-HINT"),
        Just("EXT-X-RENDITION-REPORT"),
        Just("EXT-X-SERVER-CONTROL"),
        Just("EXT-X-PART-INF"),
        Just("EXT-X-STREAM-INF"),
        Just("EXT-X-I-FRAME-STREAM-INF"),
        Just("EXT-X-MEDIA"),
        Just("EXT-X-DATERANGE"),
    ];
    prop_oneof![
        (tag, attributes).prop_map(|(tag, attributes)| format!("#{tag}:{attributes}")),
        number.clone().prop_map(|n| format!("#EXT-X-TARGETDURATION:{n}")),
        number.clone().prop_map(|n| format!("#EXT-X-MEDIA-SEQUENCE:{n}")),
        number.clone().prop_map(|n| format!("#EXT-X-DISCONTINUITY-SEQUENCE:{n}")),
        number.clone().prop_map(|n| format!("#EXTINF:{n}.{n},")),
        (number.clone(), number).prop_map(|(n, o)| format!("#EXT-X-BYTERANGE:{n}@{o}")),
        "#EXT-X-PROGRAM-DATE-TIME:[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{0,12}(Z|\\+[0-9:]{0,5})?",
        Just("#EXT-X-PART:DURATION=0.5,URI=\"1.0.m4s\",INDEPENDENT=YES".to_owned()),
        Just("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1.1.m4s\"".to_owned()),
        Just("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=99999999999999999999.9".to_owned()),
        Just("#EXT-X-MEDIA-SEQUENCE:18446744073709551615".to_owned()),
        Just("#EXT-X-SKIP:SKIPPED-SEGMENTS=18446744073709551615".to_owned()),
        Just("#EXT-X-PROGRAM-DATE-TIME:9999-12-31T23:59:60Z".to_owned()),
        Just("#EXTINF:18446744073709551615,".to_owned()),
        Just("#EXT-X-DISCONTINUITY".to_owned()),
        Just("#EXT-X-GAP".to_owned()),
        Just("#EXT-X-ENDLIST".to_owned()),
        Just("#EXT-X-I-FRAMES-ONLY".to_owned()),
        "[a-z0-9./?]{1,12}",
        ".{0,20}",
    ]
}

fn text() -> impl Strategy<Value = Arc<Text>> {
    let lines =
        prop::collection::vec(line(), 0..40).prop_map(|lines| format!("#EXTM3U\n{}\n", lines.join("\n")).into_bytes());
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![4 => lines, 1 => noise].prop_map(|bytes| Arc::new(Text::read(&bytes)))
}

/// Bytes that start like media.
fn media() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just(*b"ftyp"),
        Just(*b"moov"),
        Just(*b"moof"),
        Just(*b"traf"),
        Just(*b"tfhd"),
        Just(*b"tfdt"),
        Just(*b"trun"),
        Just(*b"mdat"),
        Just(*b"trak"),
        Just(*b"mdia"),
        Just(*b"stsd"),
        Just(*b"mvhd"),
        Just(*b"tkhd"),
        Just(*b"mdhd"),
        Just(*b"avc1"),
        Just(*b"avcC"),
        Just(*b"esds"),
        Just(*b"hvcC"),
        Just(*b"dref"),
        Just(*b"trex"),
        Just(*b"mvex"),
    ];
    let leaf = prop::collection::vec(any::<u8>(), 0..60);
    let nested = leaf.prop_recursive(5, 40, 5, move |inner| {
        prop::collection::vec((kinds.clone(), inner, any::<Option<u8>>()), 0..5).prop_map(|boxes| {
            let mut bytes = Vec::new();
            for (kind, body, wrong) in boxes {
                let size = u32::try_from(body.len() + 8).unwrap_or(0) + wrong.map_or(0, u32::from);
                bytes.extend(size.to_be_bytes());
                bytes.extend(kind);
                bytes.extend(body);
            }
            bytes
        })
    });
    let packets = prop::collection::vec(prop::collection::vec(any::<u8>(), 187), 1..6)
        .prop_map(|packets| packets.into_iter().flat_map(|packet| [vec![0x47], packet].concat()).collect());
    prop_oneof![3 => nested, 1 => packets, 1 => prop::collection::vec(any::<u8>(), 0..400)]
}

fn answer(at: Duration, status: u16) -> Answer {
    Answer { url: "https://x.test/a".to_owned(), asked: at, first_byte: at, done: at, status, ..Answer::default() }
}

/// The record of a rendition with these playlists in order, and with these bytes as all media.
fn rendition(index: usize, texts: &[Arc<Text>], bytes: &[u8], init: &Init) -> RenditionSeen {
    let mut seen = RenditionSeen {
        name: format!("r{index}"),
        url: format!("https://x.test/r{index}/index.m3u8"),
        roles: vec![if index == 1 { Role::Iframes(0) } else { Role::Variant(0) }, Role::Media(0)],
        ..RenditionSeen::default()
    };
    seen.inits.insert("init".to_owned(), InitSeen { answer: answer(Duration::ZERO, 200), init: init.clone() });
    let content = Content::read(bytes, Some(init));
    for (number, text) in (0_u32..).zip(texts) {
        let at = Duration::from_millis(u64::from(number) * 400);
        let playlist = Arc::new(MediaPlaylist::read(text));
        let asked =
            if number % 2 == 0 { Asked::Plain } else { Asked::Blocking { msn: u64::from(number), part: Some(0) } };
        seen.loads.push(Load { asked, answer: answer(at, 200), end: playlist.end(), ended: playlist.ended });
        let fetch = Some(Fetch { answer: answer(at, 206), content: content.clone(), digest: 1 });
        for (msn, segment) in playlist.numbered().take(4) {
            seen.segments.entry(msn).or_insert(SegmentSeen {
                tags: segment.clone(),
                url: "https://x.test/s".to_owned(),
                init: Some("init".to_owned()),
                listed: at,
                from_start: number == 0,
                removed: Some(at),
                fetch: fetch.clone(),
                again: Some(answer(at, 200)),
                late: Some(answer(at, 404)),
                probed: None,
            });
        }
        for (msn, segment) in playlist.numbered_with_open().take(4) {
            for (index, tag) in (0_u64..).zip(&segment.parts) {
                seen.parts.entry((msn, index)).or_insert(PartSeen {
                    tag: tag.clone(),
                    url: "https://x.test/p".to_owned(),
                    listed: at,
                    from_start: false,
                    removed: None,
                    fetch: fetch.clone(),
                    late: None,
                });
            }
        }
        for tag in &playlist.hints {
            let (url, fetch) = ("https://x.test/p".to_owned(), fetch.clone());
            seen.hints.push(HintSeen { tag: tag.clone(), url, listed: at, end: playlist.end(), fetch });
        }
        seen.versions.push(Version { at, sent: at, asked, playlist });
    }
    seen
}

proptest! {
    #[test]
    fn media_is_read_without_a_panic(bytes in media(), init in media()) {
        let init = Init::read(&init);
        let content = Content::read(&bytes, Some(&init));
        let _ = content.duration(Some(&init));
    }

    #[test]
    fn every_row_judges_whatever_was_seen(
        texts in prop::collection::vec(prop::collection::vec(text(), 1..4), 1..4),
        multivariant in text(),
        bytes in media(),
        init in media(),
    ) {
        let init = Init::read(&init);
        let renditions: Vec<_> =
            texts.iter().enumerate().map(|(index, texts)| rendition(index, texts, &bytes, &init)).collect();
        let first = renditions[0].versions[0].playlist.clone();
        let questions = [Question::Listed, Question::OverPart, Question::Delta, Question::Beyond(4), Question::EndedDelta];
        let probes = questions.map(|question| Probe {
            rendition: 0,
            question,
            before: first.clone(),
            answer: answer(Duration::from_secs(1), 200),
            body: renditions.last().and_then(|rendition| rendition.last().cloned()),
            after: Some(first.clone()),
        });
        let observation = Observation {
            url: "https://x.test/index.m3u8".to_owned(),
            lasted: Duration::from_secs(5),
            first: answer(Duration::ZERO, 200),
            multivariant: Some(Arc::new(Multivariant::read(&multivariant))),
            renditions,
            probes: probes.into(),
            ..Observation::default()
        };
        let report = Report::of(&observation, &[]);
        prop_assert_eq!(report.rows.len(), 39);
        prop_assert!(report.rows.iter().all(|judged| judged.verdict.evidence.len() <= 8));
    }
}
