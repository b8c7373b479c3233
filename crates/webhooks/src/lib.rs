//! Webhooks without a socket: how a delivery is signed ([`Secret`], [`signature`]), and which event goes to an endpoint when ([`Endpoint`]).
//!
//! Follows Standard Webhooks 1.0.0. Pure: time comes in, and what to do goes out. Does not own the events, which their outbox keeps, nor how
//! they are sent.

mod endpoint;
mod retry;
mod sign;

pub use endpoint::{Delivery, Endpoint, Event, IN_FLIGHT_MAX, Input, ORDER_HOLD, Outcome, Output, Progress, QUEUE_MAX};
pub use retry::{ATTEMPTS_MAX, GIVE_UP_AFTER, RETRY_AFTER_MAX, pause};
pub use sign::{InvalidSecret, SECRET_BYTES, SECRETS_MAX, Secret, signature};
