//! Priorities of HTTP responses (RFC 9218): the more urgent response of an HTTP/2 connection goes first.
//!
//! Neither hyper nor Pingora orders the streams of a connection: both leave it to `h2`, which sends frames in turns. Here a connection's
//! responses take turns by urgency instead. The two listeners for viewers (ours and the load balancer's) put three parts around what they
//! drive:
//!
//! - [`Paced`] around the connection's transport reports how much has been written;
//! - [`Gated`] around the task of each request lets a response that has begun run in its turn only;
//! - [`Sliced`] around a body hands it over in small pieces.
//!
//! [`Scheduler`] decides whose turn it is; it and [`Hint`] are pure. Deliberately not here: the `PRIORITY_UPDATE` frame, which
//! `h2` does not show, and HTTP/1.1, where a connection has one response at a time.

mod field;
mod gate;
mod scheduler;

pub use field::{Hint, NAME, Priority, Urgency};
pub use gate::{Connection, Gated, PROGRESS_BYTES_MIN, Paced, Progress, Response, Sliced, current};
pub use scheduler::{AHEAD_BYTES_MAX, Key, SLICE_BYTES_MAX, Scheduler, Step};
