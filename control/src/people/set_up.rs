//! Set-up links: how somebody becomes a member who is none yet. Pure, except for random bits.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalogue::{Member, SetUpSecret, sha256};
use media::UnixMillis;

/// How long a link can be used that makes an operator, and any other.
const OPERATOR_LINK_LIFE: Duration = Duration::from_secs(15 * 60);
const LINK_LIFE: Duration = Duration::from_secs(7 * 86_400);

/// Characters of what viewer tokens call a member: there is room for few beside the names of cluster and stream. Two members who share them
/// share revocations, too, which costs the other a new token.
const VIEWER_CHARS: usize = 6;

/// What the viewer tokens of a member call it.
pub(crate) fn viewer_of(member: &str) -> String {
    let digest = URL_SAFE_NO_PAD.encode(sha256(format!("sealcast/member/{member}").as_bytes()).0);
    digest.chars().take(VIEWER_CHARS).collect()
}

/// A member's new link, and the member with it.
pub(crate) fn new_link(member: Member, now: UnixMillis) -> (SetUpSecret, Member) {
    let secret = SetUpSecret::draw();
    let life = if member.role == "operator" { OPERATOR_LINK_LIFE } else { LINK_LIFE };
    let invite = Some((secret.digest(), now.plus(life)));
    (secret, Member { invite, ..member })
}
