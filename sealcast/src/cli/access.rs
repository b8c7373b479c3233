//! The grammar of `sealcast tenant|api-key|audit`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::{AdminFlags, VisibilityName, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// List the tenants.
    List {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show a tenant, its quota, and what it uses of it.
    Show {
        /// Its slug or identity.
        tenant: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make a tenant. Names of its streams begin with its slug and a dot.
    #[command(after_help = "Example, a tenant that makes streams by itself:
  sealcast tenant create choir --name \"Choir of St Mary\" --streams 10
  sealcast api-key create --tenant choir --role owner --name \"for the choir\"")]
    Create(NewTenantFlags),
    /// Change a tenant's name, its quota, or whether it may change anything.
    #[command(after_help = "Examples:
  sealcast tenant set choir --streams 20
  sealcast tenant set choir --egress-bps 200000000 --storage-bytes 50000000000
  sealcast tenant set choir --state suspended")]
    Set(TenantFlags),
    /// Delete a tenant with its streams and API keys. Without --confirm, says what would go.
    #[command(after_help = "Example:
  sealcast tenant delete choir                     says what would go with it
  sealcast tenant delete choir --confirm choir     deletes it")]
    Delete {
        /// Its slug or identity.
        tenant: String,
        /// The slug once more: deletes it.
        #[arg(long, value_name = "SLUG")]
        confirm: Option<String>,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct NewTenantFlags {
    /// What names of its streams begin with: 2 to 24 characters out of a-z, 0-9 and '-'. It stays.
    pub slug: String,
    /// What people call it [default: the slug].
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    #[command(flatten)]
    pub quota: QuotaFlags,
    #[command(flatten)]
    pub admin: AdminFlags,
}

/// Most of what a tenant may use. What is not given stays as it is; a new tenant has no limit of its own there.
#[derive(Debug, Clone, Args)]
pub(crate) struct QuotaFlags {
    /// Most streams that it may have.
    #[arg(long, value_name = "N")]
    pub streams: Option<u32>,
    /// Most streams that may be published at once.
    #[arg(long, value_name = "N")]
    pub publishers: Option<u32>,
    /// Most bits per second of all its publishers together.
    #[arg(long, value_name = "BITS")]
    pub input_bps: Option<u64>,
    /// Most bits per second to all its viewers together; above it, nobody else begins to watch.
    #[arg(long, value_name = "BITS")]
    pub egress_bps: Option<u64>,
    /// Most bytes that its recordings may take on the disks of all nodes, copies included.
    #[arg(long, value_name = "BYTES")]
    pub storage_bytes: Option<u64>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct TenantFlags {
    /// Its slug or identity.
    pub tenant: String,
    /// What people call it.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    #[command(flatten)]
    pub quota: QuotaFlags,
    /// Whether it may change anything.
    #[arg(long, value_enum)]
    pub state: Option<StateName>,
    #[command(flatten)]
    pub admin: AdminFlags,
}

/// Whether a tenant may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    Active,
    Suspended,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyCommand {
    /// List the API keys of a tenant.
    List {
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show an API key: what it may do, and when it was used.
    Show {
        /// Its identity.
        key: String,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make an API key and print its secret, which is not shown again.
    #[command(after_help = "Examples:
  sealcast api-key create --operator --name \"deployment\"                        everything, for all tenants
  sealcast api-key create --tenant choir --role producer --name \"OBS plug-in\"   streams and their keys
  sealcast api-key create --tenant choir --scope streams:read --expires 90d --name dashboard
  curl --cacert data/certs/ca.pem -H \"x-api-key: $(cat key)\" https://127.0.0.1:8443/api/v1/streams")]
    Create(NewApiKeyFlags),
    /// Give an API key a new secret and print it.
    #[command(after_help = "Example, a day in which programs that have the old secret get the new one:
  sealcast api-key rotate key_01k9f3t2m5c8v7x4b6n1q0w9ze --overlap 24h")]
    Rotate {
        /// Its identity.
        key: String,
        /// For how long the secret before is accepted, too, such as 45m, 2h or 3d; at most 7d [default: not at all].
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        overlap: Option<Duration>,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Delete an API key. It opens nothing from then on.
    Delete {
        /// Its identity.
        key: String,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

/// Whose keys are meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct TenantFlag {
    /// Slug or identity of the tenant.
    #[arg(long, value_name = "TENANT", default_value = "default")]
    pub tenant: String,
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(
    ["visibility", "origins", "no_origins", "embed", "chat", "chat_slow", "chat_writers"]
))]
pub(crate) struct StreamSetFlags {
    /// Name of the stream.
    pub name: String,
    /// Who may watch it.
    #[arg(long, value_enum, value_name = "WHO")]
    pub visibility: Option<VisibilityName>,
    /// A site that may read the stream by scripts and show its player, such as https://town.example or https://*.town.example; may be
    /// given several times, and replaces those of before.
    #[arg(long = "origin", value_name = "SITE")]
    pub origins: Vec<String>,
    /// Every site may read the stream by scripts, and none but the cluster's own shows its player.
    #[arg(long, conflicts_with = "origins")]
    pub no_origins: bool,
    /// Which sites may show the player in a frame.
    #[arg(long, value_enum, value_name = "WHERE")]
    pub embed: Option<EmbedName>,
    /// Whether there is a chat beside the player.
    #[arg(long, value_enum, value_name = "ON")]
    pub chat: Option<OnOff>,
    /// Time between two messages of one writer, such as 10s; at most 1h, and 0s for none.
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub chat_slow: Option<Duration>,
    /// Who may write in the chat.
    #[arg(long, value_enum, value_name = "WHO")]
    pub chat_writers: Option<WritersName>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

/// Which sites may show a player in a frame, besides the cluster's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmbedName {
    /// Those of --origin.
    Listed,
    /// Every site.
    Anywhere,
    /// No other site.
    Nowhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnOff {
    On,
    Off,
}

/// Who may write in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WritersName {
    /// Everybody who may watch, under a name of their choice.
    Everybody,
    /// Whoever has a token with --chat.
    Token,
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("rights").required(true).args(["operator", "role", "scopes"]))]
pub(crate) struct NewApiKeyFlags {
    /// What people call it.
    #[arg(long, value_name = "TEXT")]
    pub name: String,
    /// A key for whoever operates the cluster: all tenants, and all of the cluster.
    #[arg(long)]
    pub operator: bool,
    /// What it may do: viewer reads, producer also has streams and their keys, owner has all of the tenant.
    #[arg(long, value_enum)]
    pub role: Option<KeyRole>,
    /// A single right, such as streams:read; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// When its time is over, from now, such as 90d [default: never].
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    pub expires: Option<Duration>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

/// Roles of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyRole {
    Viewer,
    Producer,
    Owner,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List changes and refusals, newest first.
    List {
        /// Slug or identity of a tenant [default: those of all tenants and of the cluster].
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// Most records, 1 to 200.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=200))]
        limit: u8,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Check the chain of all records. The exit status is 0 if nobody has edited or removed one.
    #[command(after_help = "Example:
  sealcast audit verify && echo sound")]
    Verify {
        #[command(flatten)]
        admin: AdminFlags,
    },
}
