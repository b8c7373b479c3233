//! How often callers may ask: token buckets per credential, tenant and address. Pure.

use std::collections::HashMap;
use std::time::Duration;

/// Most buckets. When there are more, those that are full again go first.
const BUCKETS_MAX: usize = 65_536;
/// What a request without a valid credential takes from its address: guessing has to be slow.
pub(crate) const FAILED_COST: f64 = 20.0;

/// How much a bucket holds, and how fast it fills.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    name: &'static str,
    /// Requests at once.
    burst: f64,
    /// Requests per second after that.
    per_second: f64,
}

/// A program that makes a thousand streams is done within a minute.
pub(crate) const CREDENTIAL: Rate = Rate { name: "credential", burst: 600.0, per_second: 20.0 };
/// Four programs at once.
pub(crate) const TENANT: Rate = Rate { name: "tenant", burst: 2_400.0, per_second: 80.0 };
/// Guesses at one account from one network. A person mistypes a password a few times.
pub(crate) const SIGN_IN: Rate = Rate { name: "sign-in", burst: 10.0, per_second: 0.02 };
/// Guesses at one account from everywhere: not so few that somebody else could keep its owner out for long.
pub(crate) const SIGN_IN_ACCOUNT: Rate = Rate { name: "sign-in-account", burst: 100.0, per_second: 0.1 };
/// Guesses from one network: a class signs in at the same moment.
pub(crate) const SIGN_IN_ADDRESS: Rate = Rate { name: "sign-in-address", burst: 60.0, per_second: 0.5 };
/// An office behind one router.
pub(crate) const ADDRESS: Rate = Rate { name: "address", burst: 1_200.0, per_second: 40.0 };

/// What people of one network write in chats together.
pub(crate) const CHAT_ADDRESS: Rate = Rate { name: "chat-address", burst: 60.0, per_second: 5.0 };
/// What one writer writes in one chat: a conversation, and no flood.
pub(crate) const CHAT_WRITER: Rate = Rate { name: "chat-writer", burst: 5.0, per_second: 0.5 };
/// Records of refusals without a valid credential: a hundred at once and a hundred a day, of a million records that are kept.
pub(crate) const ANONYMOUS: Rate = Rate { name: "anonymous", burst: 100.0, per_second: 100.0 / 86_400.0 };
/// Records of refusals of one credential.
pub(crate) const REFUSED: Rate = Rate { name: "refused", burst: 1_000.0, per_second: 1_000.0 / 86_400.0 };

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

/// The buckets of all callers.
#[derive(Debug, Default)]
pub(crate) struct Buckets(HashMap<(&'static str, String), Bucket>);

/// What a caller is told of its bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Standing {
    rate: Rate,
    tokens: f64,
}

/// There is no room now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exhausted {
    pub(crate) standing: Standing,
    pub(crate) retry_after_s: u64,
}

impl Buckets {
    /// Takes `cost` out of the bucket of `who`.
    pub(crate) fn take(&mut self, rate: Rate, who: &str, cost: f64, now: Duration) -> Result<Standing, Exhausted> {
        self.make_room(now);
        let key = (rate.name, who.to_owned());
        let bucket = self.0.entry(key).or_insert(Bucket { tokens: rate.burst, at: now });
        bucket.tokens = filled(*bucket, rate, now);
        bucket.at = now;
        if bucket.tokens < cost {
            let wait = ((cost - bucket.tokens) / rate.per_second).ceil().max(1.0);
            let standing = Standing { rate, tokens: bucket.tokens };
            return Err(Exhausted { standing, retry_after_s: whole(wait) });
        }
        bucket.tokens -= cost;
        Ok(Standing { rate, tokens: bucket.tokens })
    }

    fn make_room(&mut self, now: Duration) {
        if self.0.len() < BUCKETS_MAX {
            return;
        }
        let rates = [
            CREDENTIAL,
            TENANT,
            ADDRESS,
            SIGN_IN,
            SIGN_IN_ACCOUNT,
            SIGN_IN_ADDRESS,
            CHAT_ADDRESS,
            CHAT_WRITER,
            ANONYMOUS,
            REFUSED,
        ];
        let is_used = |name: &str, bucket: &Bucket| {
            rates.iter().any(|rate| rate.name == name && filled(*bucket, *rate, now) < rate.burst)
        };
        self.0.retain(|(name, _), bucket| is_used(name, bucket));
        if self.0.len() >= BUCKETS_MAX {
            // Somebody has that many addresses. What they have used is forgotten, and nobody is shut out. What was guessed at one account
            // is forgotten last: otherwise many addresses could guess without end.
            self.0.retain(|(name, _), _| *name == SIGN_IN_ACCOUNT.name);
        }
        if self.0.len() >= BUCKETS_MAX {
            self.0.clear();
        }
    }
}

fn filled(bucket: Bucket, rate: Rate, now: Duration) -> f64 {
    (bucket.tokens + now.saturating_sub(bucket.at).as_secs_f64() * rate.per_second).min(rate.burst)
}

fn whole(number: f64) -> u64 {
    // In range: no bucket holds more than a few thousand.
    Duration::try_from_secs_f64(number.max(0.0)).map_or(0, |span| span.as_secs())
}

impl Standing {
    /// Whether less of this is left than of the other, in proportion.
    pub(crate) fn is_tighter_than(&self, other: &Self) -> bool {
        self.tokens / self.rate.burst < other.tokens / other.rate.burst
    }

    /// The value of `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn policy(&self) -> String {
        let Rate { name, burst, per_second } = self.rate;
        format!("\"{name}\";q={};w={}", whole(burst), whole(burst / per_second))
    }

    /// The value of `RateLimit`.
    pub(crate) fn left(&self) -> String {
        let Rate { name, burst, per_second } = self.rate;
        format!("\"{name}\";r={};t={}", whole(self.tokens), whole(((burst - self.tokens) / per_second).ceil()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { name: "credential", burst: 3.0, per_second: 0.5 };

    #[test]
    fn burst_is_free_and_then_there_is_room_as_time_goes_by() {
        let (mut buckets, at) = (Buckets::default(), Duration::from_secs);
        for left in [2, 1, 0] {
            let standing = buckets.take(RATE, "a", 1.0, at(10)).unwrap();
            assert!(standing.left().starts_with(&format!("\"credential\";r={left};t=")), "{}", standing.left());
            assert_eq!(standing.policy(), "\"credential\";q=3;w=6");
        }
        assert_eq!(buckets.take(RATE, "a", 1.0, at(10)).unwrap_err().retry_after_s, 2);
        assert!(buckets.take(RATE, "b", 1.0, at(10)).is_ok(), "another caller");
        assert_eq!(buckets.take(RATE, "a", 1.0, at(11)).unwrap_err().retry_after_s, 1);
        assert!(buckets.take(RATE, "a", 1.0, at(12)).is_ok());
        assert!(buckets.take(RATE, "a", 3.0, at(100)).is_ok() && buckets.take(RATE, "a", 1.0, at(100)).is_err());
    }

    #[test]
    fn flood_of_callers_does_not_grow_memory() {
        let mut buckets = Buckets::default();
        for n in 0..2 * BUCKETS_MAX {
            buckets.take(ADDRESS, &n.to_string(), 1.0, Duration::ZERO).unwrap();
            assert!(buckets.0.len() <= BUCKETS_MAX);
        }
    }
}
