//! Sources that come after another run, while viewers have gaps.

use super::*;

/// The memory after a run of a source that is just long enough to know it.
fn after(path: &Path) -> Memory {
    let memory = Memory::default();
    let run = one(feed_again(&memory, read_file(path).unwrap()));
    assert_eq!(run.names(), ["180p", "audio"]);
    memory
}

/// The runs of these inputs, with one small rung, so that there is nothing to shed.
fn feed_again(memory: &Memory, inputs: Vec<Input>) -> Vec<Seen> {
    let config = Config { pace: Pace::Live, ..config(&[180], PassThrough::Auto) };
    feed_live(start_again(config, memory.clone()).unwrap(), inputs, "180p")
}

fn without(inputs: Vec<Input>, leaves: impl Fn(&Input) -> bool) -> Vec<Input> {
    inputs.into_iter().filter(|input| !leaves(input)).collect()
}

const fn is_sound(input: &Input) -> bool {
    matches!(input, Input::Audio(_) | Input::AudioConfig(_))
}

fn format(path: &Path) -> VideoFormat {
    let found = |input| if let Input::VideoConfig(format) = input { Some(format) } else { None };
    read_file(path).unwrap().into_iter().find_map(found).unwrap()
}

#[test]
fn source_with_fewer_keyframes_than_before_is_encoded_from_the_start() {
    let directory = TempDir::new().unwrap();
    let picture = |seconds: &str| format!("testsrc2=size=320x180:rate=30:duration={seconds}");
    let before = clip(&directory, "before.flv", &picture("4"), "-g 60 -bf 0");
    let now = clip(&directory, "now.flv", &picture("4.8"), "-g 250 -bf 0");
    assert_eq!(format(&before), format(&now), "the parameter sets do not tell them apart");
    let run = one(feed_again(&after(&before), read_file(&now).unwrap()));
    run.check(&directory);
    let source = source_packets(&now);
    // Media that gaps have replaced is not shown late: the 2.5 s in which a second keyframe might have come.
    let held = run.of("180p")[0].pts.ticks - ticks(source[0].pts);
    assert!((2 * 90_000..3 * 90_000).contains(&held), "{held}");
    assert_eq!(run.of("180p").len(), source.iter().filter(|p| ticks(p.pts) >= run.of("180p")[0].pts.ticks).count());
    let sound = run.of("audio")[0].pts.rescale(Timescale::VIDEO).ticks;
    assert!((sound - run.of("180p")[0].pts.ticks).abs() <= 2_000, "the sound starts with the picture");
}

#[test]
fn source_that_is_not_known_yet_begins_with_its_newest_keyframe() {
    let directory = TempDir::new().unwrap();
    let before = clip(&directory, "before.flv", "testsrc2=size=320x180:rate=30:duration=4", "-g 60 -bf 0");
    let now = clip(&directory, "now.flv", "testsrc2=size=320x180:rate=25:duration=5", "-g 50 -bf 2");
    let run = one(feed_again(&after(&before), read_file(&now).unwrap()));
    run.check(&directory);
    let source = source_packets(&now);
    assert_eq!(run.of("180p")[0].pts.ticks - ticks(source[0].pts), 2 * 90_000);
    assert!(source.iter().any(|packet| packet.data == run.of("180p")[0].data), "passed through");
}

#[test]
fn track_that_was_there_before_is_waited_for_half_a_second_and_no_longer() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.flv", "testsrc2=size=320x180:rate=30:duration=4", "-g 60 -bf 0");
    for (names, leaves) in [(["180p"], is_sound as fn(&Input) -> bool), (["audio"], |input| !is_sound(input))] {
        let memory = after(&path);
        let inputs = without(read_file(&path).unwrap(), leaves);
        let (pipeline_input, mut outputs) =
            start_again(Config { pace: Pace::Live, ..config(&[180], PassThrough::Auto) }, memory).unwrap();
        // The input has not ended: only the 0.7 s that have come can make the run start now.
        let frames = if names == ["180p"] { 22 } else { 33 };
        inputs.iter().take(frames).for_each(|input| pipeline_input.send_blocking(input.clone()).unwrap());
        let first = outputs.blocking_recv();
        let Some(Output::Tracks(tracks)) = first else { panic!("{first:?}") };
        assert_eq!(tracks.iter().map(|track| track.rendition.as_str()).collect::<Vec<_>>(), names);
        drop(pipeline_input);
        let mut samples = 0;
        while let Some(output) = outputs.blocking_recv() {
            samples += usize::from(matches!(output, Output::Sample { .. }));
        }
        assert!(samples + 1 >= frames - 1, "all of it is shown: {samples} of {frames}");
    }
}
