//! A person who is signed in, as requests carry it.

use catalogue::{Member, Session};
use metadata::SessionToken;

/// A person with a session.
#[derive(Debug)]
pub(crate) struct SignedIn {
    pub(crate) session: Session,
    pub(crate) token: SessionToken,
    /// What the person is a member of, and active in; never empty.
    pub(crate) memberships: Vec<Member>,
    /// The membership that counts for this request.
    pub(crate) member: Member,
    /// What pages have to repeat in changes.
    pub(crate) csrf: String,
    /// Whether the cookie has to be made anew.
    pub(crate) is_due: bool,
}
