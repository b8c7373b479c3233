//! The grammar of `sealcast node|root|key|capacity`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{AdminFlags, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes and their load.
    List {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Show a node's load and the streams that it owns.
    Show {
        /// Name of the node.
        name: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make a node a member of the cluster, or give a member another key. `sealcast certs cluster` lists the nodes that it makes, and
    /// `sealcast up` its own: they need this not.
    #[command(after_help = "Example, for a node whose identity was made with `sealcast certs`:
  sealcast node add b4 --certificate certs/b4.pem")]
    Add {
        /// Name of the node.
        name: String,
        /// Its certificate, a PEM file.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Take a broadcast node out of service: its viewers move to other nodes with their next request, and its streams get other owners.
    #[command(after_help = "Example:
  sealcast node drain b2 --wait && systemctl stop sealcast-b2")]
    Drain {
        /// Name of the node.
        name: String,
        /// Wait until the node serves almost no requests and owns no stream, for two minutes at most.
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Stop trusting a node, for good. Control refuses its certificate, and no node admits what its keys sign. Use it when somebody
    /// else may have the machine, its folder or its disk. It cannot be undone, because the certificate stays valid for months and a
    /// thief would be trusted again. Give the machine that takes over another name.
    #[command(after_help = "Example, after a break-in on ingest1:
  sealcast node revoke ingest1
  rm certs/ingest/ingest1.*                                   its broker password, too
  sealcast certs cluster --node ingest3=ingest                another name; send the broker SIGHUP after it")]
    Revoke {
        /// Name of the node; the node need not be running.
        name: String,
        /// How long the node may have been in wrong hands, such as 45m, 2h or 3d. What it sealed since then leaves playlists, memory and
        /// recordings on all nodes, with everything before it. Without this, what was admitted stays in playlists and memory; a recording
        /// loses what the key signed when its node starts again.
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        misused_for: Option<Duration>,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Bring a drained node back into service.
    Undrain {
        /// Name of the node.
        name: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum RootCommand {
    /// Show where the metadata log stands: on control, and on each node that asks it.
    Show {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make a root key, on any machine: FILE for whoever has to sign, mode 0600, and FILE.pub.
    #[command(after_help = "Example, on a machine that is not on the network:
  sealcast root make /media/stick/root2.key")]
    Make {
        /// File of the key; it must not exist yet.
        file: PathBuf,
    },
    /// Take the root key off the control machine. Control goes on without it for as long as `root show` says.
    #[command(after_help = "Example:
  sealcast root export /media/stick/root.key")]
    Export {
        /// Where to put the key; it must not exist yet.
        file: PathBuf,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Make the next root statement: with other root keys, or with the same ones. In both cases control's key is named for another 400
    /// days. The old root keys and the new ones sign it.
    #[command(after_help = "Examples:
  sealcast root rotate --key root.key                                    # control's key for another 400 days
  sealcast root rotate --key root.key --new a.key --new b.key            # from now on, a or b signs
  sealcast root rotate --key a.key --new a.key --new b.key --threshold 2 # from now on, both")]
    Rotate {
        /// File of a root key that counts now; as many as have to sign [default: the one on the control machine].
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        /// File of a root key that counts from now on [default: those that count now].
        #[arg(long, value_name = "FILE")]
        new: Vec<PathBuf>,
        /// How many of the root keys have to sign from now on [default: 1 with --new, else as before].
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=4))]
        threshold: Option<u64>,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// End a key of control that somebody may have, and that is not the one of the control node which answers: what it signs from now on
    /// counts nowhere. A control node that finds no metadata.key in its data directory makes itself another, and ends its old one, when
    /// root.key is there.
    #[command(after_help = "Example, after control was started with another metadata.key on another machine:
  sealcast root show                          the keys that may write
  sealcast root retire 0123456789abcdef0123456789abcdef --key root.key
  sealcast root branch --yes --key root.key   if somebody has written with it")]
    Retire {
        /// Identity of the key of control, 32 hexadecimal digits.
        control: String,
        /// File of a root key; as many as have to sign [default: the one on the control machine].
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Have the root key void all entries of the metadata log that control does not have, and those of a fork. For a control that was
    /// restored from a backup when no node has the entries that are missing, and after somebody used the key of control. What is void
    /// has to be done again: streams, members, drains and revocations of after the backup.
    #[command(after_help = "Example, after a restore, when control says that entries are missing and no node has them:
  sealcast root branch --yes")]
    Branch {
        /// Do it: it cannot be undone.
        #[arg(long)]
        yes: bool,
        /// File of a root key; as many as have to sign [default: the one on the control machine].
        #[arg(long, value_name = "FILE")]
        key: Vec<PathBuf>,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  sealcast capacity --viewers 5000
  sealcast capacity --viewers 800 --ladder 720p=2450,360p=870 --shares 70,30 --nics 1,2.5")]
pub(crate) struct CapacityFlags {
    /// Viewers at the same time, of all streams together.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub viewers: u64,
    /// Rungs and their bit rates in kbit/s, the largest first.
    #[arg(long, value_name = "NAME=KBIT,…", default_value = "1080p=4500,720p=2450,480p=1330,360p=870")]
    pub ladder: String,
    /// Relative number of viewers of each rung [default: half of the viewers watch the first rung, half of the rest the next …].
    #[arg(long, value_name = "N,…")]
    pub shares: Option<String>,
    /// Bit rate of the audio in kbit/s.
    #[arg(long, value_name = "KBIT", default_value_t = 128)]
    pub audio: u32,
    /// Speeds of a broadcast node's network to plan for, in Gbit/s.
    #[arg(long, value_name = "GBIT,…", default_value = "1,10,25")]
    pub nics: String,
    /// Largest share of its network that a node uses, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 70, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub fill: u8,
    /// Nodes that own each stream (role.ingest.owners).
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub owners: u8,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the sealing keys that have grants.
    List {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Revoke a sealing key: no node admits anything that it signs. Its ingest makes itself another.
    #[command(after_help = "Example, after somebody else may have had the key for two hours:
  sealcast key revoke 0123456789abcdef0123456789abcdef --misused-for 2h")]
    Revoke {
        /// Id of the key, 32 hexadecimal digits.
        key: String,
        /// How long the key may have been in wrong hands, such as 45m, 2h or 3d. What it sealed since then leaves playlists, memory and
        /// recordings on all nodes, with everything before it. Without this, what was admitted stays in playlists and memory; a recording
        /// loses what the key signed when its node starts again.
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        misused_for: Option<Duration>,
        #[command(flatten)]
        admin: AdminFlags,
    },
}
