//! Content negotiation: whether a client takes gzip (RFC 9110, section 12.5.3). Pure.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

/// Whether gzip is acceptable, and no less than no encoding at all. Without the header nothing is encoded.
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for value in headers.get_all(ACCEPT_ENCODING) {
        for member in value.to_str().unwrap_or_default().split(',') {
            let (name, weight) = weighted(member);
            match name {
                name if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => gzip = Some(weight),
                name if name.eq_ignore_ascii_case("identity") => identity = Some(weight),
                "*" => any = Some(weight),
                _ => {}
            }
        }
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
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

    #[test]
    fn gzip_is_chosen_only_where_the_client_takes_it() {
        let takes = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
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
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
