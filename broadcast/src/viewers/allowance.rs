//! How many viewers watch with one token at once, where the token says how many may: by their addresses, on this node. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Most tokens that are counted; more of them are not, so that nobody is refused for others.
const TOKENS_MAX: usize = 16_384;
/// Most addresses of a token that are counted; a token that allows more allows any number.
const VIEWERS_MAX: usize = 256;
/// An address that has asked for nothing for this long watches no more. Players ask every few seconds; whoever moves to another network waits
/// for as long.
const IDLE: Duration = Duration::from_secs(15);

/// Who watches with which token.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    tokens: HashMap<[u8; 32], Vec<(IpAddr, Duration)>>,
}

impl Allowances {
    /// Whether the holder of a token at this address is within its allowance.
    pub(super) fn admits(&mut self, token: [u8; 32], address: IpAddr, viewers_max: u64, now: Duration) -> bool {
        let Some(most) = usize::try_from(viewers_max).ok().filter(|most| *most <= VIEWERS_MAX) else { return true };
        let is_idle = |last: Duration| now.saturating_sub(last) >= IDLE;
        if !self.tokens.contains_key(&token) && self.tokens.len() >= TOKENS_MAX {
            self.tokens.retain(|_, viewers| viewers.iter().any(|(_, last)| !is_idle(*last)));
            if self.tokens.len() >= TOKENS_MAX {
                return true;
            }
        }
        let viewers = self.tokens.entry(token).or_default();
        if let Some((_, last)) = viewers.iter_mut().find(|(known, _)| *known == address) {
            *last = now;
            return true;
        }
        viewers.retain(|(_, last)| !is_idle(*last));
        let has_room = viewers.len() < most;
        if has_room {
            viewers.push((address, now));
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    const TOKEN: [u8; 32] = [1; 32];
    const SECOND: Duration = Duration::from_secs(1);

    /// Case C7.
    #[test]
    fn link_of_fifty_networks_is_cut_down_and_tabs_and_movers_go_on() {
        let mut it = Allowances::default();
        let admitted = (0..50).filter(|n| it.admits(TOKEN, at(*n), 2, SECOND)).count();
        assert_eq!(admitted, 2);
        // Four tabs of one viewer are one viewer.
        assert!((0..4).all(|_| it.admits(TOKEN, at(0), 2, SECOND * 2)) && it.admits(TOKEN, at(1), 2, SECOND * 2));
        // One has moved: its old address is idle, and the other's is not.
        assert!(it.admits(TOKEN, at(1), 2, SECOND * 17) && it.admits(TOKEN, at(9), 2, SECOND * 17));
        assert!(!it.admits(TOKEN, at(0), 2, SECOND * 17), "its place is taken");
        assert!(it.admits([2; 32], at(0), 1, SECOND * 17), "another token has its own allowance");
        assert!((0..1_000).all(|n| it.admits([3; 32], at(n), 1_000, SECOND)), "more than are counted");
    }

    #[test]
    fn tokens_that_are_counted_are_bounded_and_idle_ones_go() {
        let mut it = Allowances::default();
        let token = |n: u32| {
            let mut token = [0; 32];
            token[..4].copy_from_slice(&n.to_be_bytes());
            token
        };
        let many = u32::try_from(TOKENS_MAX).unwrap();
        assert!((0..many + 10).all(|n| it.admits(token(n), at(1), 1, SECOND)));
        assert_eq!(it.tokens.len(), TOKENS_MAX);
        assert!(it.admits(token(many + 1), at(2), 1, SECOND), "not counted");
        assert!(it.admits(token(many + 1), at(1), 1, SECOND * 60));
        assert_eq!(it.tokens.len(), 1);
        assert!(!it.admits(token(many + 1), at(2), 1, SECOND * 60));
    }
}
