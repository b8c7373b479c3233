//! Rungs that are shed, and come back.

use super::*;

#[test]
fn stuck_rung_is_shed_and_the_others_go_on() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 60 -bf 0");
    let handicap = Some(("120p".to_owned(), Duration::from_millis(900)));
    let config = Config { pace: Pace::Live, handicap, ..config(&[120, 90], PassThrough::Auto) };
    let (pipeline_input, mut outputs) = start(config).unwrap();
    let mut runs = Vec::new();
    let mut inputs = read_file(&path).unwrap().into_iter();
    let (mut sent, mut passed) = (0_usize, 0_usize);
    let mut pipeline_input = Some(pipeline_input);
    while runs.last().is_none_or(|run: &Seen| run.end.is_none()) {
        // As live as possible without a clock: never more than 3 s ahead of the output.
        while let Some(pipeline_input) = pipeline_input.as_ref().filter(|_| sent < passed + 90) {
            let Some(input) = inputs.next() else { break };
            sent += usize::from(matches!(input, Input::Video(_)));
            pipeline_input.send_blocking(input).unwrap();
        }
        if inputs.as_slice().is_empty() {
            pipeline_input = None;
        }
        let Some(output) = outputs.blocking_recv() else { break };
        if let Output::Sample { rendition, .. } = &output {
            passed += usize::from(rendition.as_str() == "180p");
        }
        see(&mut runs, output);
    }
    let run = one(runs);
    assert_eq!(run.shed, [("120p".to_owned(), ShedReason::EncoderStuck)]);
    assert_eq!(run.of("180p").len(), 180);
    assert_eq!(run.pts("90p"), run.pts("180p"), "the rung below scales from further up now");
    let after_shed = run.samples.iter().rev().take_while(|(name, _)| name.as_str() != "120p").count();
    assert!(after_shed > 100, "no sample of a shed rung follows");
}

#[test]
fn rung_that_was_shed_comes_back_with_an_idr_once_there_has_been_room() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=15:duration=42", "-g 30 -bf 0");
    // Its first encoder is too slow; the one that it comes back with is not.
    let handicap = Some(("120p".to_owned(), Duration::from_millis(900)));
    let config = Config { pace: Pace::Live, handicap, ..config(&[120, 90], PassThrough::Auto) };
    let run = one(feed_live(start(config).unwrap(), read_file(&path).unwrap(), "90p"));
    assert_eq!(run.shed, [("120p".to_owned(), ShedReason::EncoderStuck)]);
    assert_eq!(run.restored, ["120p"]);
    assert_eq!(run.pts("90p"), run.pts("180p"), "nothing is missing of the others");
    let back: Vec<&Sample> = run.of("120p").into_iter().filter(|sample| sample.pts.ticks > 30 * 90_000).collect();
    assert!(back.first().is_some_and(|first| first.sync), "it begins with an IDR");
    assert!(run.idrs("180p").contains(&back[0].pts.ticks), "where all have one");
    let source = run.pts("180p").into_iter().filter(|pts| *pts >= back[0].pts.ticks).collect();
    assert_eq!(
        back.iter().map(|sample| sample.pts.ticks).collect::<BTreeSet<_>>(),
        source,
        "and has all pictures since"
    );
    let track = run.tracks.iter().find(|track| track.rendition.as_str() == "120p").unwrap();
    decodes(&directory, track, &back);
}

#[test]
fn rung_is_shed_when_its_reader_says_so_but_never_the_last() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=3", "-g 30");
    let (pipeline_input, mut outputs) = start(config(&[180, 90], PassThrough::Never)).unwrap();
    for name in ["180p", "90p", "nobody"] {
        pipeline_input.shed(&RenditionId::new(name).unwrap());
    }
    let inputs = read_file(&path).unwrap();
    let sender =
        std::thread::spawn(move || inputs.into_iter().try_for_each(|input| pipeline_input.send_blocking(input)));
    let mut runs = Vec::new();
    while let Some(output) = outputs.blocking_recv() {
        see(&mut runs, output);
    }
    sender.join().unwrap().unwrap();
    let run = one(runs);
    assert_eq!(run.shed, [("180p".to_owned(), ShedReason::Requested)]);
    assert_eq!(run.of("90p").len(), 90);
}
