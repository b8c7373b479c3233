//! The grammar of `sealcast token`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::access::TenantFlag;
use super::{AdminFlags, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it, with the URLs that a viewer opens. It is not shown again.
    #[command(after_help = "Examples:
  sealcast token create assembly-hall                              for an hour
  sealcast token create assembly-hall --for 8h --sub u81           for one viewer, whose tokens can be taken back together
  sealcast token create assembly-hall --origin https://town.example --json | jq -r .urls.hls")]
    Create(TokenFlags),
    /// Take tokens back, everywhere within a second: one, all of a viewer, or all for a stream.
    #[command(after_help = "Examples:
  sealcast token revoke --id 0123456789abcdef
  sealcast token revoke --sub u81
  sealcast token revoke --stream assembly-hall")]
    Revoke {
        /// The one with this id, which `token create` shows.
        #[arg(long, value_name = "ID", required_unless_present_any = ["sub", "stream"], conflicts_with_all = ["sub", "stream"])]
        id: Option<String>,
        /// All of a viewer that were made until now.
        #[arg(long, value_name = "VIEWER", conflicts_with = "stream")]
        sub: Option<String>,
        /// Of these, those up to a version.
        #[arg(long, value_name = "N", requires = "sub")]
        up_to_ver: Option<u64>,
        /// All for a stream that were made until now.
        #[arg(long, value_name = "STREAM")]
        stream: Option<String>,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// List the keys that sign a tenant's tokens, and those that it has registered.
    Keys {
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Register a public key with which you sign viewers' tokens (JWT) yourself.
    #[command(after_help = "Example:
  sealcast token register-key shop.jwk --name shop --tenant choir")]
    RegisterKey {
        /// File with the public key as a JWK (RFC 7517), for one algorithm.
        file: PathBuf,
        /// What people call it.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make a key that signs the next tokens. Tokens of the one before go on until it is retired.
    NewKey {
        /// What people call it.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Retire a key: no token that it has signed counts any more, everywhere within a second.
    #[command(after_help = "Example, after the file of a key was stolen:
  sealcast token new-key
  sealcast token retire-key sgk_01k9f3t2m5c8v7x4b6n1q0w9ze")]
    RetireKey {
        /// Its identity, as `token keys` shows it.
        key: String,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TokenFlags {
    /// Streams that it opens, or '*' for all of the tenant.
    #[arg(required = true, value_name = "STREAM")]
    pub streams: Vec<String>,
    /// How long it is valid, such as 90s, 45m or 8h; a day at most [default: 1h].
    #[arg(long = "for", value_name = "TIME", value_parser = time_span)]
    pub lifetime: Option<Duration>,
    /// For how long a viewer may begin to watch with it [default: as long as it is valid].
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub admit_for: Option<Duration>,
    /// The viewer, as you call them. Nodes do not keep it.
    #[arg(long, value_name = "VIEWER")]
    pub sub: Option<String>,
    /// Version among the viewer's tokens [default: after those that were taken back].
    #[arg(long, value_name = "N", requires = "sub")]
    pub ver: Option<u64>,
    /// A site whose pages may use it, such as https://town.example or https://*.town.example; may be given several times. Players
    /// that are no browsers may use it, too, without --strict.
    #[arg(long = "origin", value_name = "URL")]
    pub origins: Vec<String>,
    /// Every request has to come from such a site, and say so.
    #[arg(long, requires = "origins")]
    pub strict: bool,
    /// Lets the viewer write in the chat, also where only holders of such tokens do.
    #[arg(long)]
    pub chat: bool,
    /// Most viewers at once, by their addresses, on each node.
    #[arg(long, value_name = "N")]
    pub max_viewers: Option<u64>,
    /// Where viewers reach the cluster [default: the address of a load balancer].
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}
