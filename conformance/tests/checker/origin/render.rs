//! Renders the origin's playlists.

use std::fmt::Write as _;
use std::time::Duration;

use super::breakage::Break;
use super::timeline::{GAP, PARTS_PER_SEGMENT, Rendition, Timeline, WRONG_FROM, epoch, is_gap};

/// Segments in a playlist.
const WINDOW: u64 = 12;
/// Number of the newest segments that list parts.
const WITH_PARTS: u64 = 3;
/// Number of the newest segments that are never skipped: CAN-SKIP-UNTIL is six seconds.
const NOT_SKIPPED: u64 = 6;

/// Input of a playlist.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub timeline: &'a Timeline,
    pub now: Duration,
}

/// A full playlist or a delta update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Full,
    Delta,
}

fn seconds(span: Duration) -> String {
    format!("{:.6}", span.as_secs_f64())
}

fn date(milliseconds: u64) -> String {
    // All dates are in the first hours of 2026.
    let since = milliseconds - 1_767_225_600_000;
    let (s, ms) = (since / 1_000, since % 1_000);
    format!("2026-01-01T{:02}:{:02}:{:02}.{ms:03}Z", s / 3_600, s / 60 % 60, s % 60)
}

/// First and next segment, and the end of parts.
pub struct Window {
    pub first: u64,
    pub next: u64,
    pub parts: u64,
    pub ended: bool,
}

impl<'a> View<'a> {
    pub fn window(&self, rendition: Rendition) -> Window {
        let parts = self.timeline.parts_at(self.now, rendition);
        let next = parts / PARTS_PER_SEGMENT;
        let length = if self.timeline.broken == Break::ShortWindow { 5 } else { WINDOW };
        Window { first: next - length, next, parts, ended: self.timeline.ended(parts) }
    }

    fn broken(&self, fault: Break) -> bool {
        self.timeline.broken == fault
    }

    fn playlist_type(&self) -> &'static str {
        if self.broken(Break::EventType) { "#EXT-X-PLAYLIST-TYPE:EVENT\n" } else { "" }
    }

    fn control(&self, rendition: Rendition) -> String {
        let hold_back = if self.broken(Break::ControlDiffers) && rendition.is_sound() { "3.5" } else { "3.0" };
        let part_hold_back = if self.broken(Break::ShortHoldBack) { "0.3" } else { "0.75" };
        format!(
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=6.0,HOLD-BACK={hold_back},PART-HOLD-BACK={part_hold_back}\n"
        )
    }

    pub fn media(&self, rendition: Rendition, extent: Extent) -> String {
        let window = self.window(rendition);
        let skipped = self.skipped(&window, extent);
        let mut text = String::from(if self.broken(Break::ByteOrderMark) { "\u{feff}" } else { "" });
        let version = if skipped > 0 { 9 } else { 6 };
        let part_target =
            if self.broken(Break::PartTargetChanges) && self.now.as_millis() > 2_500 { "0.221" } else { "0.22" };
        let _ = write!(text, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:1\n");
        if self.broken(Break::TwoTargets) {
            text.push_str("#EXT-X-TARGETDURATION:1\n");
        }
        if self.broken(Break::MixedKinds) {
            text.push_str("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"x\",NAME=\"x\"\n");
        }
        text.push_str(self.playlist_type());
        text.push_str(&self.control(rendition));
        let _ = writeln!(text, "#EXT-X-PART-INF:PART-TARGET={part_target}");
        self.numbers(&mut text, &window, skipped);
        for msn in window.first + skipped..window.next {
            let first = msn == window.first + skipped;
            self.segment(&mut text, rendition, msn, &window, first);
        }
        if !window.parts.is_multiple_of(PARTS_PER_SEGMENT) {
            self.tags(&mut text, rendition, window.next, false);
            self.parts(&mut text, rendition, window.next, window.parts % PARTS_PER_SEGMENT);
        }
        if window.ended {
            text.push_str("#EXT-X-ENDLIST\n");
        } else {
            self.hints(&mut text, rendition, &window);
        }
        self.reports(&mut text, rendition, false);
        if self.broken(Break::CutOff) && self.now.as_millis() % 1_000 < 400 {
            text.truncate(text.len() - 30);
        }
        text
    }

    fn skipped(&self, window: &Window, extent: Extent) -> u64 {
        let keep = if self.broken(Break::DeltaSkipsTooMuch) { 3 } else { NOT_SKIPPED };
        match extent {
            Extent::Delta if !window.ended => (window.next - window.first).saturating_sub(keep),
            _ => 0,
        }
    }

    fn numbers(&self, text: &mut String, window: &Window, skipped: u64) {
        let mut sequence = epoch(window.first);
        // The discontinuity of the first segment is still listed, so it does not count.
        if window.first > 0 && epoch(window.first) != epoch(window.first - 1) {
            sequence -= 1;
        }
        if self.broken(Break::DiscontinuityNotCounted) {
            sequence = 0;
        }
        let _ = write!(text, "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{sequence}\n", window.first);
        if skipped > 0 {
            let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
        }
    }

    /// Writes the tags before a segment's parts.
    fn tags(&self, text: &mut String, rendition: Rendition, msn: u64, first: bool) {
        let opens = msn > 0 && epoch(msn) != epoch(msn - 1);
        if opens {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let name = self.timeline.epoch_name(rendition, msn);
        if opens || first || msn > 0 && self.timeline.epoch_name(rendition, msn - 1) != name {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"{name}/init.mp4\"");
        }
        let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(self.timeline.date_ms(rendition, msn)));
    }

    fn parts(&self, text: &mut String, rendition: Rendition, msn: u64, count: u64) {
        let epoch = self.timeline.epoch_name(rendition, msn);
        for index in 0..count {
            let mut duration = self.timeline.part_duration(rendition, msn * PARTS_PER_SEGMENT + index);
            if self.broken(Break::ShortParts) && index == 2 {
                duration /= 2;
            }
            let _ = write!(text, "#EXT-X-PART:DURATION={},URI=\"{epoch}/{msn}.{index}.m4s\"", seconds(duration));
            if index == 0 || rendition.is_sound() {
                text.push_str(",INDEPENDENT=YES");
            }
            if is_gap(msn) && !self.broken(Break::PartsOfGap) {
                text.push_str(",GAP=YES");
            }
            text.push('\n');
        }
    }

    fn segment(&self, text: &mut String, rendition: Rendition, msn: u64, window: &Window, first: bool) {
        self.tags(text, rendition, msn, first);
        if msn + WITH_PARTS >= window.next {
            self.parts(text, rendition, msn, PARTS_PER_SEGMENT);
        }
        if is_gap(msn) {
            text.push_str("#EXT-X-GAP\n");
        }
        let mut duration = self.timeline.segment_duration(rendition, msn);
        if self.broken(Break::LongExtinf) && msn == 5 && rendition == Rendition::Low {
            duration = Duration::from_millis(1_600);
        }
        if self.broken(Break::InaccurateExtinf) {
            duration = duration * 108 / 100;
        }
        let epoch = self.timeline.epoch_name(rendition, msn);
        let query =
            if self.broken(Break::UriChanges) && msn == 10 && self.now.as_millis() > 2_500 { "?other" } else { "" };
        let _ = write!(text, "#EXTINF:{},\n{epoch}/{msn}.m4s{query}\n", seconds(duration));
    }

    fn hints(&self, text: &mut String, rendition: Rendition, window: &Window) {
        if self.broken(Break::NoHints) {
            return;
        }
        let (msn, index) = (window.parts / PARTS_PER_SEGMENT, window.parts % PARTS_PER_SEGMENT);
        let last = (window.parts - 1) / PARTS_PER_SEGMENT;
        let epoch = self.timeline.epoch_name(rendition, msn);
        if self.timeline.epoch_name(rendition, last) != epoch {
            let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{epoch}/init.mp4\"");
        }
        let index = if self.broken(Break::WrongHints) { index + 1 } else { index };
        let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{epoch}/{msn}.{index}.m4s\"");
    }

    fn reports(&self, text: &mut String, own: Rendition, of_iframes: bool) {
        if self.broken(Break::NoReports) {
            return;
        }
        let late = if self.broken(Break::StaleReports) { 2 * PARTS_PER_SEGMENT } else { 0 };
        for other in Rendition::ALL {
            let window = self.window(other);
            let last = window.parts - 1 - late;
            let (msn, index) = (last / PARTS_PER_SEGMENT, last % PARTS_PER_SEGMENT);
            let uri = other.name();
            if other != own || of_iframes {
                let _ = writeln!(
                    text,
                    "#EXT-X-RENDITION-REPORT:URI=\"../{uri}/index.m3u8\",LAST-MSN={msn},LAST-PART={index}"
                );
            }
            let iframes = !other.is_sound() && !self.broken(Break::NoIframes);
            if iframes && (other != own || !of_iframes) {
                let msn = window.next - 1;
                let _ = writeln!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{uri}/iframes.m3u8\",LAST-MSN={msn}");
            }
        }
    }

    pub fn iframes(&self, rendition: Rendition, extent: Extent) -> String {
        let window = self.window(rendition);
        let skipped = self.skipped(&window, extent);
        let version = if skipped > 0 { 9 } else { 5 };
        let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:1\n#EXT-X-I-FRAMES-ONLY\n");
        text.push_str(self.playlist_type());
        text.push_str(&self.control(rendition));
        self.numbers(&mut text, &window, skipped);
        for msn in window.first + skipped..window.next {
            self.tags(&mut text, rendition, msn, msn == window.first + skipped);
            if is_gap(msn) {
                text.push_str("#EXT-X-GAP\n");
            }
            let (duration, epoch) =
                (self.timeline.segment_duration(rendition, msn), self.timeline.epoch_name(rendition, msn));
            let length = self.timeline.iframe_length(rendition, msn);
            let _ = write!(text, "#EXTINF:{},\n#EXT-X-BYTERANGE:{length}@0\n{epoch}/{msn}.m4s\n", seconds(duration));
        }
        if window.ended {
            text.push_str("#EXT-X-ENDLIST\n");
        }
        self.reports(&mut text, rendition, true);
        text
    }

    /// A delta update; without a tag if that is the fault.
    pub fn delta(&self, rendition: Rendition, iframes: bool) -> String {
        let text = if iframes { self.iframes(rendition, Extent::Delta) } else { self.media(rendition, Extent::Delta) };
        if !self.broken(Break::DeltaLacksTag) || !text.contains("#EXT-X-SKIP") {
            return text;
        }
        let last = text.rfind("#EXT-X-PROGRAM-DATE-TIME").unwrap();
        let end = last + text[last..].find('\n').unwrap() + 1;
        format!("{}{}", &text[..last], &text[end..])
    }

    pub fn multivariant(&self) -> String {
        let mut text = String::from("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n");
        text.push_str(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"Sound\",LANGUAGE=\"und\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a0/index.m3u8\"\n",
        );
        for (rendition, size, (peak, average)) in
            [(Rendition::Low, "160x90", (400_000, 300_000)), (Rendition::High, "320x180", (900_000, 700_000))]
        {
            let name = rendition.name();
            let codec = self.codec(rendition);
            let sound = if self.broken(Break::CodecsIncomplete) { "" } else { ",mp4a.40.2" };
            let rate = if self.broken(Break::NoFrameRate) { "" } else { ",FRAME-RATE=25.000" };
            let divisor = if self.broken(Break::LowBandwidth) { 12 } else { 1 };
            let (peak, average) = (peak / divisor, average / divisor);
            let _ = write!(
                text,
                "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codec}{sound}\",RESOLUTION={size}{rate},AUDIO=\"sound\"\n{name}/index.m3u8\n"
            );
            if !self.broken(Break::NoIframes) {
                let _ = writeln!(
                    text,
                    "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average},CODECS=\"{codec}\",RESOLUTION={size},URI=\"{name}/iframes.m3u8\""
                );
            }
        }
        text
    }

    pub fn codec(&self, rendition: Rendition) -> String {
        let init = conformance::media::Init::read(&self.timeline.init(rendition, "0"));
        init.tracks.first().map(|track| track.codec.clone()).unwrap()
    }
}

/// Playlists without low latency, with subtitles and one encrypted variant.
impl View<'_> {
    pub fn plain_multivariant(&self) -> String {
        let with_subtitles = self.multivariant().replace("AUDIO=\"sound\"", "AUDIO=\"sound\",SUBTITLES=\"text\"");
        let media =
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"Text\",LANGUAGE=\"en\",URI=\"s0/index.m3u8\"\n";
        with_subtitles.replacen("#EXT-X-MEDIA", &format!("{media}#EXT-X-MEDIA"), 1)
    }

    pub fn plain_media(&self, rendition: Rendition, iframes: bool) -> String {
        let full = if iframes { self.iframes(rendition, Extent::Full) } else { self.media(rendition, Extent::Full) };
        let window = self.window(rendition);
        let mut text = String::new();
        let mut open = false;
        for line in full.lines() {
            let low_latency =
                ["#EXT-X-SERVER-CONTROL", "#EXT-X-PART", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT"];
            if low_latency.iter().any(|tag| line.starts_with(tag)) {
                continue;
            }
            // Drop the tags of the open segment, whose parts are not listed here.
            open |= line.ends_with(&date(self.timeline.date_ms(rendition, window.next)));
            if open {
                continue;
            }
            let keyed = rendition == Rendition::High && !iframes;
            let vanished = self.broken(Break::KeyVanishes) && self.now.as_millis() > 2_500;
            if keyed && !vanished && line.starts_with("#EXT-X-MAP") {
                text.push_str("#EXT-X-KEY:METHOD=AES-128,URI=\"key\",IV=0x00000000000000000000000000000001\n");
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    pub fn subtitles(&self) -> String {
        let window = self.window(Rendition::Low);
        let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n");
        text.push_str(self.playlist_type());
        self.numbers(&mut text, &window, 0);
        for msn in window.first..window.next {
            if msn > 0 && epoch(msn) != epoch(msn - 1) {
                text.push_str("#EXT-X-DISCONTINUITY\n");
            }
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(self.timeline.date_ms(Rendition::Low, msn)));
            let _ = write!(text, "#EXTINF:{},\n{msn}.vtt\n", seconds(Duration::from_secs(1)));
        }
        text
    }

    /// A playlist of transport streams with video and audio.
    pub fn transport(&self) -> String {
        let window = self.window(Rendition::Low);
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n",
            window.first
        );
        for msn in window.first..window.next {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(self.timeline.date_ms(Rendition::Low, msn)));
            let _ = write!(text, "#EXTINF:1.000000,\n{msn}.ts\n");
        }
        text
    }
}

const _: () = assert!(GAP > WRONG_FROM);
