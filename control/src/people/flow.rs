//! What a browser keeps while somebody signs in at an issuer: to which issuer it went, and what has to come back. It is sealed, so that the
//! browser neither reads nor changes it, and any control node with the same pepper reads it. Pure, except for random bits.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use catalogue::sha256;
use media::UnixMillis;
use messages::Pepper;
use serde::{Deserialize, Serialize};

/// The cookie. Not that of a session: it opens nothing.
pub(crate) const FLOW_COOKIE: &str = "__Host-sealcast-auth";
/// How long somebody may take at the issuer.
const FLOW_LIFE: Duration = Duration::from_secs(600);
/// Longest sealed flow in characters.
const SEALED_CHARS_MAX: usize = 3_072;
/// Most flows that are remembered as over.
const OVER_MAX: usize = 8_192;
/// Longest place to return to in characters.
const RETURN_CHARS_MAX: usize = 512;
/// Where somebody goes who did not say.
const RETURN_TO: &str = "/studio";
/// Labels of the key that seals.
const KEY: (&str, &str) = ("sealcast/sign-in", "flow");
const AAD: &[u8] = b"sealcast/flow";

/// One way to an issuer and back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// URL of the issuer.
    pub(crate) issuer: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
    /// What the exchange of the code has to show (RFC 7636).
    pub(crate) verifier: String,
    pub(crate) redirect_url: String,
    pub(crate) return_to: String,
    /// Set-up link that is used with it.
    pub(crate) code: Option<String>,
    until: i64,
}

/// Flows that have come back, so that none does twice.
#[derive(Default)]
pub(crate) struct FlowsOver(Mutex<HashMap<String, i64>>);

impl Flow {
    pub(crate) fn new(
        issuer: &str,
        redirect_url: String,
        return_to: String,
        code: Option<String>,
        now: UnixMillis,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            state: random(),
            nonce: random(),
            verifier: random(),
            redirect_url,
            return_to,
            code,
            until: now.plus(FLOW_LIFE).0,
        }
    }

    /// What the issuer gets in place of the verifier.
    pub(crate) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(sha256(self.verifier.as_bytes()).0)
    }

    /// The `Set-Cookie` that has it. `None` when it does not fit.
    pub(crate) fn cookie(&self, pepper: &Pepper) -> Option<String> {
        let mut text = serde_json::to_vec(self).ok()?;
        let nonce = cipher(pepper)?.seal_in_place_append_tag(Aad::from(AAD), &mut text).ok()?;
        let sealed = URL_SAFE_NO_PAD.encode([&nonce.as_ref()[..], &text[..]].concat());
        (sealed.len() <= SEALED_CHARS_MAX).then(|| cookie(&sealed, FLOW_LIFE.as_secs()))
    }

    /// Reads it from the `Cookie` headers of a request, while its time is not over.
    pub(crate) fn read<'h>(
        headers: impl IntoIterator<Item = &'h str>,
        pepper: &Pepper,
        now: UnixMillis,
    ) -> Option<Self> {
        let mut pairs = headers.into_iter().flat_map(|header| header.split(';'));
        let sealed = pairs.find_map(|pair| pair.trim().strip_prefix(FLOW_COOKIE)?.strip_prefix('='))?;
        let mut bytes = URL_SAFE_NO_PAD.decode(sealed.get(..SEALED_CHARS_MAX).unwrap_or(sealed)).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = cipher(pepper)?.open_in_place(nonce, Aad::from(AAD), text).ok()?;
        serde_json::from_slice(text).ok().filter(|flow: &Self| now.0 < flow.until)
    }
}

impl FlowsOver {
    /// Whether this flow comes back for the first time.
    pub(crate) fn is_first(&self, flow: &Flow, now: UnixMillis) -> bool {
        let mut over = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if over.len() >= OVER_MAX {
            over.retain(|_, until| now.0 < *until);
        }
        // So many at once are an attack, and nobody signs in until ten minutes later.
        over.len() < OVER_MAX && over.insert(flow.state.clone(), flow.until).is_none()
    }
}

fn cipher(pepper: &Pepper) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, &pepper.key_for(KEY.0).mac(KEY.1).0).ok()
}

fn random() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// A `Set-Cookie`. Lax, because the way back begins at another site.
fn cookie(sealed: &str, life_s: u64) -> String {
    format!("{FLOW_COOKIE}={sealed}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={life_s}")
}

/// The `Set-Cookie` that makes a browser forget it.
pub(crate) fn no_flow() -> String {
    cookie("", 0)
}

/// Where somebody goes after signing in: a path of this server, and nothing that a browser would read as another host.
pub(crate) fn return_to(wanted: Option<&str>) -> String {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~?&=%#:@!$'()*+,;".contains(&byte);
    let is_own = |path: &str| {
        path.len() <= RETURN_CHARS_MAX
            && path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(is_allowed)
    };
    wanted.filter(|path| is_own(path)).unwrap_or(RETURN_TO).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn pepper(seed: u8) -> Pepper {
        Pepper::from_bytes(&[seed; Pepper::BYTES]).unwrap()
    }

    fn flow() -> Flow {
        let redirect = "https://live.example/api/v1/auth/callback".to_owned();
        Flow::new("https://id.example/", redirect, "/studio".to_owned(), Some("sci_x".to_owned()), NOW)
    }

    fn read(cookie: &str, seed: u8, at: i64) -> Option<Flow> {
        let pair = cookie.split(';').next().unwrap();
        Flow::read([pair], &pepper(seed), UnixMillis(NOW.0 + at))
    }

    #[test]
    fn flow_comes_back_as_it_went_once_and_in_time() {
        let flow = flow();
        let cookie = flow.cookie(&pepper(1)).unwrap();
        assert!(!cookie.contains("sci_x") && !cookie.contains(&flow.verifier), "{cookie}");
        assert_eq!(read(&cookie, 1, 0), Some(flow.clone()));
        assert_eq!((read(&cookie, 2, 0), read(&cookie, 1, 600_000)), (None, None));
        let mut changed = cookie.into_bytes();
        changed[FLOW_COOKIE.len() + 30] ^= 1;
        assert_eq!(read(&String::from_utf8(changed).unwrap(), 1, 0), None);
        assert_eq!(read(&no_flow(), 1, 0), None);
        let over = FlowsOver::default();
        assert!(over.is_first(&flow, NOW) && !over.is_first(&flow, NOW));
        assert!(over.is_first(&self::flow(), NOW));
    }

    #[test]
    fn flood_of_flows_does_not_grow_memory() {
        let over = FlowsOver::default();
        for _ in 0..OVER_MAX + 100 {
            over.is_first(&flow(), NOW);
        }
        assert_eq!(over.0.lock().unwrap().len(), OVER_MAX);
        assert!(over.is_first(&flow(), NOW.plus(FLOW_LIFE)), "there is room again");
    }

    /// An open redirect would make a link to this server lead anywhere.
    #[test]
    fn whoever_signs_in_returns_to_a_path_of_this_server() {
        for own in ["/", "/studio/streams/hall?tab=health#x", "/watch/a.b"] {
            assert_eq!(return_to(Some(own)), own);
        }
        for other in [
            "",
            "studio",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/%\n",
            "/a b",
            "\\/evil",
            "/\t/evil",
            "javascript:alert(1)",
            &format!("/{}", "a".repeat(600)),
        ] {
            assert_eq!(return_to(Some(other)), "/studio", "{other}");
        }
        assert_eq!(return_to(None), "/studio");
    }
}
