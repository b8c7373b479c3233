//! The one way out of the cluster to a URL that somebody else chose: key sets of issuers, webhooks, and whatever else a tenant can point
//! somewhere.
//!
//! Whoever may choose a URL could make a node ask services of its own network for them (server-side request forgery). So every such
//! request goes through [`Outbound::send`]: https only, the name resolved once, every address of it checked, the connection made to the
//! address that was checked, no redirect followed, no proxy of the environment used, and time and size bounded. The operator names what
//! may be reached besides public addresses ([`Policy`]).
//!
//! Owns the connection, and the rules of which address is public ([`class_of`]). Does not own what is asked, nor when it is asked again:
//! its users do. Says nothing of answers to tenants: [`Answer`] does not print its body, and no [`Error`] holds one.

mod address;
mod connector;
mod error;
mod limits;
mod policy;
mod resolver;
mod target;
mod trust;

pub use address::{Class, InvalidNetwork, Network, class_of};
pub use connector::{Answer, Limits, Outbound, Request};
pub use error::{Error, Refused};
pub use limits::URL_BYTES_MAX;
pub use policy::{InvalidRule, Policy, RULES_MAX};
pub use resolver::{Resolve, Resolving, SystemResolver};
pub use target::Target;
pub use trust::{InvalidTrust, Trust};
