//! Row 28: hold-backs and the skip boundary. Pure.

use super::common::s;
use crate::observation::{Observation, RenditionSeen};
use crate::playlist::MediaPlaylist;
use crate::verdict::{Findings, Level, Row, Verdict};

pub(super) const ROW: Row = Row {
    number: 28,
    name: "hold-back: PART-HOLD-BACK 3x part target, HOLD-BACK 3x and CAN-SKIP-UNTIL 6x target",
    rule: "D4.4.3.8, A14.3",
    level: Level::Must,
    judge,
};

fn judge(observation: &Observation) -> Verdict {
    let mut findings = Findings::new();
    let mut controls = 0;
    for (rendition, playlist) in observation.lasts() {
        controls += usize::from(playlist.control.is_some());
        control(rendition, playlist, &mut findings);
    }
    if controls == 0 && !observation.is_low_latency() && observation.firsts().next().is_some() {
        return Verdict::not_applicable("there is no EXT-X-SERVER-CONTROL");
    }
    findings.looked_at(controls, "EXT-X-SERVER-CONTROL");
    findings.verdict("no playlist was loaded")
}

fn control(rendition: &RenditionSeen, playlist: &MediaPlaylist, findings: &mut Findings) {
    let name = &rendition.name;
    let target = playlist.target();
    let attribute = |wanted: &str| playlist.control.as_ref().and_then(|control| control.seconds(wanted));
    let present = |wanted: &str| playlist.control.as_ref().is_some_and(|control| control.get(wanted).is_some());
    for wanted in ["HOLD-BACK", "PART-HOLD-BACK", "CAN-SKIP-UNTIL"] {
        if present(wanted) && attribute(wanted).is_none() {
            findings.must("D4.4.3.8", format!("{name}: {wanted} is not a number of seconds"));
        }
    }
    if let Some(hold_back) = attribute("HOLD-BACK")
        && hold_back < target * 3
    {
        findings.must("D4.4.3.8", format!("{name}: HOLD-BACK {} is below 3 x {}", s(hold_back), s(target)));
    }
    if let Some(boundary) = attribute("CAN-SKIP-UNTIL")
        && boundary < target * 6
    {
        findings.must("D4.4.3.8", format!("{name}: CAN-SKIP-UNTIL {} is below 6 x {}", s(boundary), s(target)));
    }
    if present("CAN-SKIP-DATERANGES") && !present("CAN-SKIP-UNTIL") {
        findings.must("D4.4.3.8", format!("{name}: CAN-SKIP-DATERANGES without CAN-SKIP-UNTIL"));
    }
    let Some(part) = playlist.part_target else { return };
    match attribute("PART-HOLD-BACK") {
        None => findings.must("D4.4.3.8", format!("{name}: EXT-X-PART-INF, but no PART-HOLD-BACK")),
        Some(hold_back) if hold_back < part * 2 => {
            findings.must("D4.4.3.8", format!("{name}: PART-HOLD-BACK {} is below 2 x {}", s(hold_back), s(part)));
        }
        Some(hold_back) if hold_back < part * 3 => {
            findings.must("A14.3", format!("{name}: PART-HOLD-BACK {} is below 3 x {}", s(hold_back), s(part)));
        }
        Some(_) => {}
    }
}
