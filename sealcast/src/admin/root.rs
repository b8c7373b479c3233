//! `sealcast root …`: shows the metadata log, and has the root key decide where it goes on.

use anyhow::ensure;
use reqwest::Method;
use serde_json::Value;

use super::{Admin, field};
use crate::cli::RootCommand;

/// `sealcast root …`
///
/// # Errors
/// When control does not answer, or refuses.
pub(crate) async fn run(command: RootCommand) -> anyhow::Result<()> {
    match command {
        RootCommand::Show { admin } => {
            let admin = Admin::connect(&admin)?;
            let log = admin.ask(Method::GET, "/metadata", None).await?;
            admin.print(&log, shown)
        }
        RootCommand::Branch { yes, admin } => {
            let admin = Admin::connect(&admin)?;
            let log = admin.ask(Method::GET, "/metadata", None).await?;
            let at = number(&log["sequence"]);
            ensure!(
                yes,
                "this voids for good what was written after entry {at}: look at `sealcast root show`, and give --yes if you mean it"
            );
            let log = admin.ask(Method::POST, "/metadata/branch", None).await?;
            admin.print(&log, |log| {
                let version = number(&log["root_version"]);
                format!("the metadata log goes on after entry {at}; root statement {version} says so\n")
            })
        }
    }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn shown(log: &Value) -> String {
    let mut lines = vec![
        ("newest entry", number(&log["sequence"])),
        ("state", field(log, "state").to_owned()),
        ("rows", number(&log["rows"])),
        ("root statement", number(&log["root_version"])),
    ];
    if let Some(fork) = log["fork"].as_u64() {
        lines.push(("FORKED", format!("at entry {fork}: control signed two logs (docs/guide/operations.md)")));
    }
    if let Some(behind) = log["behind"].as_u64() {
        lines.push(("MISSING", format!("entries up to {behind}, which control has signed and does not have")));
    }
    let nodes = log["nodes"].as_object().into_iter().flatten();
    let nodes = nodes.map(|(node, have)| (node.as_str(), format!("has entry {}", number(have))));
    lines.into_iter().chain(nodes).map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_shown_with_what_is_wrong_with_it() {
        let mut log =
            serde_json::json!({ "sequence": 7, "state": "ab", "rows": 3, "root_version": 1, "nodes": { "b1": 7 } });
        assert_eq!(
            shown(&log),
            "newest entry    7\nstate           ab\nrows            3\nroot statement  1\nb1              has entry 7\n"
        );
        (log["fork"], log["behind"]) = (5.into(), 9.into());
        let text = shown(&log);
        assert!(
            text.contains("FORKED          at entry 5") && text.contains("MISSING         entries up to 9"),
            "{text}"
        );
    }
}
