//! The outcome of a run, as a table for people and as JSON. Pure.

use serde::Serialize;

use crate::observation::Observation;
use crate::rows::ROWS;
use crate::verdict::{Level, Status, Verdict};

/// A row with its verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    pub row: u8,
    pub name: &'static str,
    /// Sections of its rules, as in [`crate::verdict::Row::rule`].
    pub rule: &'static str,
    /// The most binding of its rules.
    pub level: Level,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The outcome of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub url: String,
    /// How long it was watched, in seconds.
    pub watched_seconds: f64,
    /// Names of the media playlists: their URIs as written.
    pub renditions: Vec<String>,
    /// Tolerance for timings, in seconds.
    pub slack_seconds: f64,
    /// Rows in the order of their numbers.
    pub rows: Vec<Judged>,
}

/// Whether the table has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Escape sequences for a terminal.
    Ansi,
    /// Plain text.
    None,
}

impl Report {
    /// Judges the wanted rows by number; all rows if `wanted` is empty.
    #[must_use]
    pub fn of(observation: &Observation, wanted: &[u8]) -> Self {
        let rows = ROWS.iter().filter(|row| wanted.is_empty() || wanted.contains(&row.number));
        Self {
            url: observation.url.clone(),
            watched_seconds: observation.lasted.as_secs_f64(),
            renditions: observation.renditions.iter().map(|rendition| rendition.name.clone()).collect(),
            slack_seconds: observation.slack.as_secs_f64(),
            rows: rows
                .map(|row| Judged {
                    row: row.number,
                    name: row.name,
                    rule: row.rule,
                    level: row.level,
                    verdict: (row.judge)(observation),
                })
                .collect(),
        }
    }

    /// Number of rows with this outcome.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.rows.iter().filter(|judged| judged.verdict.status == status).count()
    }

    /// Whether no MUST is broken.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.count(Status::Fail) == 0
    }

    /// The report as a table.
    #[must_use]
    pub fn text(&self, colour: Colour) -> String {
        let mut text = format!(
            "{}\nwatched {:.0} s, {} media playlists: {}\n\n",
            self.url,
            self.watched_seconds,
            self.renditions.len(),
            self.renditions.join(", ")
        );
        for judged in &self.rows {
            let status = painted(judged.verdict.status, colour);
            text.push_str(&format!("{:>3}  {status}  {}\n", judged.row, judged.name));
            if !judged.verdict.note.is_empty() {
                text.push_str(&format!("           {}\n", judged.verdict.note));
            }
            for evidence in &judged.verdict.evidence {
                let level = if evidence.level == Level::Must { "MUST" } else { "SHOULD" };
                text.push_str(&format!("           {level} {}: {}\n", evidence.section, evidence.text));
            }
            if judged.verdict.more > 0 {
                text.push_str(&format!("           … and {} more\n", judged.verdict.more));
            }
        }
        text.push_str(&format!(
            "\n{} passed, {} failed, {} warnings, {} not applicable, {} not seen\n",
            self.count(Status::Pass),
            self.count(Status::Fail),
            self.count(Status::Warn),
            self.count(Status::NotApplicable),
            self.count(Status::Skip)
        ));
        text
    }
}

/// The name of the outcome, padded to the widest one, and coloured if wanted.
fn painted(status: Status, colour: Colour) -> String {
    let name = format!("{:<4}", status.name());
    let code = match status {
        Status::Pass => "32",
        Status::Warn => "33",
        Status::Fail => "31;1",
        Status::NotApplicable | Status::Skip => "2",
    };
    match colour {
        Colour::Ansi => format!("\x1b[{code}m{name}\x1b[0m"),
        Colour::None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_rows_only_and_colour_only_when_asked() {
        let report = Report::of(&Observation::default(), &[1, 37]);
        assert_eq!(report.rows.iter().map(|judged| judged.row).collect::<Vec<_>>(), [1, 37]);
        assert!(!report.text(Colour::None).contains('\x1b'));
        assert!(report.text(Colour::Ansi).contains('\x1b'));
        assert!(report.passed());
    }

    #[test]
    fn json_has_a_row_an_object() {
        let json = serde_json::to_value(Report::of(&Observation::default(), &[])).unwrap();
        let rows = json.get("rows").unwrap().as_array().unwrap();
        assert_eq!(rows.len(), 39);
        let first = rows.first().unwrap();
        assert_eq!(first.get("status").unwrap(), "SKIP");
        assert_eq!(first.get("level").unwrap(), "MUST");
    }
}
