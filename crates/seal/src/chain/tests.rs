//! The rules of the log one by one, and all of them under random loss, repetition, reordering and forks.

use media::{Epoch, LogSequence, MediaSequence, Slot, Timescale, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Chain, Input, Missing, Outcome, Step, Verdict};
use crate::limits::{BUFFERED_MAX, BUFFERED_WAIT_MAX, EVIDENCE_MAX, HISTORY_MAX};
use crate::tests::author::{Author, KEY, digest, now, stream};
use crate::{Head, RefusalReason, Sealed, sign_seal};

/// A chain, and the log that a fold of its steps gives.
struct Node {
    chain: Chain,
    log: Vec<Sealed>,
    time_ms: i64,
}

impl Node {
    fn joined(tail: &[Sealed]) -> Self {
        let mut node = Self { chain: Chain::new(stream()), log: Vec::new(), time_ms: 0 };
        node.join(tail).unwrap();
        node
    }

    fn join(&mut self, tail: &[Sealed]) -> Result<Outcome, crate::Refusal> {
        let before = self.chain.clone();
        let joined = self.chain.join(tail.to_vec(), now(self.time_ms));
        self.chain.check_invariants();
        match &joined {
            Ok(outcome) => {
                self.log.clear();
                self.fold(outcome);
            }
            Err(_) => assert_eq!(self.chain.head(), before.head(), "an error changes nothing"),
        }
        joined
    }

    fn give(&mut self, sealed: &Sealed) -> Outcome {
        self.time_ms += 1;
        let outcome = self.chain.apply(Input::Seal(sealed.clone()), now(self.time_ms));
        self.chain.check_invariants();
        assert_eq!(outcome.verdict == Verdict::Extended, !outcome.steps.is_empty());
        self.fold(&outcome);
        outcome
    }

    fn fold(&mut self, outcome: &Outcome) {
        for step in &outcome.steps {
            if let Step::OpenEpoch { void_after, .. } = step {
                self.log.retain(|held| held.body().sequence <= *void_after);
            }
            if let Some(last) = self.log.last() {
                assert_eq!(step.sealed().body().previous, last.digest(), "steps come in log order");
                assert_eq!(step.sealed().body().sequence, last.body().sequence.next());
            }
            self.log.push(step.sealed().clone());
        }
    }

    #[track_caller]
    fn refused(&mut self, sealed: &Sealed, reason: RefusalReason) {
        match self.give(sealed).verdict {
            Verdict::Refused(refusal) => assert_eq!(refusal.reason, reason, "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
}

fn session(rows: usize) -> (Author, Vec<Sealed>) {
    let mut author = Author::new();
    let seals = author.rows(rows);
    (author, seals)
}

/// Another seal for the same place.
fn rival(author: &Author) -> Sealed {
    let mut author = author.clone();
    let mut body = author.next_body();
    body.objects.iter_mut().filter(|object| object.slot != Slot::Init).for_each(|object| object.length += 1);
    author.sign(&body)
}

#[test]
fn seals_in_order_extend() {
    let (_, seals) = session(9);
    let mut node = Node::joined(&seals[..1]);
    for sealed in &seals[1..] {
        assert_eq!(node.give(sealed).steps, [Step::Extend(sealed.clone())]);
    }
    assert_eq!(node.log, seals);
    assert_eq!(node.chain.head(), Some(&Head::of(&seals[8])));
    assert_eq!(node.chain.head().unwrap().next_msn, MediaSequence(2));
}

#[test]
fn swapped_dropped_and_repeated_seals_find_their_place() {
    let (_, seals) = session(8);
    let mut node = Node::joined(&seals[..1]);
    assert_eq!(node.give(&seals[3]).verdict, Verdict::Buffered);
    assert_eq!(node.give(&seals[3]).verdict, Verdict::Duplicate);
    assert_eq!(node.give(&seals[5]).verdict, Verdict::Buffered);
    let range = Missing::Range { from: LogSequence(1), until: LogSequence(3) };
    assert_eq!(node.chain.missing(), Some(range));
    assert_eq!(node.give(&seals[1]).steps.len(), 1);
    assert_eq!(node.give(&seals[2]).steps.len(), 2, "what waited follows");
    assert_eq!(node.give(&seals[2]).verdict, Verdict::Duplicate);
    assert_eq!(node.chain.missing(), Some(Missing::Range { from: LogSequence(4), until: LogSequence(5) }));
    node.give(&seals[4]);
    assert_eq!((node.chain.missing(), node.chain.next_deadline()), (None, None));
    assert_eq!(node.log, seals[..6]);
}

#[test]
fn seal_whose_predecessor_never_comes_is_refused() {
    let (_, seals) = session(8);
    let mut node = Node::joined(&seals[..1]);
    node.give(&seals[3]);
    let since = node.time_ms;
    let deadline = node.chain.next_deadline().unwrap();
    assert_eq!(deadline, now(since).elapsed + BUFFERED_WAIT_MAX);
    let wait = i64::try_from(BUFFERED_WAIT_MAX.as_millis()).unwrap();
    assert_eq!(node.chain.apply(Input::Tick, now(since + wait - 1)).refused, []);
    let refused = node.chain.apply(Input::Tick, now(since + wait)).refused;
    assert_eq!((refused.len(), refused[0].1.reason), (1, RefusalReason::Chain));
    assert_eq!(node.chain.next_deadline(), None);

    node.give(&seals[5]);
    let refused = node.chain.apply(Input::GiveUp, now(since)).refused;
    assert_eq!((refused.len(), refused[0].1.reason), (1, RefusalReason::Chain));
    node.chain.check_invariants();
}

#[test]
fn fork_is_refused_and_both_seals_are_kept_as_evidence() {
    let (mut author, mut seals) = session(3);
    let other = rival(&author);
    seals.push(author.row());
    let mut node = Node::joined(&seals);
    node.refused(&other, RefusalReason::Equivocation);
    node.refused(&other, RefusalReason::Equivocation);
    assert_eq!(node.log, seals, "the first one stands");
    let [evidence] = node.chain.evidence() else { panic!("one proof: {:?}", node.chain.evidence()) };
    assert_eq!((evidence.held.as_ref(), &evidence.other), (Some(&seals[3]), &other));
    assert_eq!(evidence.held_digest, seals[3].digest());
}

#[test]
fn what_builds_on_a_fork_is_refused() {
    let (mut author, mut seals) = session(3);
    let mut forker = author.clone();
    let other = rival(&forker);
    forker.head = Some(Head::of(&other));
    let child = sign_seal(&forker.next_body(), &*KEY).unwrap();
    seals.push(author.row());
    let mut node = Node::joined(&seals);
    node.refused(&child, RefusalReason::Chain);
    assert_eq!(node.give(&author.row()).steps.len(), 1);
}

#[test]
fn fork_among_waiting_seals_is_evidence_too() {
    let (author, seals) = session(3);
    let mut node = Node::joined(&seals[..1]);
    let mut honest = author.clone();
    assert_eq!(node.give(&honest.row()).verdict, Verdict::Buffered);
    node.refused(&rival(&author), RefusalReason::Equivocation);
    assert_eq!(node.chain.evidence().len(), 1);
}

#[test]
fn slot_stated_again_with_another_digest_is_equivocation() {
    let (mut author, seals) = session(4);
    let mut body = author.next_body();
    // Part 0.2 again, in the next seal of the log.
    let held = seals[2].body();
    body.objects = held.objects.clone();
    body.next_msn = held.next_msn;
    body.objects[0].digest = digest("other bytes");
    let again = author.sign(&body);
    let mut node = Node::joined(&seals);
    node.refused(&again, RefusalReason::Equivocation);
    assert_eq!(node.chain.evidence()[0].held.as_ref(), Some(&seals[2]));
}

#[test]
fn evidence_is_bounded() {
    let (author, seals) = session(3);
    let mut node = Node::joined(&seals);
    node.give(&author.clone().row());
    for n in 0..(2 * EVIDENCE_MAX) {
        let mut body = author.next_body();
        body.objects[0].length += u64::try_from(n).unwrap() + 1;
        node.refused(&author.clone().sign(&body), RefusalReason::Equivocation);
    }
    assert_eq!(node.chain.evidence().len(), EVIDENCE_MAX);
}

#[test]
fn new_epoch_voids_what_came_after_the_seal_it_builds_on() {
    let (mut author, seals) = session(9);
    let base = Head::of(&seals[5]);
    let mut second = Author::after(&base, 2);
    let opening = second.row();
    assert_eq!(opening.body().next_msn, MediaSequence(2), "segment 1 was open and is left behind");
    let mut node = Node::joined(&seals);
    let step = Step::OpenEpoch { sealed: opening.clone(), void_after: LogSequence(5) };
    assert_eq!(node.give(&opening).steps, [step]);
    assert_eq!(node.log, [&seals[..6], std::slice::from_ref(&opening)].concat());
    assert_eq!(node.give(&seals[7]).verdict, Verdict::Duplicate, "a late repeat of a void seal is no attack");
    assert_eq!(node.give(&opening).verdict, Verdict::Duplicate);
    node.refused(&author.row(), RefusalReason::Epoch);
    assert_eq!(node.give(&second.row()).steps.len(), 1);
}

#[test]
fn new_epoch_after_an_end_goes_on() {
    let (mut author, mut seals) = session(6);
    seals.push(author.end());
    let mut node = Node::joined(&seals);
    let head = node.chain.head().unwrap().clone();
    assert_eq!((head.next_msn, head.epoch_start()), (MediaSequence(2), MediaSequence(2)));
    let mut second = Author::after(&head, 2);
    let opening = second.row();
    assert_eq!(node.give(&opening).steps.len(), 1);
    assert_eq!(opening.body().discontinuity.0, 1);
}

#[test]
fn only_a_new_epoch_follows_an_end() {
    let (mut author, mut seals) = session(4);
    seals.push(author.end());
    let after = author.row();
    let mut node = Node::joined(&seals);
    node.refused(&after, RefusalReason::Chain);
}

#[test]
fn epoch_that_was_missed_is_caught_up_with() {
    let (_, first) = session(9);
    let mut author = Author::after(&Head::of(&first[5]), 2);
    let second = author.rows(3);
    let third = Author::after(author.head.as_ref().unwrap(), 3).rows(2);
    let mut node = Node::joined(&first);
    assert_eq!(node.give(&third[0]).verdict, Verdict::Buffered);
    let missing = node.chain.missing();
    // The chain does not know where epoch 2 left the log of epoch 1, so it asks for everything that it remembers.
    assert_eq!(missing, Some(Missing::Range { from: LogSequence(1), until: third[0].body().sequence }));
    let log = [&first[..6], &second[..], &third[..]].concat();
    for sealed in &log[1..9] {
        node.give(sealed);
    }
    assert_eq!(node.log, log[..10]);
    assert_eq!(node.chain.waiting(), 0);
}

#[test]
fn two_sessions_that_claim_one_epoch_are_an_equivocation() {
    let (_, seals) = session(6);
    let mut node = Node::joined(&seals);
    let opening = Author::after(&Head::of(&seals[5]), 2).row();
    let mut other = Author::after(&Head::of(&seals[5]), 2);
    other.salt = 1;
    node.give(&opening);
    node.refused(&other.row(), RefusalReason::Equivocation);
    let mut elsewhere = Author::after(&Head::of(&seals[3]), 2);
    elsewhere.salt = 1;
    node.refused(&elsewhere.row(), RefusalReason::Equivocation);
    assert_eq!(node.chain.evidence().len(), 2);
}

#[test]
fn other_session_within_an_epoch_is_refused() {
    let (mut author, seals) = session(6);
    let mut node = Node::joined(&seals);
    let mut body = author.next_body();
    body.session.0 = [99; 16];
    node.refused(&author.sign(&body), RefusalReason::Identity);
}

/// A change that breaks a rule, with the rule's name.
type Break = (&'static str, fn(&mut crate::SealBody));

/// Gives each broken row of `author` to a node that has `seals`.
fn assert_implausible(seals: &[Sealed], author: &Author, breaks: &[Break]) {
    for (what, break_rule) in breaks {
        let mut body = author.next_body();
        break_rule(&mut body);
        let mut node = Node::joined(seals);
        match node.give(&author.clone().sign(&body)).verdict {
            Verdict::Refused(refusal) => assert_eq!(refusal.reason, RefusalReason::Implausible, "{what}: {refusal}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// Moves the parts of a row to another segment.
fn move_parts(body: &mut crate::SealBody, to: MediaSequence) {
    body.next_msn = to;
    for object in &mut body.objects {
        if let Slot::Part { msn, .. } = &mut object.slot {
            *msn = to;
        }
    }
}

#[test]
fn media_that_do_not_go_on_where_the_log_stops_are_implausible() {
    let (author, seals) = session(6);
    let breaks: [Break; 6] = [
        ("MSN jump", |body| move_parts(body, MediaSequence(5))),
        ("part left out", |body| {
            body.objects.iter_mut().for_each(|object| {
                if let Slot::Part { part, .. } = &mut object.slot {
                    part.0 += 1;
                }
            });
        }),
        ("discontinuity within an epoch", |body| body.discontinuity.0 += 1),
        ("origin changed", |body| body.origin.0 += 1),
        ("time does not go forward", |body| {
            let start = Timestamp::new(900_000, Timescale::VIDEO);
            body.objects.iter_mut().for_each(|object| object.start = start);
        }),
        ("rendition left out", |body| body.objects.retain(|object| object.rendition.as_str() != "audio")),
    ];
    assert_implausible(&seals, &author, &breaks);
}

#[test]
fn epoch_that_does_not_go_on_where_the_log_stops_is_implausible() {
    let (_, seals) = session(6);
    let head = Head::of(&seals[5]);
    let breaks: [Break; 3] = [
        ("no discontinuity", |body| body.discontinuity.0 -= 1),
        ("two discontinuities", |body| body.discontinuity.0 += 1),
        ("MSN goes back", |body| move_parts(body, MediaSequence(1))),
    ];
    assert_implausible(&seals, &Author::after(&head, 2), &breaks);
    let mut node = Node::joined(&seals);
    node.refused(&Author::after(&head, 1_000_000).row(), RefusalReason::Implausible);
    assert_eq!(node.give(&Author::after(&head, 7).row()).verdict, Verdict::Extended, "epochs may be skipped");
}

#[test]
fn restarted_node_takes_nothing_older() {
    let (_, first) = session(9);
    let mut author = Author::after(&Head::of(&first[8]), 2);
    let second = author.rows(6);
    let kept = Head::from_bytes(&Head::of(&second[3]).to_bytes()).unwrap();
    let mut node = Node { chain: Chain::resume(kept), log: Vec::new(), time_ms: 0 };
    node.chain.check_invariants();
    for sealed in &first[..8] {
        node.refused(sealed, RefusalReason::Epoch);
    }
    for sealed in &second[..4] {
        assert_eq!(node.give(sealed).verdict, Verdict::Duplicate);
    }
    assert_eq!(node.join(&first).unwrap_err().reason, RefusalReason::Epoch);
    assert_eq!(node.join(&second[..3]).unwrap_err().reason, RefusalReason::Chain);
    assert_eq!(node.give(&second[4]).steps, [Step::Extend(second[4].clone())]);

    // The node fills its window again from a peer whose log leads to the head.
    let log = [&first[..], &second[..]].concat();
    assert_eq!(node.join(&log[3..]).unwrap().steps.len(), 12);
    assert_eq!(node.log, log[3..]);
}

#[test]
fn log_that_says_otherwise_where_the_head_stands_is_not_joined() {
    let (mut author, mut seals) = session(3);
    let mut forker = author.clone();
    let mut fork = seals.clone();
    for _ in 0..5 {
        let mut body = forker.next_body();
        body.objects.iter_mut().for_each(|object| object.length += 1);
        fork.push(forker.sign(&body));
    }
    seals.extend(author.rows(3));
    let mut node = Node::joined(&seals);
    assert_eq!(node.join(&fork[..5]).unwrap_err().reason, RefusalReason::Chain, "ends before the head");
    assert_eq!(node.join(&fork[..6]).unwrap_err().reason, RefusalReason::Equivocation);
    assert_eq!(node.join(&fork).unwrap_err().reason, RefusalReason::Equivocation);
    assert_eq!(node.log, seals);
}

#[test]
fn log_is_joined_at_a_checkpoint_and_without_holes() {
    let (_, seals) = session(12);
    let join = |tail: &[Sealed]| Chain::new(stream()).join(tail.to_vec(), now(0)).map(|outcome| outcome.steps.len());
    assert_eq!(join(&seals), Ok(12));
    assert_eq!(join(&seals[3..]), Ok(9), "the seal that completes a segment is a checkpoint");
    assert_eq!(join(&seals[7..8]), Ok(1));
    for bad in [&seals[1..], &seals[..0], &[seals[3].clone(), seals[5].clone()][..]] {
        assert_eq!(join(bad).unwrap_err().reason, RefusalReason::Chain);
    }
    // Seals that came before the join wait for it.
    let mut node = Node { chain: Chain::new(stream()), log: Vec::new(), time_ms: 0 };
    assert_eq!(node.give(&seals[4]).verdict, Verdict::Buffered);
    assert_eq!(node.chain.missing(), Some(Missing::Tail));
    assert_eq!(node.join(&seals[3..4]).unwrap().steps.len(), 2);
}

#[test]
fn gap_that_no_peer_can_fill_is_jumped_at_a_checkpoint() {
    let (_, seals) = session(16);
    let mut node = Node::joined(&seals[..2]);
    node.give(&seals[9]);
    assert_eq!(node.join(&seals[7..12]).unwrap().steps.len(), 5);
    assert_eq!(node.chain.waiting(), 0);
    assert_eq!(node.chain.head().unwrap().sequence, LogSequence(11));
}

#[test]
fn waiting_seals_are_bounded_and_the_furthest_give_way() {
    let (_, seals) = session(BUFFERED_MAX + 4);
    let mut node = Node::joined(&seals[..1]);
    for sealed in seals[3..].iter().rev() {
        node.give(sealed);
    }
    assert_eq!(node.chain.waiting(), BUFFERED_MAX);
    node.refused(seals.last().unwrap(), RefusalReason::Chain);
    node.give(&seals[1]);
    node.give(&seals[2]);
    assert_eq!(node.log.len(), BUFFERED_MAX + 3);
}

#[test]
fn history_is_bounded() {
    let (_, seals) = session(HISTORY_MAX + 10);
    let mut node = Node::joined(&seals[..1]);
    seals[1..].iter().for_each(|sealed| drop(node.give(sealed)));
    assert_eq!(node.give(&seals[0]).verdict, Verdict::Duplicate);
    // An epoch that builds on a forgotten seal needs a peer's log.
    let second = Author::after(&Head::of(&seals[3]), 2).rows(2);
    assert_eq!(node.give(&second[0]).verdict, Verdict::Buffered);
    assert_eq!(node.chain.missing(), Some(Missing::Tail));
    assert_eq!(node.join(&[&seals[..4], &second[..]].concat()).unwrap().steps.len(), 6);
    assert_eq!(node.chain.head().unwrap().epoch, Epoch(2));
}

#[derive(Debug, Clone)]
struct Session {
    back: usize,
    skip: u64,
    rows: usize,
    ends: bool,
}

/// All seals ever made, in order, and the resulting log.
fn history(sessions: &[Session]) -> (Vec<Sealed>, Vec<Sealed>) {
    let (mut all, mut log) = (Vec::new(), Vec::<Sealed>::new());
    let mut epoch = 0;
    for session in sessions {
        epoch += session.skip;
        log.truncate(log.len().saturating_sub(session.back).max(1));
        let mut author = match log.last() {
            Some(base) => Author::after(&Head::of(base), epoch),
            None => Author::opening(epoch),
        };
        let mut seals = author.rows(session.rows);
        if session.ends {
            seals.push(author.end());
        }
        all.extend(seals.iter().cloned());
        log.extend(seals);
    }
    (all, log)
}

fn sessions() -> impl Strategy<Value = Vec<Session>> {
    let one = (0..6_usize, 1..3_u64, 1..9_usize, any::<bool>());
    vec(one.prop_map(|(back, skip, rows, ends)| Session { back, skip, rows, ends }), 1..5)
}

/// The seals as the bus delivers them: each 0 to 2 times, up to `displacement` places late.
fn delivery(all: &[Sealed], fate: &[(u8, usize)]) -> Vec<Sealed> {
    let mut queue = Vec::new();
    for (index, sealed) in all.iter().enumerate() {
        let (copies, late) = fate[index % fate.len()];
        for copy in 0..usize::from(copies) {
            queue.push((index + late * (copy + 1), sealed.clone()));
        }
    }
    queue.sort_by_key(|(at, _)| *at);
    queue.into_iter().map(|(_, sealed)| sealed).collect()
}

/// Asks a peer that has the whole log, for its head first, until nothing is missing.
fn catch_up(node: &mut Node, log: &[Sealed]) {
    let newest = log.last().unwrap();
    for round in 0.. {
        assert!(round < 10, "catch-up ends");
        let outcome = node.give(newest);
        assert!(!matches!(outcome.verdict, Verdict::Refused(_)), "{outcome:?}");
        match node.chain.missing() {
            None => break,
            Some(Missing::Tail) => drop(node.join(log).unwrap()),
            Some(Missing::Range { from, until }) => {
                assert!(from < until);
                for sealed in log.iter().filter(|sealed| sealed.body().sequence >= from) {
                    let outcome = node.give(sealed);
                    assert!(!matches!(outcome.verdict, Verdict::Refused(_)), "{outcome:?}");
                }
            }
        }
    }
    assert_eq!(node.chain.head(), Some(&Head::of(newest)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_node_ends_with_the_same_log(
        sessions in sessions(), fate in vec((0..3_u8, 0..12_usize), 1..40), at in any::<prop::sample::Index>(),
    ) {
        let (all, log) = history(&sessions);
        let mut node = Node::joined(&log[..1]);
        let delivered = delivery(&all, &fate);
        let restart = at.index(delivered.len() + 1);
        for (index, sealed) in delivered.iter().enumerate() {
            if index == restart {
                // A restart keeps only the head; the log before it is the admitted one.
                node.chain = Chain::resume(node.chain.head().unwrap().clone());
            }
            let outcome = node.give(sealed);
            if let Verdict::Refused(refusal) = &outcome.verdict {
                prop_assert_eq!(refusal.reason, RefusalReason::Epoch, "only void seals are refused: {}", refusal);
            }
            prop_assert!(outcome.refused.is_empty(), "{:?}", outcome.refused);
        }
        catch_up(&mut node, &log);
        prop_assert_eq!(&node.log, &log);
        prop_assert!(node.chain.evidence().is_empty(), "honest authors");
    }

    #[test]
    fn forks_never_break_the_chain(
        sessions in sessions(), fate in vec((0..3_u8, 0..12_usize), 1..40), forks in vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let (mut all, log) = history(&sessions);
        let first = log[0].clone();
        for fork in forks {
            let at = fork.index(all.len());
            let mut body = all[at].body().clone();
            body.objects.iter_mut().filter(|object| object.slot != Slot::Init).for_each(|object| object.length += 1);
            body.issued_at.0 += 1;
            all.insert(at, sign_seal(&body, &*KEY).unwrap());
        }
        let mut node = Node::joined(&[first]);
        for sealed in delivery(&all, &fate) {
            node.give(&sealed);
        }
        let time = node.time_ms;
        node.chain.apply(Input::GiveUp, now(time));
        node.chain.check_invariants();
        prop_assert_eq!(node.chain.waiting(), 0);
    }
}
