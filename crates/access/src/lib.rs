//! Who may watch what: visibility of streams, viewer tokens, and the one decision on each request of a viewer. Also the tokens of people who
//! are signed in ([`session`]), because they have the same envelope and nodes verify them alike.
//!
//! A token is a CWT that control signs and every node verifies by itself ([`token`]). [`Rules`] hold what the metadata log says of
//! streams, keys and revocations, and [`Rules::decide`] is the decision. Deliberately knows no HTTP: [`Refusal`] says which status and
//! problem type follow. Pure.

mod cache;
mod decide;
mod key;
mod origin;
mod path;
mod rules;
pub mod session;
pub mod token;

pub use cache::Checked;
pub use decide::{Allowed, Ask, Class, OriginUse, Refusal};
pub use key::{KeyRefused, TokenKey, VerifyingKey};
pub use metadata::{ChatRules, ChatWriters, Embedding, PageSettings, Visibility};
pub use origin::{AllowedOrigin, InvalidOrigin};
pub use path::{Place, RequestPath, normalised};
pub use rules::{Facts, Readers, Rules};
pub use session::{Membership, Refused, Role, SessionClaims, SessionRules, VerifiedSession};
pub use token::{Claims, Invalid, Named, Streams, Verified};
