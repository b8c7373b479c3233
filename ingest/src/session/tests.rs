//! The session against a model of what is around it: the nodes, the disk, the hub, the pipeline, and another ingest with the same stream.
//! Whatever the order of things, the nodes admit what it seals, it never seals out of turn, and it always comes to its end.

use messages::SessionState;
use proptest::prelude::*;
use seal::{SealKind, Sealed};

use self::world::{Op, World};
use crate::log::position::LogPosition;
use crate::standby::turn::Duty;

mod world;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => Just(Op::Connect),
        1 => Just(Op::Replace),
        4 => Just(Op::Leave),
        10 => (1_u64..40).prop_map(Op::Play),
        5 => (1_u64..60).prop_map(Op::Wait),
        2 => Just(Op::Break),
        1 => Just(Op::Shed),
        1 => Just(Op::Restore),
        8 => Just(Op::Answer),
        4 => Just(Op::SlateReady),
        2 => (5_u64..40).prop_map(Op::OtherSeals),
        2 => Just(Op::StandBy),
        2 => Just(Op::TakeTurn),
        1 => Just(Op::DiskFails),
        1 => Just(Op::PipelineFails),
        1 => Just(Op::Shutdown),
    ];
    prop::collection::vec(op, 1..80)
}

fn run(ops: &[Op]) -> World {
    let mut world = World::new();
    ops.iter().for_each(|op| world.step(op));
    world
}

fn media_of_publishers(world: &World) -> usize {
    let has_media = |sealed: &&Sealed| LogPosition::after(sealed).has_media;
    world.admitted.iter().filter(has_media).count()
}

/// As one that slept does: its source has paused by then.
#[test]
fn ingest_whose_log_another_has_continued_voids_nothing_of_it_and_stands_by() {
    let mut world = run(&[Op::Play(30), Op::Answer, Op::Play(30)]);
    assert!(media_of_publishers(&world) > 0);
    world.step(&Op::OtherSeals(50));
    let (continued, begun) = (world.admitted.clone(), world.begun());
    world.is_deaf = true;
    [Op::Break, Op::Play(5), Op::Answer, Op::Play(30)].iter().for_each(|op| world.step(op));
    assert_eq!((world.admitted.len(), world.begun()), (continued.len(), begun), "an epoch would have voided them");
    assert_eq!(world.duty(), Duty::Standby);
    // The other one is gone.
    [Op::TakeTurn, Op::Answer, Op::Play(30), Op::Answer].iter().for_each(|op| world.step(op));
    assert!(world.admitted.starts_with(&continued) && world.admitted.len() > continued.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn log_is_one_that_nodes_admit_and_the_stream_comes_to_its_end(ops in ops()) {
        let mut world = run(&ops);
        let was_stopping = world.is_stopping;
        world.settle();
        prop_assert!(world.is_over, "it goes on for ever");
        let head = world.head().map(|head| head.body().kind);
        // The log of a role that shuts down stays open for the next.
        let is_ours = world.head().is_some_and(|head| world.signed.lock().unwrap().contains(head));
        if !was_stopping && is_ours && !world.has_left && world.closed.is_empty() {
            prop_assert_eq!(head, Some(SealKind::End), "the end is not sealed");
        }
    }

    #[test]
    fn media_is_sealed_to_the_last_picture(ops in ops()) {
        let is_harmless = |op: &Op| {
            !matches!(op, Op::OtherSeals(_) | Op::StandBy | Op::DiskFails | Op::PipelineFails | Op::Shutdown)
        };
        let mut world = run(&ops.into_iter().filter(is_harmless).collect::<Vec<_>>());
        world.settle();
        prop_assert_eq!(&world.closed, &Vec::<String>::new());
        prop_assert_eq!(world.sealed, world.handed_in);
    }

    #[test]
    fn publisher_that_stays_is_seen_whatever_came_before(ops in ops()) {
        let mut world = run(&ops);
        if world.is_stopping || world.is_over {
            return Ok(());
        }
        world.turn(Duty::Active);
        (world.disk_fails, world.pipeline_fails) = (false, false);
        // Whoever is there goes, and another comes.
        world.step(&Op::Leave);
        for _ in 0..120 {
            world.answer();
            world.pass(false);
        }
        if world.is_over {
            return Ok(());
        }
        world.attend(SessionState::Live);
        world.queue = 1;
        world.admit_publisher();
        let before = media_of_publishers(&world);
        let started = world.started;
        for _ in 0..60 {
            world.turn(Duty::Active);
            world.answer();
            world.pass(true);
        }
        prop_assert!(world.started >= started, "it was not started");
        prop_assert!(media_of_publishers(&world) > before, "nothing of it was sealed");
    }
}
