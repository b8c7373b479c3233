//! Sources that pause, come back, or have sound that does not fit; and how far a rung is behind its source.

use super::*;

/// Delays all pictures from `at_ms` on by `by_ms`, as if the source had paused; leaves sound out.
fn paused(inputs: Vec<Input>, at_ms: i64, by_ms: i64) -> Vec<Input> {
    let (at, by) = (Timestamp::new(at_ms, Timescale::MILLIS), Timestamp::new(by_ms, Timescale::MILLIS));
    let late = |input: Input| match &input {
        Input::Video(packet) if packet.dts >= at => shifted(input, by),
        _ => input,
    };
    inputs.into_iter().filter(|input| matches!(input, Input::Video(_) | Input::VideoConfig(_))).map(late).collect()
}

fn longest(pts: &BTreeSet<i64>) -> i64 {
    pts.iter().zip(pts.iter().skip(1)).map(|(one, next)| next - one).max().unwrap()
}

#[test]
fn picture_is_shown_again_while_an_encoded_source_pauses() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=6", "-g 60 -bf 0");
    for (pause_ms, repeats) in [(400, 0), (3_000, 26)] {
        let inputs = paused(read_file(&path).unwrap(), 13_000, pause_ms);
        let run = one(feed(config(&[180, 90], PassThrough::Never), inputs).0);
        run.check(&directory);
        assert_eq!(run.pts("180p"), run.pts("90p"));
        assert_eq!(run.of("90p").len(), 180 + repeats);
        assert!(longest(&run.pts("90p")) <= 45_000, "no part is longer than half a second");
        assert_eq!(run.idrs("180p"), run.idrs("90p"));
        assert!(run.idrs("90p").windows(2).all(|pair| pair[1] - pair[0] <= 135_000), "{:?}", run.idrs("90p"));
    }
}

#[test]
fn passed_through_source_that_pauses_is_encoded_from_there() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=8", "-g 30 -bf 0");
    let inputs = paused(read_file(&path).unwrap(), 14_500, 1_000);
    let (runs, _) = feed(config(&[90], PassThrough::Auto), inputs.clone());
    assert_eq!(runs.len(), 2);
    assert!(matches!(runs[0].broke, Some(BreakReason::Paused(1_000..=1_100))), "{:?}", runs[0].broke);
    runs.iter().for_each(|run| run.check(&directory));
    assert_eq!(runs[0].of("180p").len() + runs[1].of("90p").len(), 240, "no picture is lost");
    // If nothing is decoded, the next run waits for an IDR.
    let (runs, _) = feed(config(&[180], PassThrough::Auto), inputs);
    assert_eq!((runs.len(), runs[1].names()), (2, vec!["180p"]));
    assert_eq!(runs[1].of("180p").len(), 90, "from the keyframe at 5 s on");
}

#[test]
fn source_that_paused_is_passed_through_again_when_it_connects_again() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=8", "-g 30 -bf 0");
    let inputs = paused(read_file(&path).unwrap(), 14_500, 1_000);
    let memory = Memory::default();
    let passes = |inputs: Vec<Input>| {
        let (pipeline_input, mut outputs) = start_again(config(&[90], PassThrough::Auto), memory.clone()).unwrap();
        let shared = Arc::clone(&pipeline_input.shared);
        let sender =
            std::thread::spawn(move || inputs.into_iter().try_for_each(|input| pipeline_input.send_blocking(input)));
        while outputs.blocking_recv().is_some() {}
        sender.join().unwrap().ok();
        shared.counters().passes_through
    };
    assert!(!passes(inputs.clone()), "it paused");
    let few = || inputs.iter().take(20).cloned().collect::<Vec<_>>();
    assert!(!passes(few()), "what is known of it has not changed");
    memory.begin_again(&BreakReason::Paused(1_000));
    assert!(passes(few()));
    memory.begin_again(&BreakReason::KeyframesIrregular(4_300));
    assert!(memory.source().is_none(), "its keyframes have to be seen again");
}

#[test]
fn source_that_is_known_starts_with_its_first_keyframe() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=320x180:rate=30:duration=4", "-g 60 -bf 2");
    for pass_through in [PassThrough::Auto, PassThrough::Never] {
        let memory = Memory::default();
        let config = || config(&[180, 90], pass_through);
        let inputs = read_file(&path).unwrap();
        let mut expected = Vec::new();
        for (known, pictures) in [(false, usize::MAX), (true, 1)] {
            let (pipeline_input, mut outputs) = start_again(config(), memory.clone()).unwrap();
            let mut left = pictures;
            let few = inputs.iter().cloned().take_while(|input| {
                let more = left > 0;
                left -= usize::from(matches!(input, Input::Video(_)) && more);
                more
            });
            let sound = inputs.iter().find(|input| matches!(input, Input::AudioConfig(_))).cloned();
            for input in sound.into_iter().chain(few.filter(|input| !matches!(input, Input::AudioConfig(_)))) {
                pipeline_input.send_blocking(input).unwrap();
            }
            // The input has not ended: only a known source can make the run start now.
            let first = outputs.blocking_recv();
            let Some(Output::Tracks(tracks)) = first else { panic!("{first:?}") };
            let formats: Vec<_> = tracks.iter().map(|track| (track.rendition.clone(), track.track.clone())).collect();
            if known {
                assert_eq!(formats, expected);
            }
            expected = formats;
            drop(pipeline_input);
            while outputs.blocking_recv().is_some() {}
        }
    }
}

#[test]
fn sound_of_long_frames_is_encoded_anew() {
    let directory = TempDir::new().unwrap();
    let picture = "testsrc2=size=320x180:rate=30:duration=3";
    let path = clip(&directory, "in.mp4", picture, "-g 30 -ar 22050 -ac 1");
    let run = one(feed(config(&[90], PassThrough::Auto), read_file(&path).unwrap()).0);
    run.check(&directory);
    let media::Format::Audio { sample_rate_hz, .. } = run.tracks[2].track.format() else { panic!("sound") };
    assert_eq!(sample_rate_hz, 48_000);
}

/// Counts the pictures inside the pipeline while the input pauses, which is the pipeline's share of each viewer's latency.
#[test]
fn encoded_rung_is_a_lookahead_behind_its_source_and_no_more() {
    /// Longer than any output takes.
    const LONG: Duration = Duration::from_secs(20);
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=640x360:rate=30:duration=4", "-g 60 -bf 0");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for (preset, behind) in [(Preset::Superfast, 0), (Preset::Veryfast, 2), (Preset::Medium, 2)] {
        let config = Config { preset, ..config(&[180, 90], PassThrough::Auto) };
        let (pipeline_input, mut outputs) = start(config).unwrap();
        let inputs = read_file(&path).unwrap();
        let pictures = inputs.iter().filter(|input| matches!(input, Input::Video(_))).count();
        // The pipeline keeps its input, which only pauses and does not end.
        let sender = std::thread::spawn(move || {
            inputs.into_iter().try_for_each(|input| pipeline_input.send_blocking(input)).unwrap();
            pipeline_input
        });
        let mut left = ["180p", "90p"].map(|name| (name, pictures - behind)).to_vec();
        while let Some((last, _)) = left.iter().find(|(_, count)| *count > 0) {
            let last = *last;
            let output = runtime.block_on(async { tokio::time::timeout(LONG, outputs.recv()).await });
            let output = output.unwrap_or_else(|_| panic!("{preset}: {last} is further behind"));
            if let Some(Output::Sample { rendition, .. }) = output
                && let Some((_, count)) = left.iter_mut().find(|(name, _)| *name == rendition.as_str())
            {
                *count -= 1;
            }
        }
        let pipeline_input = sender.join().unwrap();
        drop(pipeline_input);
        let mut rest = 0;
        while let Some(output) = outputs.blocking_recv() {
            rest += usize::from(matches!(output, Output::Sample { rendition, .. } if rendition.as_str() == "90p"));
        }
        assert!(rest <= behind, "{preset}: {rest} came only with the end");
    }
}
