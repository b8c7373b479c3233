//! The grammar of `sealcast streamer`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{AdminFlags, time_span};

#[derive(Debug, Subcommand)]
pub(crate) enum StreamerCommand {
    /// Make the identity of an ingest that a streamer runs beside the encoder, and give it streams. It seals these and nothing else, and
    /// no shared ingest seals them. A streamer that is there has these streams from now on.
    #[command(after_help = "Example:
  sealcast stream create choir
  sealcast streamer add anna --stream choir --out anna/
  # on the streamer's machine, in that folder:
  sealcast ingest")]
    Add(StreamerFlags),
    /// On the streamer's machine: let a shared ingest seal one session of a stream, instead of running an ingest there. The key in this
    /// folder signs, control checks and writes it down, and every node and viewer checks it again. It ends by itself.
    #[command(after_help = "Example, in the folder that `streamer add` made:
  sealcast streamer delegate choir --for 4h
  # then OBS publishes to the shared ingest with the key of the stream")]
    Delegate(DelegateFlags),
    /// List the streamers and their streams.
    List {
        #[command(flatten)]
        admin: AdminFlags,
    },
    /// Stop trusting a streamer, for good, as `node revoke` does. Its streams are those of the shared ingests again.
    Remove {
        /// Name of the streamer.
        name: String,
        #[command(flatten)]
        admin: AdminFlags,
    },
}

#[derive(Debug, Clone, Args)]
pub(crate) struct StreamerFlags {
    /// Name of the streamer's ingest; no other node may have it, now or later.
    pub name: String,
    /// A stream that it seals; may be given several times.
    #[arg(long = "stream", value_name = "STREAM", required = true)]
    pub streams: Vec<String>,
    /// Folder to make [default: streamer-NAME].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Directory of the authority [default: certs in the data directory, or ./certs].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the streamer's machine reaches control [default: where this machine does].
    #[arg(long, value_name = "URL")]
    pub control: Option<String>,
    /// Where it reaches a broker; may be given several times [default: where this machine does].
    #[arg(long, value_name = "URL")]
    pub bus: Vec<String>,
    #[command(flatten)]
    pub admin: AdminFlags,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct DelegateFlags {
    /// The stream, one of the streamer's.
    pub stream: String,
    /// Name of the shared ingest [default: the only one].
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// How long the ingest may seal the session, such as 45m or 4h; 11h at most, and no longer than the streamer's own grant.
    #[arg(long = "for", value_name = "TIME", value_parser = time_span, default_value = "4h")]
    pub lasts: Duration,
    /// Configuration file [default: ./sealcast.toml].
    #[arg(long, env = "SEALCAST_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
