//! The grammar of `sealcast member`.

use clap::{Args, Subcommand, ValueEnum};

use super::AdminFlags;
use super::access::{StateName, TenantFlag};

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// List the members of a tenant.
    List {
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show a member: who it is, and what it may do.
    Show {
        /// Its identity.
        member: String,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Invite somebody and print the link by which it becomes a member. With a member's identity, make another link for it: in place of
    /// one that was lost, or to set a new password.
    #[command(after_help = "Examples:
  sealcast member invite --name \"Ada Lovelace\" --role producer --base-url https://live.example
  sealcast member invite mem_01k9f3t2m5c8v7x4b6n1q0w9ze --base-url https://live.example")]
    Invite(InviteFlags),
    /// Print a link that makes an operator, for whoever has lost the one that the start has printed, or the password. It can be used for
    /// 15 minutes.
    #[command(after_help = "Example:
  sealcast member setup-link --base-url https://live.example")]
    SetupLink {
        /// What viewers' URLs begin with [default: the link has its path alone].
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Change a member's name, its role, or whether it may do anything.
    #[command(after_help = "Examples:
  sealcast member update mem_01k9f3t2m5c8v7x4b6n1q0w9ze --role owner
  sealcast member update mem_01k9f3t2m5c8v7x4b6n1q0w9ze --state suspended")]
    Update(MemberFlags),
    /// Delete a member. It may do nothing here from then on.
    Delete {
        /// Its identity.
        member: String,
        #[command(flatten)]
        of: TenantFlag,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["name", "member"]))]
pub(crate) struct InviteFlags {
    /// Identity of a member that gets another link.
    pub member: Option<String>,
    /// What people call the new member.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// What the new member may do.
    #[arg(long, value_enum, default_value = "viewer", conflicts_with = "member")]
    pub role: RoleName,
    /// What viewers' URLs begin with [default: the link has its path alone].
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct MemberFlags {
    /// Its identity.
    pub member: String,
    /// What people call it.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// What it may do.
    #[arg(long, value_enum)]
    pub role: Option<RoleName>,
    /// Whether it may do anything.
    #[arg(long, value_enum)]
    pub state: Option<StateName>,
    #[command(flatten)]
    pub of: TenantFlag,
    #[command(flatten)]
    pub admin: AdminFlags,
}

/// Roles of members: each has what the one before has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    /// Reads streams, and watches those for members.
    Viewer,
    /// Makes streams, and has their keys.
    Producer,
    /// Has all of the tenant.
    Owner,
    /// Has all tenants, and the cluster.
    Operator,
}
