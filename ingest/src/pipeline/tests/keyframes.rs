//! Sources with too many keyframes, and with none.

use super::*;

#[test]
fn source_of_keyframes_alone_is_encoded_with_one_every_second() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=160x90:rate=30:duration=5", "-g 1 -bf 0");
    let run = one(feed(config(&[90], PassThrough::Auto), read_file(&path).unwrap()).0);
    run.check(&directory);
    let idrs = run.idrs("90p");
    assert_eq!(idrs, (0..5).map(|index| idrs[0] + index * 90_000).collect::<Vec<_>>());
    assert_eq!(run.pts("90p"), source_pts(&path));
}

#[test]
fn source_without_any_keyframe_is_given_up_after_twenty_seconds_with_the_reason() {
    let directory = TempDir::new().unwrap();
    let path = clip(&directory, "in.mp4", "testsrc2=size=160x90:rate=30:duration=24", "-g 1000 -bf 0");
    let mut inputs = read_file(&path).unwrap();
    let idr = inputs.iter().position(|input| matches!(input, Input::Video(_))).unwrap();
    inputs.remove(idr);
    let (runs, _) = feed(config(&[90], PassThrough::Auto), inputs);
    let ends: Vec<_> = runs.iter().filter_map(|run| run.end.as_deref()).collect();
    assert_eq!(ends, ["no keyframe that can be decoded within 20 s"]);
}
