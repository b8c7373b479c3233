//! The grammar of `sealcast issuer`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::access::TenantFlag;
use super::{AdminFlags, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum IssuerCommand {
    /// List the issuers of a tenant, and whether their keys are fresh.
    List {
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show an issuer, and why its keys could not be fetched.
    Show(IssuerFlags),
    /// Register an issuer. Its keys are fetched at once.
    #[command(after_help = "Example, an issuer whose organisers broadcast and whose singers watch:
  sealcast issuer create https://idp.example/realms/choir --tenant choir --audience sealcast \\
    --jwks-url https://idp.example/realms/choir/protocol/openid-connect/certs \\
    --use publish --use view --rule realm_access.roles=organiser:producer --rule realm_access.roles=singer:viewer")]
    Create(NewIssuerFlags),
    /// Change an issuer. What is given several times replaces all that was there.
    #[command(after_help = "Examples:
  sealcast issuer set iss_01k9f3t2m5c8v7x4b6n1q0w9ze --audience sealcast --audience town
  sealcast issuer set iss_01k9f3t2m5c8v7x4b6n1q0w9ze --rule groups=staff:owner --rule groups=guests:viewer")]
    Set(IssuerChange),
    /// Fetch the keys of an issuer now. A key that it has no more counts on no node within a second.
    Refresh(IssuerFlags),
    /// Say what a token gives, or why it is refused. The exit status is 0 if it is taken for something. Nobody keeps the token.
    #[command(after_help = "Examples:
  sealcast issuer test iss_01k9f3t2m5c8v7x4b6n1q0w9ze --token-file token.jwt
  pbpaste | sealcast issuer test iss_01k9f3t2m5c8v7x4b6n1q0w9ze --token-file -")]
    Test {
        /// File with the token; '-' reads it from standard input.
        #[arg(long, value_name = "FILE")]
        token_file: PathBuf,
        #[command(flatten)]
        which: IssuerFlags,
    },
    /// Delete an issuer: its tokens count no more.
    Delete(IssuerFlags),
}

/// Which issuer is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct IssuerFlags {
    /// Identity of the issuer, as `issuer list` shows it.
    pub issuer: String,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NewIssuerFlags {
    /// What its tokens have as `iss`, exactly.
    pub url: String,
    /// Where its public keys are (JWKS): https, with a public address or one that `outbound_allow` has.
    #[arg(long, value_name = "URL")]
    pub jwks_url: String,
    /// What its tokens have in `aud` or `azp`; may be given several times.
    #[arg(long = "audience", value_name = "TEXT", required = true)]
    pub audiences: Vec<String>,
    /// What its tokens are good for; may be given several times.
    #[arg(long = "use", value_name = "USE", required = true, value_parser = USES)]
    pub uses: Vec<String>,
    /// The role of a token with this claim, such as groups=staff:producer; may be given several times, and the first that matches counts.
    #[arg(long = "rule", value_name = "CLAIM=TEXT:ROLE", required = true, value_parser = rule)]
    pub rules: Vec<Rule>,
    #[command(flatten)]
    pub more: MoreSettings,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct IssuerChange {
    #[command(flatten)]
    pub which: IssuerFlags,
    /// What its tokens have as `iss`, exactly.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Where its public keys are (JWKS).
    #[arg(long, value_name = "URL")]
    pub jwks_url: Option<String>,
    /// What its tokens have in `aud` or `azp`; may be given several times.
    #[arg(long = "audience", value_name = "TEXT")]
    pub audiences: Vec<String>,
    /// What its tokens are good for; may be given several times.
    #[arg(long = "use", value_name = "USE", value_parser = USES)]
    pub uses: Vec<String>,
    /// The role of a token with this claim, such as groups=staff:producer; may be given several times, and the first that matches counts.
    #[arg(long = "rule", value_name = "CLAIM=TEXT:ROLE", value_parser = rule)]
    pub rules: Vec<Rule>,
    #[command(flatten)]
    pub more: MoreSettings,
}

/// Settings that have a default.
#[derive(Debug, Clone, Args)]
pub(crate) struct MoreSettings {
    /// An algorithm that it may sign with; may be given several times [default: RS256, ES256 and EdDSA].
    #[arg(long = "algorithm", value_name = "NAME")]
    pub algorithms: Vec<String>,
    /// By how much clocks may differ, 60s at most [default: 30s].
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub leeway: Option<Duration>,
    /// The claim that names streams [default: streams].
    #[arg(long, value_name = "CLAIM")]
    pub streams_claim: Option<String>,
}

const USES: [&str; 3] = ["api", "publish", "view"];
const ROLES: [&str; 4] = ["viewer", "producer", "owner", "operator"];

/// A claim that gives a role.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Rule {
    claim: String,
    equals: String,
    role: String,
}

/// Reads `groups=staff:producer`. Texts may have colons, as URIs do, and names of claims no '='.
fn rule(text: &str) -> Result<Rule, String> {
    let wrong = || format!("{text:?} is no rule: write CLAIM=TEXT:ROLE, such as groups=staff:producer");
    let (claim, rest) = text.split_once('=').ok_or_else(wrong)?;
    let (equals, role) = rest.rsplit_once(':').ok_or_else(wrong)?;
    if claim.is_empty() || equals.is_empty() {
        return Err(wrong());
    }
    if !ROLES.contains(&role) {
        return Err(format!("{role:?} is no role: {}", ROLES.join(", ")));
    }
    let [claim, equals, role] = [claim, equals, role].map(str::to_owned);
    Ok(Rule { claim, equals, role })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_a_claim_a_text_and_a_role() {
        let read = |text| rule(text).map(|rule| (rule.claim, rule.equals, rule.role));
        let is = |parts: [&str; 3]| Ok(parts.map(str::to_owned).into());
        assert_eq!(read("groups=staff:producer"), is(["groups", "staff", "producer"]));
        assert_eq!(read("a.b=urn:x:y=z:viewer"), is(["a.b", "urn:x:y=z", "viewer"]));
        for wrong in
            ["", "groups", "groups=staff", "=staff:viewer", "groups=:viewer", "groups=staff:boss", "groups:viewer"]
        {
            assert!(rule(wrong).is_err(), "{wrong}");
        }
    }
}
