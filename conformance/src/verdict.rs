//! Verdicts on rows, and the findings that lead to them. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::observation::Observation;

/// Most evidence that is kept of a row; more is only counted.
const EVIDENCE_MAX: usize = 8;

/// Most findings of a row that are checked for repetition.
const KNOWN_MAX: usize = 4_096;

/// How binding a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Breaking it makes a warning.
    Should,
    /// Breaking it makes a failure.
    Must,
}

/// The outcome of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Status {
    /// All that was seen keeps the rules.
    #[serde(rename = "PASS")]
    Pass,
    /// A SHOULD is broken, and no MUST.
    #[serde(rename = "WARN")]
    Warn,
    /// A MUST is broken.
    #[serde(rename = "FAIL")]
    Fail,
    /// The row does not apply to this stream.
    #[serde(rename = "N/A")]
    NotApplicable,
    /// The row applies, but the run showed nothing of it.
    #[serde(rename = "SKIP")]
    Skip,
}

impl Status {
    /// The name as printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
            Self::NotApplicable => "N/A",
            Self::Skip => "SKIP",
        }
    }
}

/// A broken rule, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How binding the rule is.
    pub level: Level,
    /// Its section: `D` for RFC 8216bis, `A` for Apple's authoring specification.
    pub section: String,
    /// What shows it: playlist line, URL, numbers.
    pub text: String,
}

/// A row's outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub status: Status,
    /// What was checked, or why nothing was.
    pub note: String,
    /// At most `EVIDENCE_MAX` broken rules; when there are more, a MUST displaces a SHOULD.
    pub evidence: Vec<Evidence>,
    /// Number of further broken rules, beyond `evidence`.
    pub more: usize,
}

/// A rule or a group of them: one row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    pub number: u8,
    pub name: &'static str,
    /// Sections of its rules, separated by commas, with the letters of [`Evidence::section`].
    pub rule: &'static str,
    /// The most binding of its rules.
    pub level: Level,
    /// Judges the row: a pure function of the record.
    pub judge: fn(&Observation) -> Verdict,
}

/// Collects the findings of a row.
#[derive(Debug, Default)]
pub struct Findings {
    evidence: Vec<Evidence>,
    more: usize,
    looked_at: Vec<String>,
    /// Findings so far: the same fault in many versions of a playlist counts once.
    known: BTreeSet<String>,
}

impl Findings {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a broken MUST; the same section and text count only once.
    pub fn must(&mut self, section: &str, text: impl Into<String>) {
        self.add(Level::Must, section, text.into());
    }

    /// Records a broken SHOULD; the same section and text count only once.
    pub fn should(&mut self, section: &str, text: impl Into<String>) {
        self.add(Level::Should, section, text.into());
    }

    /// Records how many of what were checked. If nothing was, the row could not be seen.
    pub fn looked_at(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.looked_at.push(format!("{count} {what}"));
        }
    }

    fn add(&mut self, level: Level, section: &str, text: String) {
        let entry = Evidence { level, section: section.to_owned(), text };
        if self.known.len() < KNOWN_MAX && !self.known.insert(format!("{section} {}", entry.text)) {
            return;
        }
        if self.evidence.len() < EVIDENCE_MAX {
            self.evidence.push(entry);
            return;
        }
        self.more += 1;
        // Warnings must not crowd out a failure.
        if level == Level::Must
            && let Some(lesser) = self.evidence.iter().rposition(|found| found.level == Level::Should)
        {
            self.evidence.remove(lesser);
            self.evidence.push(entry);
        }
    }

    /// The verdict; SKIP with the note `unseen` when nothing was checked and nothing found.
    #[must_use]
    pub fn verdict(self, unseen: &str) -> Verdict {
        let worst = self.evidence.iter().map(|found| found.level).max();
        let (status, note) = match worst {
            Some(Level::Must) => (Status::Fail, self.looked_at.join(", ")),
            Some(Level::Should) => (Status::Warn, self.looked_at.join(", ")),
            None if self.looked_at.is_empty() => (Status::Skip, unseen.to_owned()),
            None => (Status::Pass, self.looked_at.join(", ")),
        };
        Verdict { status, note, evidence: self.evidence, more: self.more }
    }
}

impl Verdict {
    /// The verdict that the row does not apply, with the reason.
    #[must_use]
    pub fn not_applicable(why: impl Into<String>) -> Self {
        Self { status: Status::NotApplicable, note: why.into(), evidence: Vec::new(), more: 0 }
    }

    /// The verdict that the run showed nothing of the row, with the reason.
    #[must_use]
    pub fn skip(why: impl Into<String>) -> Self {
        Self { status: Status::Skip, note: why.into(), evidence: Vec::new(), more: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let mut findings = Findings::new();
        assert_eq!(Findings::new().verdict("nothing").status, Status::Skip);
        findings.looked_at(2, "playlists");
        findings.should("D1", "a");
        findings.must("D2", "b");
        let verdict = findings.verdict("nothing");
        assert_eq!((verdict.status, verdict.note.as_str()), (Status::Fail, "2 playlists"));
    }

    #[test]
    fn a_failure_is_not_lost_behind_many_warnings() {
        let mut findings = Findings::new();
        for number in 0..20 {
            findings.should("D1", format!("{number}"));
        }
        findings.must("D2", "the one");
        let verdict = findings.verdict("");
        assert_eq!(verdict.status, Status::Fail);
        assert_eq!(verdict.evidence.len(), EVIDENCE_MAX);
        assert!(verdict.more > 0);
    }
}
