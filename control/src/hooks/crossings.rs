//! When something crosses a bound: a tenant comes near a quota or reaches it, an issuer's keys grow old. Each crossing is said once. Pure.
//!
//! What swings around a bound crosses it once: it counts as back below when it has been clearly below for a while.

use std::collections::BTreeMap;
use std::time::Duration;

/// A quota is nearly used up from this share on, and that is over below the other one. In percent.
const WARNED: u64 = 80;
const WARNED_OVER: u64 = 70;
/// A quota is reached when all of it is used, and that is over below this share.
const REACHED_OVER: u64 = 90;
/// For how long something has to be below before that counts: longer than an encoder takes to come back, and a viewer to look elsewhere.
const CALM: Duration = Duration::from_secs(60);

/// How far something is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// All is well.
    #[default]
    Below,
    Warned,
    Reached,
}

impl Level {
    /// Where the use of a quota is now, by itself.
    fn of(used: u64, quota: u64) -> Self {
        match () {
            () if used == 0 => Self::Below,
            () if used >= quota => Self::Reached,
            () if is_share(used, quota, WARNED) => Self::Warned,
            () => Self::Below,
        }
    }

    /// Whether the use of a quota is so little that this level is over.
    fn is_over(self, used: u64, quota: u64) -> bool {
        match self {
            Self::Below => false,
            Self::Warned => !is_share(used, quota, WARNED_OVER),
            Self::Reached => !is_share(used, quota, REACHED_OVER),
        }
    }
}

/// Whether at least so many percent of a quota are used.
fn is_share(used: u64, quota: u64, percent: u64) -> bool {
    u128::from(used) * 100 >= u128::from(quota) * u128::from(percent)
}

/// What is seen of something now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Use {
        used: u64,
        quota: u64,
    },
    /// Well, or not.
    Is(bool),
}

impl Seen {
    fn level(self) -> Level {
        match self {
            Self::Use { used, quota } => Level::of(used, quota),
            Self::Is(true) => Level::Below,
            Self::Is(false) => Level::Reached,
        }
    }

    fn ends(self, level: Level) -> bool {
        match self {
            Self::Use { used, quota } => level.is_over(used, quota),
            Self::Is(is_well) => is_well && level > Level::Below,
        }
    }
}

/// Where something stands.
#[derive(Debug, Default)]
struct Standing {
    level: Level,
    /// Since when it is below.
    below: Option<Duration>,
}

/// Something that has crossed a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crossed {
    pub(crate) subject: String,
    /// Where it stands from now on.
    pub(crate) level: Level,
    /// It got worse.
    pub(crate) is_rise: bool,
}

/// Where everything stands, by what tells it from the rest.
#[derive(Debug, Default)]
pub(crate) struct Crossings {
    standings: BTreeMap<String, Standing>,
}

impl Crossings {
    /// Goes on where somebody else has left off.
    pub(crate) fn resume(levels: impl IntoIterator<Item = (String, Level)>) -> Self {
        let standing = |(subject, level)| (subject, Standing { level, below: None });
        Self { standings: levels.into_iter().map(standing).collect() }
    }

    /// Takes what is seen of everything there is. Returns what has crossed a bound; what is gone is forgotten.
    pub(crate) fn see(&mut self, all: &BTreeMap<String, Seen>, now: Duration) -> Vec<Crossed> {
        let mut crossed = Vec::new();
        self.standings.retain(|subject, _| all.contains_key(subject));
        for (subject, seen) in all {
            let is_known = self.standings.contains_key(subject);
            if !is_known && seen.level() == Level::Below {
                continue;
            }
            let standing = self.standings.entry(subject.clone()).or_default();
            let before = standing.level;
            if seen.level() > before {
                *standing = Standing { level: seen.level(), below: None };
            } else if seen.ends(before) {
                let since = *standing.below.get_or_insert(now);
                if now.saturating_sub(since) >= CALM {
                    *standing = Standing { level: seen.level(), below: None };
                }
            } else {
                standing.below = None;
            }
            if standing.level != before {
                let (level, is_rise) = (standing.level, standing.level > before);
                crossed.push(Crossed { subject: subject.clone(), level, is_rise });
            }
            if standing.level == Level::Below {
                self.standings.remove(subject);
            }
        }
        crossed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn see(crossings: &mut Crossings, second: u64, seen: Seen) -> Option<Level> {
        let all = [("acme".to_owned(), seen)].into();
        crossings.see(&all, Duration::from_secs(second)).pop().map(|crossed| crossed.level)
    }

    fn uses(used: u64) -> Seen {
        Seen::Use { used, quota: 100 }
    }

    #[test]
    fn each_crossing_is_said_once_on_the_way_up() {
        let mut crossings = Crossings::default();
        let told: Vec<_> = (0..=130).filter_map(|used| Some((used, see(&mut crossings, used, uses(used))?))).collect();
        assert_eq!(told, [(80, Level::Warned), (100, Level::Reached)]);
        assert_eq!(see(&mut crossings, 200, Seen::Use { used: 130, quota: 1_000 }), None, "it was raised just now");
        assert_eq!(see(&mut crossings, 260, Seen::Use { used: 130, quota: 1_000 }), Some(Level::Below));
        assert_eq!(see(&mut crossings, 261, uses(200)), Some(Level::Reached), "what jumps over a bound is said once");
    }

    #[test]
    fn what_swings_around_a_bound_crosses_it_once_and_again_after_a_calm() {
        let mut crossings = Crossings::default();
        assert_eq!(see(&mut crossings, 0, uses(101)), Some(Level::Reached));
        for second in 1..500 {
            // Encoders that reconnect: clearly below for half a minute, and back.
            let used = if second % 60 < 30 { 50 } else { 101 };
            assert_eq!(see(&mut crossings, second, uses(used)), None, "{second}");
        }
        for second in 500..1_000 {
            assert_eq!(see(&mut crossings, second, uses(91 + second % 20)), None, "not clearly below");
        }
        assert_eq!(see(&mut crossings, 1_000, uses(85)), None);
        assert_eq!(see(&mut crossings, 1_060, uses(85)), Some(Level::Warned), "a minute below 90");
        assert_eq!(see(&mut crossings, 1_061, uses(100)), Some(Level::Reached));
    }

    #[test]
    fn nothing_used_reaches_no_quota_and_what_is_gone_is_forgotten() {
        let mut crossings = Crossings::default();
        assert_eq!(see(&mut crossings, 0, Seen::Use { used: 0, quota: 0 }), None);
        assert_eq!(see(&mut crossings, 1, Seen::Use { used: 1, quota: 0 }), Some(Level::Reached));
        assert_eq!(crossings.see(&BTreeMap::new(), Duration::from_secs(2)), []);
        assert!(crossings.standings.is_empty());
        assert_eq!(see(&mut crossings, 3, Seen::Is(false)), Some(Level::Reached));
        assert_eq!((see(&mut crossings, 4, Seen::Is(true)), see(&mut crossings, 5, Seen::Is(false))), (None, None));
        let mut resumed = Crossings::resume([("acme".to_owned(), Level::Reached)]);
        assert_eq!(see(&mut resumed, 0, Seen::Is(false)), None, "another control node has said so");
    }

    proptest! {
        /// Whatever is used: nothing is said twice in a row, and so seldom that it is no flood.
        #[test]
        fn no_use_makes_a_flood(steps in prop::collection::vec((0u64..200, 0u64..30), 1..400)) {
            let (mut crossings, mut second, mut before, mut raised) = (Crossings::default(), 0, Level::Below, 0u64);
            for (used, pause) in steps {
                second += pause;
                if let Some(level) = see(&mut crossings, second, uses(used)) {
                    prop_assert_ne!(level, before);
                    raised += u64::from(level > before);
                    before = level;
                }
            }
            prop_assert!(raised <= 2 + second / 60 * 2, "{} in {} s", raised, second);
        }
    }
}
