//! Logs: structured events on standard error, as text for people or as JSON for machines.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Environment variable that overrides the filter: `SEALCAST_LOG=broadcast=debug,info`.
pub const FILTER_VARIABLE: &str = "SEALCAST_LOG";

/// Filters that the given one may override. Pingora calls it an error when a connection to a node becomes idle at the moment in which it is
/// wanted again; the request gets another connection.
const DEFAULT_FILTER: &str = "pingora_core::connectors=off";

/// Shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line for a person; in colour on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("log format {text:?} is not known: use text or json")),
        }
    }
}

/// Starts logging for the process. `filter` is what `tracing` calls directives (`info`, `ingest=debug,warn`); the variable
/// [`FILTER_VARIABLE`] wins over it. A second call in one process changes nothing.
///
/// # Errors
/// When the filter does not parse; names it and where it came from.
pub fn init(format: Format, filter: &str) -> Result<()> {
    let (directives, from) = match std::env::var(FILTER_VARIABLE) {
        Ok(directives) if !directives.is_empty() => (directives, FILTER_VARIABLE),
        _ => (filter.to_owned(), "the log filter"),
    };
    let filter = EnvFilter::builder()
        .parse(format!("{DEFAULT_FILTER},{directives}"))
        .with_context(|| format!("{from} {directives:?} is not a filter such as \"info\" or \"ingest=debug,info\""))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if installed.is_err() {
        tracing::debug!("logging was started before; its format and filter stay");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_filter_is_named_and_second_start_is_harmless() {
        let error = format!("{:#}", init(Format::Text, "in=fo=x").unwrap_err());
        assert!(error.contains("in=fo=x"), "{error}");
        init(Format::Text, "info").unwrap();
        init(Format::Json, "info").unwrap();
    }
}
