//! People: their passwords, the keys and tokens of their sessions, the set-up link of the first operator, and members that were deleted. What the API answers them is in
//! [`crate::api`].

mod flow;
mod gone;
mod issuers;
mod passwords;
mod set_up;
mod tokens;

pub(crate) use flow::{FLOW_COOKIE, Flow, FlowsOver, no_flow, return_to};
pub(crate) use issuers::{Known, SignIns};
pub(crate) use passwords::{Busy, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, Passwords};
pub(crate) use set_up::{new_link, viewer_of};
pub(crate) use tokens::{SESSION_IDLE_MAX, SESSION_LIFE, SessionKeys, draw_session, no_cookie};
