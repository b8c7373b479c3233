//! Whether signatures can be verified at all. `jsonwebtoken` compiles without a back end, and panics at the first token then: a node has to
//! find that out at its start, and not by its first publisher.

use std::panic::catch_unwind;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::algorithm::Algorithm;
use crate::decide;
use crate::jwks::KeySet;
use crate::token::Token;

/// Tokens of all algorithms, signed by another program (OpenSSL).
const SIGNED_ELSEWHERE: &str = include_str!("../testdata/self-test.json");

#[derive(Deserialize)]
struct Vectors {
    jwks: serde_json::Value,
    tokens: std::collections::BTreeMap<String, String>,
}

/// Verifies a token of each algorithm, and refuses it with another's signature.
///
/// # Errors
/// When an algorithm does not work; names it.
pub fn self_test() -> anyhow::Result<()> {
    let vectors: Vectors =
        serde_json::from_str(SIGNED_ELSEWHERE).context("the tokens of the self-test do not parse")?;
    let keys = KeySet::parse(vectors.jwks.to_string().as_bytes()).map_err(anyhow::Error::msg)?;
    for algorithm in Algorithm::ALL {
        let token = vectors.tokens.get(algorithm.name()).with_context(|| format!("no token of {algorithm}"))?;
        let checked = catch_unwind(|| (verifies(&keys, token), verifies(&keys, &changed(token))));
        let (good, forged) = checked
            .map_err(|_| anyhow::anyhow!("signatures of {algorithm} cannot be verified: the back end panics"))?;
        ensure!(good, "a good signature of {algorithm} is refused");
        ensure!(!forged, "a forged signature of {algorithm} is accepted");
    }
    Ok(())
}

fn verifies(keys: &KeySet, token: &str) -> bool {
    Token::parse(token).is_ok_and(|token| decide::signature(keys, &token).is_ok())
}

/// The token with another first letter of its signature.
fn changed(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap_or_default();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{message}.{other}{}", signature.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Case B12, and an oracle: OpenSSL signed these.
    #[test]
    fn every_algorithm_works_at_the_start() {
        self_test().unwrap();
    }
}
