//! Content negotiation: whether a client takes gzip or Brotli (RFC 9110, section 12.5.3). Pure.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// What a client takes, and no less gladly than no encoding at all. Without the header nothing is encoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) gzip: bool,
    /// Brotli, and no less gladly than gzip.
    pub(super) brotli: bool,
}

impl Accepted {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (mut gzip, mut brotli, mut identity, mut any) = (None, None, None, None);
        for value in headers.get_all(ACCEPT_ENCODING) {
            for member in value.to_str().unwrap_or_default().split(',') {
                let (name, weight) = weighted(member);
                match name.to_ascii_lowercase().as_str() {
                    "gzip" | "x-gzip" => gzip = Some(weight),
                    "br" => brotli = Some(weight),
                    "identity" => identity = Some(weight),
                    "*" => any = Some(weight),
                    _ => {}
                }
            }
        }
        let least = identity.unwrap_or(0).max(1);
        let (gzip, brotli) = (gzip.or(any).unwrap_or(0), brotli.or(any).unwrap_or(0));
        Self { gzip: gzip >= least, brotli: brotli >= least.max(gzip) }
    }
}

/// A coding and its weight in thousandths; a weight that is not understood counts as 0.
fn weighted(member: &str) -> (&str, u16) {
    let Some((name, parameter)) = member.split_once(';') else { return (member.trim(), 1000) };
    let weight = parameter.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    (name.trim(), weight.and_then(|weight| thousandths(weight.trim())).unwrap_or(0))
}

/// `0` to `1` with at most three decimals.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, decimals) = weight.split_once('.').unwrap_or((weight, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, decimals) {
        ("0", decimals) => Some(decimals),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accepted(value: &'static str) -> Accepted {
        Accepted::of(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn gzip_is_chosen_only_where_the_client_takes_it() {
        let takes = |value: &'static str| accepted(value).gzip;
        for value in [
            "gzip",
            "GZIP",
            "x-gzip",
            "br, gzip",
            "deflate, gzip;q=1.0, *;q=0.5",
            "*",
            "gzip;q=0.001",
            "gzip; q=0.5, identity;q=0.5",
        ] {
            assert!(takes(value), "{value}");
        }
        for value in [
            "",
            "br",
            "identity",
            "gzip;q=0",
            "gzip;q=0.000",
            "*;q=0",
            "gzip;q=0, *",
            "gzip;q=0.2, identity",
            "gzip;q=2",
            "gzip;q=x",
            "gzipped",
        ] {
            assert!(!takes(value), "{value}");
        }
        assert_eq!(Accepted::of(&HeaderMap::new()), Accepted::default());
    }

    #[test]
    fn brotli_is_chosen_where_the_client_takes_it_as_gladly_as_gzip() {
        for value in ["br", "gzip, deflate, br", "BR;q=0.5", "*", "gzip;q=0.5, br;q=0.5", "gzip;q=0.5, *"] {
            assert!(accepted(value).brotli, "{value}");
        }
        for value in ["", "gzip", "br;q=0", "*, br;q=0", "gzip, br;q=0.9", "br;q=0.2, identity", "brotli", "br;q=2"] {
            assert!(!accepted(value).brotli, "{value}");
        }
    }
}
