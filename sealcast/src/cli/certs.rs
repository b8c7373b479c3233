//! The grammar of `sealcast seal|certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::RoleName;

#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// Download a stream's seal log and check every signature, the chain and, with --media, the media that it names.
    Verify(VerifyFlags),
    /// Print the seals in a file, without checking them.
    Show {
        /// File with one or more seals, as downloaded from /live/{stream}/seals.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:
  sealcast seal verify https://127.0.0.1:8443/live/demo --ca data/certs/ca.pem --root data/control/root.pub --media")]
pub(crate) struct VerifyFlags {
    /// URL of the stream: https://HOST:PORT/live/STREAM.
    pub url: String,
    /// Root public key that you trust. Ask the operator for it; do not take it from the server that you check.
    #[arg(long, value_name = "FILE")]
    pub root: PathBuf,
    /// Name of the cluster that the seals must name.
    #[arg(long, default_value = "sealcast")]
    pub cluster: String,
    /// PEM file of the authority behind the server's certificate, in addition to the authorities that this machine trusts.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Also download the media, and compare its SHA-256 with the digests in the seals.
    #[arg(long)]
    pub media: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  sealcast certs --dir certs --role broadcast --id b1 --name broadcast1.streaming-cluster.test
  sealcast certs cluster --help"
)]
pub(crate) struct CertsFlags {
    #[command(subcommand)]
    pub command: Option<CertsCommand>,
    /// Directory of the authority; ca.pem and ca.key are made there if they are missing.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Role of the node.
    #[arg(long, value_enum, required = true)]
    pub role: Option<RoleName>,
    /// Name of the node.
    #[arg(long, value_name = "NAME", required = true)]
    pub id: Option<String>,
    /// Another host name or address of the node; may be given several times.
    #[arg(long = "name", value_name = "HOST")]
    pub names: Vec<String>,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make all that a cluster needs, in one folder for each role: certificates, passwords and access rules of the brokers, and
    /// the key that balancers share. Existing files stay, and certificates that expire soon are renewed.
    #[command(after_help = "Examples:
  sealcast certs cluster --node control=control --node ingest1..2=ingest --node b1..4=broadcast --node lb1..2=loadbalancer \\
      --broker mosquitto --name lb1..2=streaming-cluster.test --name b1=broadcast1.streaming-cluster.test
  Give a machine the folder of its role (certs/broadcast, certs/broker, …), and keep certs/ca.key to yourself.")]
    Cluster(ClusterFlags),
    /// Renew certificates that expire within 30 days, for the same nodes and names. Nodes read them again while they run.
    #[command(after_help = "Example:
  sealcast certs renew --dir certs")]
    Renew(RenewFlags),
    /// Replace the authority while the cluster runs, in three steps.
    #[command(after_help = "Example; between the steps, give every machine its new files:
  sealcast certs rotate --dir certs --step trust     all nodes trust the next authority, too
  sealcast certs rotate --dir certs --step issue     the next authority signs new certificates for all nodes
  sealcast certs rotate --dir certs --step forget    no node trusts the old authority any more")]
    Rotate(RotateFlags),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterFlags {
    /// Directory of the authority and of the roles' folders.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// A node, or a range of nodes, and their role: `b1..4=broadcast`. May be given several times.
    #[arg(long = "node", value_name = "NAME=ROLE", required = true)]
    pub nodes: Vec<String>,
    /// Name by which nodes reach a broker; may be given several times.
    #[arg(long = "broker", value_name = "NAME")]
    pub brokers: Vec<String>,
    /// Another host name or address of a node or broker; may be given several times.
    #[arg(long = "name", value_name = "NAME=HOST")]
    pub names: Vec<String>,
    /// Prefix of every MQTT topic.
    #[arg(long, value_name = "PREFIX", default_value = "sealcast/v1")]
    pub prefix: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RenewFlags {
    /// Directory of the authority, and of the roles' folders if there are any.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Renew all certificates, however long they are valid.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RotateFlags {
    /// Directory of the authority, and of the roles' folders if there are any.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub dir: PathBuf,
    /// Which of the three steps.
    #[arg(long, value_enum)]
    pub step: RotateStep,
}

/// A step of replacing the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RotateStep {
    Trust,
    Issue,
    Forget,
}
