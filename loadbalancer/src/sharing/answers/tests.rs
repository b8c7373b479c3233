use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { entries: 3, bytes: 100, waiting: 5 };
const SECOND: Duration = Duration::from_secs(1);

type Table = Answers<char, FetchId, &'static str>;

fn table() -> Table {
    Answers::new(LIMITS)
}

fn ask(table: &mut Table, key: char, now: Duration) -> Reply<FetchId, &'static str> {
    let kept = table.kept(&key, now);
    let reply = table.ask(&key, now, |id| id);
    table.check_invariants();
    assert_eq!(kept, if let Reply::Kept(answer) = reply { Some(answer) } else { None });
    reply
}

fn fetch(table: &mut Table, key: char, now: Duration) -> FetchId {
    match ask(table, key, now) {
        Reply::Fetch(id) => id,
        other => panic!("{other:?}"),
    }
}

const fn keep(bytes: usize, until: Duration) -> Landing<&'static str> {
    Landing::Keep { answer: "answer", bytes, until }
}

#[test]
fn many_viewers_share_one_fetch_and_later_ones_its_answer_until_it_ends() {
    let mut table = table();
    let id = fetch(&mut table, 'a', SECOND);
    assert_eq!(ask(&mut table, 'a', SECOND), Reply::Wait(id));
    assert!(matches!(ask(&mut table, 'b', SECOND), Reply::Fetch(other) if other != id));
    table.land(&'a', id, keep(10, 2 * SECOND), SECOND);
    assert_eq!(table.waiting(), 1);
    assert_eq!(ask(&mut table, 'a', 2 * SECOND - Duration::from_nanos(1)), Reply::Kept("answer"));
    assert!(matches!(ask(&mut table, 'a', 2 * SECOND), Reply::Fetch(_)));
}

#[test]
fn fetch_ends_with_the_last_viewer_who_waits() {
    let mut table = table();
    let id = fetch(&mut table, 'a', SECOND);
    ask(&mut table, 'a', SECOND);
    assert!(!table.leave(&'a', id));
    assert!(table.leave(&'a', id));
    table.check_invariants();
    let next = fetch(&mut table, 'a', SECOND);
    assert!(!table.leave(&'a', id), "that fetch is over");
    table.land(&'a', id, keep(10, 2 * SECOND), SECOND);
    assert_eq!(ask(&mut table, 'a', SECOND), Reply::Wait(next), "what an old fetch brings is nobody's answer");
}

#[test]
fn answers_that_end_at_once_and_failures_are_for_those_who_waited() {
    let mut table = table();
    for landing in [keep(10, SECOND), Landing::Forget, Landing::Unshared { until: SECOND }] {
        let id = fetch(&mut table, 'a', SECOND);
        table.land(&'a', id, landing, SECOND);
        table.check_invariants();
    }
    fetch(&mut table, 'a', SECOND);
}

#[test]
fn viewers_of_what_is_not_shared_ask_by_themselves_for_a_while() {
    let mut table = table();
    let id = fetch(&mut table, 'a', SECOND);
    table.land(&'a', id, Landing::Unshared { until: 2 * SECOND }, SECOND);
    assert_eq!(ask(&mut table, 'a', SECOND), Reply::Alone);
    fetch(&mut table, 'a', 2 * SECOND);
}

#[test]
fn beyond_its_bounds_nothing_is_shared() {
    let mut table = table();
    let id = fetch(&mut table, 'a', SECOND);
    for _ in 1..LIMITS.waiting {
        assert_eq!(ask(&mut table, 'a', SECOND), Reply::Wait(id));
    }
    assert_eq!(ask(&mut table, 'a', SECOND), Reply::Alone);
    assert_eq!(ask(&mut table, 'b', SECOND), Reply::Alone);
    table.land(&'a', id, keep(LIMITS.bytes + 1, 2 * SECOND), SECOND);
    assert_eq!(table.bytes, 0, "too large to be kept");
    for key in ['a', 'b', 'c'] {
        let id = fetch(&mut table, key, SECOND);
        table.land(&key, id, keep(LIMITS.bytes / 3, 2 * SECOND), SECOND);
    }
    assert_eq!(ask(&mut table, 'd', SECOND), Reply::Alone);
    fetch(&mut table, 'd', 2 * SECOND);
}

#[derive(Debug, Clone)]
enum Step {
    Ask(char),
    Leave(char),
    Land(char, usize, u64),
    Unshare(char, u64),
    Fail(char),
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let key = || prop::char::range('a', 'e');
    let step = prop_oneof![
        4 => key().prop_map(Step::Ask),
        1 => key().prop_map(Step::Leave),
        1 => (key(), 0usize..60, 0u64..20).prop_map(|(key, bytes, ms)| Step::Land(key, bytes, ms)),
        1 => (key(), 0u64..20).prop_map(|(key, ms)| Step::Unshare(key, ms)),
        1 => key().prop_map(Step::Fail),
    ];
    prop::collection::vec((0u64..10, step), 1..300)
}

proptest! {
    /// A model with a fetch and a number of viewers for each key: each viewer waits for the fetch that is under way, an answer is for its
    /// own key only, and nobody gets one after its end.
    #[test]
    fn any_order_of_events_keeps_the_invariants(steps in steps()) {
        let mut table: Answers<char, FetchId, (char, Duration)> = Answers::new(LIMITS);
        let mut fetches: HashMap<char, (FetchId, usize)> = HashMap::new();
        let mut now = Duration::ZERO;
        for (wait, step) in steps {
            now += Duration::from_millis(wait);
            match step {
                Step::Ask(key) => match table.ask(&key, now, |id| id) {
                    Reply::Kept((kept, until)) => prop_assert!(kept == key && until > now && !fetches.contains_key(&key)),
                    Reply::Wait(id) => {
                        let (current, waiting) = fetches.get_mut(&key).unwrap();
                        prop_assert_eq!(*current, id);
                        *waiting += 1;
                    }
                    Reply::Fetch(id) => prop_assert!(fetches.insert(key, (id, 1)).is_none()),
                    Reply::Alone => {}
                },
                Step::Leave(key) => if let Some((id, waiting)) = fetches.get_mut(&key) {
                    *waiting -= 1;
                    let is_last = *waiting == 0;
                    prop_assert_eq!(table.leave(&key, *id), is_last);
                    if is_last {
                        fetches.remove(&key);
                    }
                },
                Step::Land(key, bytes, ms) => if let Some((id, _)) = fetches.remove(&key) {
                    let until = now + Duration::from_millis(ms);
                    table.land(&key, id, Landing::Keep { answer: (key, until), bytes, until }, now);
                },
                Step::Unshare(key, ms) => if let Some((id, _)) = fetches.remove(&key) {
                    table.land(&key, id, Landing::Unshared { until: now + Duration::from_millis(ms) }, now);
                },
                Step::Fail(key) => if let Some((id, _)) = fetches.remove(&key) {
                    table.land(&key, id, Landing::Forget, now);
                },
            }
            table.check_invariants();
            prop_assert_eq!(table.waiting(), fetches.values().map(|(_, waiting)| waiting).sum::<usize>());
        }
    }
}
