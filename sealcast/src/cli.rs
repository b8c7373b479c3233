//! The grammar of the command line: names, help texts and examples. Other modules carry the commands out.

pub(crate) mod access;
mod certs;
pub(crate) mod issuer;
pub(crate) mod member;
mod nodes;
mod stream;
mod streamer;
mod token;
pub(crate) mod webhook;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Command as Grammar, CommandFactory as _, Parser, Subcommand, ValueEnum};

pub(crate) use certs::{
    CertsCommand, CertsFlags, ClusterFlags, RenewFlags, RotateFlags, RotateStep, SealCommand, VerifyFlags,
};
pub(crate) use nodes::{CapacityFlags, KeyCommand, NodeCommand, RootCommand};
pub(crate) use stream::{StreamCommand, VisibilityName};
pub(crate) use streamer::{DelegateFlags, StreamerCommand, StreamerFlags};
pub(crate) use token::{TokenCommand, TokenFlags};

/// Live streaming that signs every piece of media, and checks it before a viewer can see it.
#[derive(Debug, Parser)]
#[command(
    name = "sealcast",
    version,
    after_help = "Examples:
  sealcast up                                everything on this machine, with a test picture
  sealcast up --no-source --data /srv/live   without the test picture
  sealcast up --dvr-window-s 14400           viewers can go back four hours
  sealcast stream create assembly-hall       a stream, and the key to type into OBS
  sealcast seal verify https://127.0.0.1:8443/live/demo --ca data/certs/ca.pem --root data/control/root.pub"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the command line of this process. If it is not valid, prints what is wrong and exits.
    pub(crate) fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let given: Vec<OsString> = std::env::args_os().collect();
            with_variable(error, &given, |name| std::env::var_os(name)).exit()
        })
    }
}

/// Adds the name of the environment variable to an error about a value that came from the environment: nobody typed the flag.
fn with_variable(
    mut error: clap::Error,
    given: &[OsString],
    variable: impl Fn(&str) -> Option<OsString>,
) -> clap::Error {
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return error;
    };
    let long = flag.split(' ').next().unwrap_or_default();
    let mut typed = given.iter().filter_map(|argument| argument.to_str()?.split('=').next());
    if typed.any(|typed| typed == long) {
        return error;
    }
    let names = variables(&Cli::command(), long.trim_start_matches('-'));
    if let Some(name) = names.iter().find(|name| variable(name).is_some_and(|set| set == **value)) {
        let both = format!("{name} ({flag})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(both));
    }
    error
}

/// Environment variables of the flag `long` in `command` and its subcommands.
fn variables(command: &Grammar, long: &str) -> Vec<String> {
    let own = command.get_arguments().filter(|argument| argument.get_long() == Some(long));
    let own = own.filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned()));
    own.chain(command.get_subcommands().flat_map(|below| variables(below, long))).collect()
}

/// Parses an environment variable that stands for a switch. An empty variable leaves the switch off.
fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "y" | "yes" | "on" => Ok(true),
        "" | "0" | "f" | "false" | "n" | "no" | "off" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run every role in one process: bus, control, ingest, broadcast nodes, load balancer and a test source.
    Up(UpFlags),
    /// Run one ingest node: it takes RTMP, encodes, seals, and pushes to broadcast nodes.
    Ingest(IngestFlags),
    /// Run one broadcast node: it checks seals and media, and serves viewers.
    Broadcast(RoleFlags),
    /// Run one load balancer in front of the broadcast nodes.
    Loadbalancer(RoleFlags),
    /// Run one control node: keys, grants and the catalogue.
    Control(ControlFlags),
    /// Push a test pattern or a file to an RTMP server.
    Source(SourceFlags),
    /// Manage streams and their keys.
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Let streamers seal at their own machines, and take that back.
    #[command(subcommand)]
    Streamer(StreamerCommand),
    /// Give viewers tokens for streams that not everybody may watch, and take tokens back.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show, drain and revoke nodes of the cluster.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Manage tenants, who own streams and API keys.
    #[command(subcommand)]
    Tenant(access::TenantCommand),
    /// Invite people to a tenant, and say what they may do.
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// Manage the API keys with which programs use /api/v1.
    #[command(subcommand)]
    ApiKey(access::ApiKeyCommand),
    /// Register issuers whose tokens (JWT) count for a tenant: at the API, from encoders, and from viewers.
    #[command(subcommand)]
    Issuer(issuer::IssuerCommand),
    /// Send a tenant's events to other programs: what they get, what failed, and sending it again.
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Show who changed what, and check that nobody has edited these records.
    #[command(subcommand)]
    Audit(access::AuditCommand),
    /// List and revoke the sealing keys of ingest nodes.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show the metadata log, on which all nodes agree, and decide where it goes on.
    #[command(subcommand)]
    Root(RootCommand),
    /// Estimate what a number of viewers needs: egress, nodes for each speed of network, memory.
    Capacity(CapacityFlags),
    /// Check a stream's seals by hand.
    #[command(subcommand)]
    Seal(SealCommand),
    /// Make and renew the cluster's certificate authority, certificates, broker passwords and access rules.
    Certs(CertsFlags),
    /// Write everything that control needs into one file, while control runs or not: database, keys, metadata log, and the certificates
    /// if they lie in the data directory. Whoever reads the file can be your control node.
    #[command(after_help = "Example:
  sealcast backup /backup/control-1.tar --data /srv/live")]
    Backup(BackupFlags),
    /// Make a data directory from a backup. Overwrites nothing.
    #[command(after_help = "Example:
  sealcast restore /backup/control-1.tar --data /srv/live")]
    Restore(RestoreFlags),
    /// Ask a node on this machine whether it serves, for health checks. The exit status is 0 if it does.
    #[command(after_help = "Example:
  sealcast health --ops 127.0.0.1:9090")]
    Health(HealthFlags),
    /// Print a completion script for a shell.
    #[command(after_help = "Example:
  sealcast completion bash > /etc/bash_completion.d/sealcast")]
    Completion {
        /// Shell to complete for.
        shell: clap_complete::Shell,
    },
}

/// Flags that all roles share. A flag wins over its environment variable, which wins over the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Common {
    /// Configuration file [default: ./sealcast.toml, if there is one].
    #[arg(long, env = "SEALCAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory for all files that Sealcast keeps [default: ./data].
    #[arg(long, env = "SEALCAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of the ops plane: /healthz, /readyz, /metrics, /status [default: 127.0.0.1:9090].
    #[arg(long, env = "SEALCAST_OPS_LISTEN", value_name = "ADDR")]
    pub ops_listen: Option<SocketAddr>,
    /// File to write once everything serves: one JSON object with every address.
    #[arg(long, env = "SEALCAST_READY_FILE", value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Duration of a part, the unit in which media reaches low-latency players, in milliseconds, 200 to 2000; the same on all ingest
    /// and broadcast nodes [default: 500].
    #[arg(long, env = "SEALCAST_PART_TARGET_MS", value_name = "MS")]
    pub part_target_ms: Option<u64>,
    /// Log level: error, warn, info, debug, or a filter such as `info,ingest=debug`.
    #[arg(long, env = "SEALCAST_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Format of the log.
    #[arg(long, env = "SEALCAST_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// Format of log lines on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people to read.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Clone, Default, Args)]
#[command(after_help = "Port 0 asks the system for a free port; the file of --ready-file names the port.")]
pub(crate) struct UpFlags {
    #[command(flatten)]
    pub common: Common,
    /// Address where publishers connect by RTMP [default: 0.0.0.0:1935].
    #[arg(long, env = "SEALCAST_RTMP_LISTEN", value_name = "ADDR")]
    pub rtmp_listen: Option<SocketAddr>,
    /// Address where publishers connect by RTMP over TLS (rtmps://) [default: none].
    #[arg(long, env = "SEALCAST_RTMPS_LISTEN", value_name = "ADDR")]
    pub rtmps_listen: Option<SocketAddr>,
    /// Address where viewers connect by HTTPS [default: 0.0.0.0:8443].
    #[arg(long, env = "SEALCAST_HTTPS_LISTEN", value_name = "ADDR")]
    pub https_listen: Option<SocketAddr>,
    /// Address of the embedded MQTT broker [default: 127.0.0.1:1883].
    #[arg(long, env = "SEALCAST_MQTT_LISTEN", value_name = "ADDR")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Address where programs connect by gRPC [default: none].
    #[arg(long, env = "SEALCAST_GRPC_LISTEN", value_name = "ADDR")]
    pub grpc_listen: Option<SocketAddr>,
    /// Number of broadcast nodes to run, 1 to 16 [default: 2].
    #[arg(long, env = "SEALCAST_BROADCAST", value_name = "N")]
    pub broadcast: Option<u16>,
    /// How far viewers can go back, in seconds; 0 turns DVR off. Each broadcast node keeps twice as much of each stream on disk
    /// [default: 0].
    #[arg(long, env = "SEALCAST_DVR_WINDOW_S", value_name = "S")]
    pub dvr_window_s: Option<u64>,
    /// Do not publish the test picture.
    #[arg(long, env = "SEALCAST_NO_SOURCE", value_parser = switch)]
    pub no_source: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RoleFlags {
    #[command(flatten)]
    pub common: Common,
    /// Name of this node, unique in the cluster.
    #[arg(long, env = "SEALCAST_ID", value_name = "NAME")]
    pub id: Option<String>,
    /// Directory of identities that `sealcast certs cluster` made for the role. The node takes the one of its name, or else the first
    /// that no other process has. For containers that are scaled.
    #[arg(long, env = "SEALCAST_IDENTITIES", value_name = "DIR")]
    pub identities: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct IngestFlags {
    #[command(flatten)]
    pub role: RoleFlags,
    /// Where publishers reach this ingest, such as `rtmp://live.example.org:1935/live`. The host 0.0.0.0 stands for the one at which they
    /// reach the cluster [default: rtmp://0.0.0.0:PORT/live, or rtmps with the port of rtmps_listen].
    #[arg(long, env = "SEALCAST_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
}

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ControlFlags {
    #[command(flatten)]
    pub role: RoleFlags,
    /// Address where programs connect by gRPC [default: none].
    #[arg(long, env = "SEALCAST_GRPC_LISTEN", value_name = "ADDR")]
    pub grpc_listen: Option<SocketAddr>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HealthFlags {
    /// Address of the node's ops plane.
    #[arg(long, env = "SEALCAST_OPS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub ops: SocketAddr,
    /// Ask whether the process lives (/healthz), not whether it serves (/readyz).
    #[arg(long)]
    pub live: bool,
}

#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  sealcast source rtmp://127.0.0.1:1935/live --key-file key.txt
  sealcast source rtmp://127.0.0.1:1935/live --key-file key.txt --size 1280x720 --frame-rate 30")]
pub(crate) struct SourceFlags {
    #[command(flatten)]
    pub source: source::Flags,
}

/// How an administration command reaches the control node, and how it prints the answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminFlags {
    /// Configuration file [default: ./sealcast.toml, if there is one].
    #[arg(long, env = "SEALCAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the cluster that runs on this machine [default: ./data].
    #[arg(long, env = "SEALCAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct BackupFlags {
    /// Archive to write (tar, mode 0600); it must not exist.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Configuration file [default: ./sealcast.toml, if there is one].
    #[arg(long, env = "SEALCAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory of the control node on this machine [default: ./data].
    #[arg(long, env = "SEALCAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreFlags {
    /// Archive of `sealcast backup`.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Configuration file [default: ./sealcast.toml, if there is one].
    #[arg(long, env = "SEALCAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory to make; missing or empty [default: ./data].
    #[arg(long, env = "SEALCAST_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// A role, as the command line spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    Ingest,
    Broadcast,
    Loadbalancer,
    Control,
}

impl From<RoleName> for messages::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Ingest => Self::Ingest,
            RoleName::Broadcast => Self::Broadcast,
            RoleName::Loadbalancer => Self::LoadBalancer,
            RoleName::Control => Self::Control,
        }
    }
}

/// Reads `90s`, `45m`, `2h` or `3d`.
fn time_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write a number with s, m, h or d, such as 45m or 2h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(seconds).map(|seconds| Duration::from_secs(seconds.into())).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error text for `arguments`, of which the user typed `typed`, with these variables set. clap does not see `variables`, because
    /// it reads the environment of the process.
    fn said(arguments: &[&str], typed: &[&str], variables: &[(&str, &str)]) -> String {
        let error = Cli::try_parse_from(arguments).unwrap_err();
        let typed: Vec<OsString> = typed.iter().map(OsString::from).collect();
        let set =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        with_variable(error, &typed, set).to_string()
    }

    #[test]
    fn value_from_the_environment_is_reported_with_its_variable() {
        let (bad, set) = (["sealcast", "up", "--broadcast", "abc"], [("SEALCAST_BROADCAST", "abc")]);
        let error = said(&bad, &["sealcast", "up"], &set);
        assert!(
            error.starts_with("error: invalid value 'abc' for 'SEALCAST_BROADCAST (--broadcast <N>)': "),
            "{error}"
        );
        let error = said(&bad, &bad, &set);
        assert!(error.starts_with("error: invalid value 'abc' for '--broadcast <N>': "), "it was typed: {error}");
        let error = said(&bad, &["sealcast", "up"], &[("SEALCAST_BROADCAST", "2")]);
        assert!(!error.contains("SEALCAST_BROADCAST"), "that one is valid: {error}");
        let error = said(&["sealcast", "up", "--log-format=xml"], &[], &[("SEALCAST_LOG_FORMAT", "xml")]);
        assert!(error.contains("SEALCAST_LOG_FORMAT (--log-format <LOG_FORMAT>)"), "{error}");
    }

    #[test]
    fn switch_is_on_or_off_and_nothing_else() {
        for (text, meant) in [("1", true), ("TRUE", true), ("yes", true), ("0", false), ("off", false), ("", false)] {
            assert_eq!(switch(text), Ok(meant), "{text:?}");
        }
        for text in ["maybe", "2", "-", " "] {
            assert!(switch(text).is_err(), "{text:?}");
        }
    }
}
