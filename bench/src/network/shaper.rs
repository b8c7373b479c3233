//! Simulates one direction of a link: rate, queue, delay, loss and pauses. Pure: `now` comes in, the time of arrival goes out.

use std::collections::VecDeque;
use std::time::Duration;

/// Capacity of the queue: a second at 1.2 Mbit/s. A full queue drops new packets, as a router does.
const QUEUE_BYTES_MAX: u64 = 150_000;

/// Properties of one direction of a link. Times count from the moment at which the shape takes effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) bits_per_second: u64,
    /// A lower rate that alternates with `bits_per_second`, and how long each lasts.
    pub(crate) falls_to: Option<(u64, Duration)>,
    /// Time from the end of the queue to the other side.
    pub(crate) delay: Duration,
    pub(crate) lost_per_mille: u64,
    /// Pauses in which nothing leaves the queue: `(length, period)`.
    pub(crate) pause: Option<(Duration, Duration)>,
}

/// A link that is as fast as the machine.
pub(crate) const OPEN: Shape =
    Shape { bits_per_second: 1_000_000_000, falls_to: None, delay: Duration::ZERO, lost_per_mille: 0, pause: None };

impl Shape {
    /// Bits per second at a moment.
    fn rate(&self, now: Duration) -> u64 {
        match self.falls_to {
            Some((low, turn)) if (now.as_nanos() / turn.as_nanos()) % 2 == 1 => low,
            _ => self.bits_per_second,
        }
    }

    /// The end of the pause that `now` falls into, else `now`.
    fn after_pause(&self, now: Duration) -> Duration {
        let Some((length, period)) = self.pause else { return now };
        let into = Duration::from_nanos((now.as_nanos() % period.as_nanos()) as u64);
        if into < length { now + (length - into) } else { now }
    }
}

/// The state of one direction of a link.
#[derive(Debug)]
pub(crate) struct Shaper {
    shape: Shape,
    /// Waiting packets: when each leaves, and its bytes. Bounded by [`QUEUE_BYTES_MAX`].
    queue: VecDeque<(Duration, u64)>,
    queued_bytes: u64,
    /// When all accepted packets have left the queue.
    free_at: Duration,
    random: u64,
    /// Bytes of all accepted packets.
    pub(crate) bytes: u64,
}

impl Shaper {
    pub(crate) const fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, queue: VecDeque::new(), queued_bytes: 0, free_at: Duration::ZERO, random: seed, bytes: 0 }
    }

    /// Takes a packet. Returns when it arrives on the other side, or `None` when it is lost. Packets never overtake one another.
    pub(crate) fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let bytes = bytes as u64;
        while let Some((_, left)) = self.queue.pop_front_if(|(leaves, _)| *leaves <= now) {
            self.queued_bytes -= left;
        }
        if self.queued_bytes + bytes > QUEUE_BYTES_MAX || self.draw() < self.shape.lost_per_mille {
            return None;
        }
        let begins = self.shape.after_pause(self.free_at.max(now));
        let leaves = begins + Duration::from_nanos(bytes * 8 * 1_000_000_000 / self.shape.rate(begins));
        self.free_at = leaves;
        self.queue.push_back((leaves, bytes));
        self.queued_bytes += bytes;
        self.bytes += bytes;
        Some(leaves + self.shape.delay)
    }

    /// A random number of 0 to 999 (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::{OPEN, QUEUE_BYTES_MAX, Shape, Shaper};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    /// Sends packets of 1,000 bytes at a steady pace, and returns their arrivals.
    fn offer(shape: Shape, packets_a_second: u32, seconds: u32) -> Vec<Duration> {
        let mut shaper = Shaper::new(shape, 1);
        (0..packets_a_second * seconds).filter_map(|n| shaper.pass(SECOND * n / packets_a_second, 1_000)).collect()
    }

    fn within(arrivals: &[Duration], from: u64, to: u64) -> usize {
        arrivals.iter().filter(|at| (Duration::from_secs(from)..Duration::from_secs(to)).contains(*at)).count()
    }

    #[test]
    fn rate_bounds_arrivals_and_falls_in_turns() {
        let shape = Shape { bits_per_second: 8_000_000, falls_to: Some((800_000, Duration::from_secs(20))), ..OPEN };
        let arrivals = offer(shape, 2_000, 40);
        assert!((995..=1_005).contains(&within(&arrivals, 5, 6)), "{}", within(&arrivals, 5, 6));
        assert!((98..=102).contains(&within(&arrivals, 30, 31)), "{}", within(&arrivals, 30, 31));
    }

    #[test]
    fn full_queue_drops_and_holds_no_packet_longer_than_its_size() {
        let mut shaper = Shaper::new(Shape { bits_per_second: 1_200_000, ..OPEN }, 1);
        let arrivals: Vec<_> = (0..1_000).filter_map(|_| shaper.pass(Duration::ZERO, 1_000)).collect();
        assert_eq!(arrivals.len() as u64, QUEUE_BYTES_MAX / 1_000);
        let last = arrivals[arrivals.len() - 1];
        assert!((Duration::from_millis(999)..=SECOND).contains(&last), "{last:?}");
    }

    #[test]
    fn loss_is_as_rare_as_said_and_delay_is_added() {
        let shape = Shape { lost_per_mille: 20, delay: Duration::from_millis(40), ..OPEN };
        let arrivals = offer(shape, 1_000, 100);
        assert!((97_500..=98_500).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals[0] >= Duration::from_millis(40));
    }

    #[test]
    fn nothing_arrives_during_a_pause_and_nothing_overtakes() {
        let pause = Some((Duration::from_millis(300), 2 * SECOND));
        let arrivals = offer(Shape { pause, ..OPEN }, 100, 10);
        assert!(arrivals.is_sorted());
        assert!(arrivals.iter().all(|at| at.as_millis() % 2_000 >= 300), "{arrivals:?}");
        assert_eq!(arrivals.len(), 1_000);
    }
}
