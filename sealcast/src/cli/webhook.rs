//! The grammar of `sealcast webhook`.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::access::TenantFlag;
use super::{AdminFlags, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// List the webhooks of a tenant, and whether they take anything.
    List {
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show a webhook.
    Show(WebhookFlags),
    /// Make a webhook and print the secret that signs its deliveries, which is not shown again.
    #[command(after_help = "Examples:
  sealcast webhook create https://example.org/hooks
  sealcast webhook create https://example.org/hooks --tenant choir --type stream.live --type stream.ended")]
    Create(NewWebhookFlags),
    /// Change where a webhook leads or what it gets, or make one active that was disabled.
    #[command(after_help = "Examples:
  sealcast webhook set whk_01k9f3t2m5c8v7x4b6n1q0w9ze --url https://example.org/new
  sealcast webhook set whk_01k9f3t2m5c8v7x4b6n1q0w9ze --active true")]
    Set(WebhookChange),
    /// Give a webhook a new secret and print it. For a day, deliveries have the signatures of both.
    RotateSecret {
        /// For how long the secret before signs, too, such as 45m, 2h or 3d; at most 7d [default: 24h].
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        overlap: Option<Duration>,
        /// Also while an overlap lasts; the older secret then ends at once.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        which: WebhookFlags,
    },
    /// Send a test event now. The exit status is 0 if the receiver took it.
    Test(WebhookFlags),
    /// Send the events of a time once more, as far as they are kept: 24 hours.
    #[command(after_help = "Example, everything of the last three hours:
  sealcast webhook replay whk_01k9f3t2m5c8v7x4b6n1q0w9ze --last 3h")]
    Replay {
        /// From how long ago, such as 45m or 3h.
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        last: Duration,
        #[command(flatten)]
        which: WebhookFlags,
    },
    /// List deliveries to a webhook, newest first.
    Deliveries {
        /// Only those in this state: pending, delivered, failed or dropped.
        #[arg(long, value_name = "STATE", value_parser = ["pending", "delivered", "failed", "dropped"])]
        state: Option<String>,
        /// Most deliveries, 1 to 200.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=200))]
        limit: u8,
        #[command(flatten)]
        which: WebhookFlags,
    },
    /// Send the event of a delivery once more.
    Redeliver {
        #[command(flatten)]
        which: WebhookFlags,
        /// Identity of the delivery.
        delivery: String,
    },
    /// Delete a webhook. What waits for it is not delivered.
    Delete(WebhookFlags),
}

/// Which webhook is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct WebhookFlags {
    /// Identity of the webhook.
    pub webhook: String,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NewWebhookFlags {
    /// Where events go: https, with a public address or one that `outbound_allow` has.
    pub url: String,
    /// A kind of events, such as stream.live or stream.*; may be given several times [default: all].
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct WebhookChange {
    #[command(flatten)]
    pub which: WebhookFlags,
    /// Where events go.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A kind of events, in place of those before; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<String>,
    /// Whether it gets events: true or false.
    #[arg(long, value_name = "BOOL")]
    pub active: Option<bool>,
}
