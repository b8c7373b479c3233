//! Who may publish a stream, and when the stream is over: live, reconnecting, ended. Pure.

use std::time::Duration;

use messages::SessionState;

/// One accepted connection, unique within the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PublisherId(pub(crate) u64);

/// Answer to a publisher that has the right key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Nobody else is there.
    Accept,
    /// The live publisher has been silent for too long: close it and accept this one.
    TakeOver,
    /// Another publisher is live.
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attended {
    Live(PublisherId),
    Reconnecting { until: Duration },
    Ended,
}

/// State of one stream at this ingest. Times are readings of one monotonic clock ([`media::Now::elapsed`]).
#[derive(Debug, Clone)]
pub(crate) struct Lifecycle {
    phase: Attended,
    grace: Duration,
    takeover_silence: Duration,
    reconnects: u64,
}

impl Lifecycle {
    /// A stream whose first publisher is accepted.
    pub(crate) const fn new(first: PublisherId, grace: Duration, takeover_silence: Duration) -> Self {
        Self { phase: Attended::Live(first), grace, takeover_silence, reconnects: 0 }
    }

    /// A publisher with the right key asks. `silent_for` is how long the live one, if any, has sent nothing.
    pub(crate) fn admit(&mut self, publisher: PublisherId, silent_for: Duration) -> Admission {
        let admission = match self.phase {
            Attended::Live(_) if silent_for < self.takeover_silence => return Admission::Refuse,
            Attended::Live(_) => Admission::TakeOver,
            Attended::Reconnecting { .. } | Attended::Ended => Admission::Accept,
        };
        self.reconnects = self.reconnects.saturating_add(1);
        self.phase = Attended::Live(publisher);
        admission
    }

    /// A publisher's connection is gone. Changes nothing, and returns `false`, when it is no longer the live one.
    pub(crate) fn gone(&mut self, publisher: PublisherId, now: Duration) -> bool {
        let was_live = self.phase == Attended::Live(publisher);
        if was_live {
            self.phase = Attended::Reconnecting { until: now.saturating_add(self.grace) };
        }
        was_live
    }

    /// Whether the grace is over by now; `true` only once. The stream has then ended.
    pub(crate) fn expire(&mut self, now: Duration) -> bool {
        let over = matches!(self.phase, Attended::Reconnecting { until } if until <= now);
        if over {
            self.phase = Attended::Ended;
        }
        over
    }

    /// When to call [`Self::expire`].
    pub(crate) const fn next_deadline(&self) -> Option<Duration> {
        if let Attended::Reconnecting { until } = self.phase { Some(until) } else { None }
    }

    /// State, as the bus and `/status` show it.
    pub(crate) const fn state(&self) -> SessionState {
        match self.phase {
            Attended::Live(_) => SessionState::Live,
            Attended::Reconnecting { .. } => SessionState::Reconnecting,
            Attended::Ended => SessionState::Ended,
        }
    }

    /// Publishers admitted after the first.
    pub(crate) const fn reconnects(&self) -> u64 {
        self.reconnects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PublisherId = PublisherId(1);
    const B: PublisherId = PublisherId(2);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn live() -> Lifecycle {
        Lifecycle::new(A, seconds(30), seconds(5))
    }

    #[test]
    fn second_publisher_is_refused_while_the_first_speaks() {
        let mut stream = live();
        assert_eq!(stream.admit(B, Duration::from_millis(4_999)), Admission::Refuse);
        stream.gone(B, seconds(1));
        assert_eq!(stream.state(), SessionState::Live);
    }

    #[test]
    fn silent_publisher_is_taken_over_and_its_end_then_means_nothing() {
        let mut stream = live();
        assert_eq!(stream.admit(B, seconds(5)), Admission::TakeOver);
        stream.gone(A, seconds(6));
        assert_eq!(stream.state(), SessionState::Live);
        stream.gone(B, seconds(7));
        assert_eq!(stream.next_deadline(), Some(seconds(37)));
    }

    #[test]
    fn stream_waits_for_its_publisher_for_the_grace_and_no_longer() {
        let mut stream = live();
        stream.gone(A, seconds(10));
        assert!(!stream.expire(Duration::from_millis(39_999)));
        assert_eq!(stream.admit(B, Duration::ZERO), Admission::Accept);
        assert!(!stream.expire(seconds(100)));
        stream.gone(B, seconds(100));
        assert!(stream.expire(seconds(130)));
        assert!(!stream.expire(seconds(131)), "said once");
        assert_eq!((stream.state(), stream.next_deadline()), (SessionState::Ended, None));
    }

    #[test]
    fn ended_stream_can_be_published_again() {
        let mut stream = live();
        stream.gone(A, seconds(0));
        assert!(stream.expire(seconds(30)));
        assert_eq!(stream.admit(B, Duration::ZERO), Admission::Accept);
        assert_eq!(stream.state(), SessionState::Live);
    }
}
