//! The grammar of `sealcast stream`.

use clap::{Subcommand, ValueEnum};

use super::AdminFlags;
use super::access::{StreamSetFlags, TenantFlag};

#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List all streams, with the state of their input and the number of warnings.
    List {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Create a stream and print its key, which is not shown again.
    Create {
        /// Name of the stream: letters, digits, '-', '_' and '.'.
        name: String,
        /// Who may watch it.
        #[arg(long, value_enum, value_name = "WHO", default_value_t = VisibilityName::Public)]
        visibility: VisibilityName,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show a stream, its input, and what the streamer should change.
    #[command(after_help = "Examples:
  sealcast stream show assembly-hall                                          bit rate, frame rate, keyframes, skew, warnings
  sealcast stream show assembly-hall --watch                                  again every two seconds
  sealcast stream show assembly-hall --json | jq '.input.warnings[].text'     for programs")]
    Show {
        /// Name of the stream.
        name: String,
        /// Show it again every two seconds, until Ctrl-C.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Change who may watch a stream, which sites may use it, and its chat. Who watches without the right stops within a second.
    #[command(after_help = "Examples:
  sealcast stream set assembly-hall --visibility token               whoever has a token (sealcast token create)
  sealcast stream set assembly-hall --visibility unlisted            whoever knows the name
  sealcast stream set assembly-hall --origin https://town.example    that site may show the player (sealcast stream embed)
  sealcast stream set assembly-hall --chat on --chat-slow 10s        a chat with a message every ten seconds from each writer")]
    Set(StreamSetFlags),
    /// Print the frame (iframe) that shows a stream's player on another site.
    Embed {
        /// Name of the stream.
        name: String,
        /// Where viewers reach the cluster, such as https://live.example.org [default: the address of a load balancer].
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Give a stream a new key, print it, and disconnect a publisher that uses the old one.
    RotateKey {
        /// Name of the stream.
        name: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Delete a stream and its key, and disconnect its publisher.
    Delete {
        /// Name of the stream.
        name: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

/// Who may watch a stream, as the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VisibilityName {
    /// Everybody; lists show it.
    Public,
    /// Whoever has its name; lists do not show it.
    Unlisted,
    /// Members of its tenant, with the tokens that they get.
    Members,
    /// Whoever has a token.
    Token,
}

impl VisibilityName {
    /// As control spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Members => "members",
            Self::Token => "token",
        }
    }
}
