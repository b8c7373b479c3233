//! Counts viewers' requests. The counters are looked up once, because that costs more than counting.

use http::StatusCode;

pub(crate) struct Answered {
    classes: [metrics::Counter; CLASSES.len()],
    failed: metrics::Counter,
}

/// Classes of status, from 1xx on, as metrics call them; the last is for no answer.
const CLASSES: [&str; 6] = ["2xx", "2xx", "3xx", "4xx", "5xx", "none"];

impl Default for Answered {
    fn default() -> Self {
        let class = |class: &'static str| metrics::counter!("loadbalancer_requests_total", "class" => class);
        Self { classes: CLASSES.map(class), failed: metrics::counter!("loadbalancer_failed_requests_total") }
    }
}

impl Answered {
    /// A request has ended with this status.
    pub(crate) fn count(&self, status: Option<StatusCode>) {
        let class = status.map(|status| usize::from(status.as_u16() / 100).wrapping_sub(1));
        let [.., none] = &self.classes;
        class.and_then(|class| self.classes.get(class)).unwrap_or(none).increment(1);
    }

    /// No node answered it.
    pub(crate) fn failed(&self) {
        self.failed.increment(1);
    }
}
