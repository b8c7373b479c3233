//! When a delivery that failed is tried again. Pure.

use std::time::Duration;

/// Pauses after each failed attempt, in seconds: close together at first, for receivers that restart, and a day in all.
const PAUSES_S: [u64; 9] = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200];
/// Attempts of one delivery; then it is given up.
pub const ATTEMPTS_MAX: u32 = 1 + PAUSES_S.len() as u32;
/// An endpoint that has failed for this long, and once more, is disabled: as long as the pauses are together, without jitter.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(81_755);
/// Longest pause that a receiver may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(43_200);
/// By how much a pause may be longer or shorter, in thousandths, so that deliveries that failed together do not come back together.
const JITTER_PER_MILLE: u64 = 200;

/// The pause after the failed attempt with this number, counted from 1; `None` after the last. `random` is any number, and decides the jitter. A
/// receiver's `Retry-After` makes the pause longer, and never shorter.
pub fn pause(failed: u32, random: u64, retry_after: Option<Duration>) -> Option<Duration> {
    let index = usize::try_from(failed.checked_sub(1)?).ok()?;
    let base_ms = PAUSES_S.get(index)?.saturating_mul(1_000);
    let spread = random.checked_rem(2 * JITTER_PER_MILLE + 1).unwrap_or(0);
    let per_mille = (1_000 - JITTER_PER_MILLE).saturating_add(spread);
    let own = Duration::from_millis(base_ms.saturating_mul(per_mille) / 1_000);
    Some(own.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_to_a_day_in_all() {
        let pauses: Vec<_> = (1..ATTEMPTS_MAX).map(|failed| pause(failed, JITTER_PER_MILLE, None).unwrap()).collect();
        assert!(pauses.is_sorted() && pauses.iter().sum::<Duration>() == GIVE_UP_AFTER, "{pauses:?}");
        assert!((22 * 3_600..=24 * 3_600).contains(&GIVE_UP_AFTER.as_secs()));
        assert_eq!((pause(0, 0, None), pause(ATTEMPTS_MAX, 0, None)), (None, None));
    }

    /// Case E7.
    #[test]
    fn receiver_may_ask_for_a_longer_pause_within_bounds() {
        let asked = |seconds| pause(1, 0, Some(Duration::from_secs(seconds))).unwrap().as_secs();
        assert_eq!((asked(0), asked(60), asked(1_000_000)), (4, 60, 43_200));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(failed in 1..ATTEMPTS_MAX, random in any::<u64>()) {
            let base = Duration::from_secs(PAUSES_S[failed as usize - 1]);
            let pause = pause(failed, random, None).unwrap();
            prop_assert!(pause >= base * 4 / 5 && pause <= base * 6 / 5, "{:?} of {:?}", pause, base);
        }
    }
}
