//! `source`: publishes the test pattern or a file.

use std::path::PathBuf;

use clap::Parser;
use source::{CancellationToken, Config, FrameRate, Input, Pattern, Source};

const EXAMPLES: &str = "\
Examples:
  source rtmp://127.0.0.1:1935/live --key demo-key
  source rtmp://127.0.0.1:1935/live/demo-key --size 1920x1080 --frame-rate 59.94 --bit-rate 6000
  source rtmps://ingest.example/live --key KEY --keyframe-interval 1000
  source rtmp://127.0.0.1:1935/live --key demo-key --file holiday.mp4

The picture shows the wall clock (UTC) as digits, and as two rows of blocks along its lower edge that programs can read at any
size. The sound beeps at the start of each second, higher at the start of each minute. When the server goes away it connects again.
Ctrl-C ends it.";

/// Publishes a moving test pattern with wall clock and tone, or a looped file, to an RTMP or RTMPS server.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Arguments {
    /// rtmp:// or rtmps:// URL of server and application, with or without the stream key
    url: String,
    /// Stream key, appended to the URL
    #[arg(long, env = "SOURCE_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// Loop this file (H.264 and AAC) as it is instead of the pattern
    #[arg(long, conflicts_with_all = ["size", "frame_rate", "keyframe_interval", "bit_rate", "preset"])]
    file: Option<PathBuf>,
    /// Size of the picture in pixels, both even
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "1280x720", value_parser = size)]
    size: (u32, u32),
    /// Frames a second, such as 30, 29.97 or 30000/1001
    #[arg(long, default_value = "30")]
    frame_rate: FrameRate,
    /// Distance of keyframes in milliseconds
    #[arg(long, default_value_t = 2_000)]
    keyframe_interval: u32,
    /// Bit rate of the picture in 1000 bit/s
    #[arg(long, default_value_t = 2_500)]
    bit_rate: u32,
    /// x264 preset
    #[arg(long, default_value = "superfast")]
    preset: String,
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let parsed = text.split_once('x').and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    parsed.ok_or_else(|| "expected WIDTHxHEIGHT, such as 1280x720".to_owned())
}

impl Arguments {
    fn config(self) -> Config {
        let input = match self.file {
            Some(path) => Input::File(path),
            None => Input::Pattern(Pattern {
                width: self.size.0,
                height: self.size.1,
                frame_rate: self.frame_rate,
                keyframe_interval_ms: self.keyframe_interval,
                kbit_per_second: self.bit_rate,
                preset: self.preset,
            }),
        };
        Config { url: self.url, key: self.key, input }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let source = Source::load(Arguments::parse().config())?;
    let shutdown = CancellationToken::new();
    let signalled = shutdown.clone();
    tokio::spawn(async move {
        // Without a signal handler the process ends the hard way, which is an end too.
        if tokio::signal::ctrl_c().await.is_ok() {
            signalled.cancel();
        }
    });
    source.run(shutdown).await
}
