//! `source`: publishes the test pattern or a file.

use clap::Parser;
use source::{CancellationToken, EXAMPLES, Flags, Source};

/// Publishes a moving test pattern with wall clock and tone, or a looped file, to an RTMP or RTMPS server.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let source = Source::load(Arguments::parse().flags.try_into()?)?;
    let shutdown = CancellationToken::new();
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        // Without a signal handler, Ctrl-C ends the process at once, which is an end too.
        if tokio::signal::ctrl_c().await.is_ok() {
            signalled.cancel();
        }
    });
    source.run(shutdown).await
}
