//! Fragmented MP4: media initialization sections and segments (RFC 8216bis 3.1.2). Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::boxes::{Box, Fields, FourCc, walk};
use super::codec;
use super::nal::{self, Family};
use super::{digest, ticks};

/// Most samples that are read of one segment: more than an hour of audio has.
const SAMPLES_MAX: usize = 200_000;

/// A track as the media initialization section describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Track {
    /// track_ID.
    pub id: u32,
    /// `vide`, `soun`, …
    pub handler: FourCc,
    /// Ticks per second.
    pub timescale: u32,
    /// Format as in CODECS.
    pub codec: String,
    /// Picture size in pixels.
    pub size: Option<(u16, u16)>,
    /// Channels and samples per second.
    pub sound: Option<(u16, u32)>,
    /// Digest of the sample descriptions; it changes with their parameters.
    pub description: u64,
    nal_length: Option<usize>,
    default_duration: u32,
    default_size: u32,
    default_flags: u32,
}

impl Track {
    #[must_use]
    pub fn is_picture(&self) -> bool {
        &self.handler.0 == b"vide"
    }

    #[must_use]
    pub fn is_sound(&self) -> bool {
        &self.handler.0 == b"soun"
    }

    fn family(&self) -> Option<Family> {
        match self.codec.get(..4)? {
            "avc1" | "avc3" => Some(Family::Avc),
            "hvc1" | "hev1" => Some(Family::Hevc),
            _ => None,
        }
    }
}

/// A media initialization section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init {
    /// Tracks in order of appearance.
    pub tracks: Vec<Track>,
    /// Violations of 3.1.2.
    pub faults: Vec<String>,
    /// Digest of all bytes.
    pub digest: u64,
}

impl Init {
    /// Reads a media initialization section.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let (boxes, fault) = walk(bytes);
        let mut init = Self { digest: digest(bytes), faults: fault.into_iter().collect(), ..Self::default() };
        let position = |kind| boxes.iter().position(|found| found.is(kind));
        match (position(b"ftyp"), position(b"moov")) {
            (Some(ftyp), Some(moov)) => {
                let between: Vec<_> = boxes.iter().take(moov).skip(ftyp + 1).map(|b| b.kind.to_string()).collect();
                if ftyp > moov {
                    init.faults.push("moov stands before ftyp".to_owned());
                } else if between.iter().any(|kind| !matches!(kind.as_str(), "free" | "skip" | "uuid")) {
                    init.faults.push(format!("between ftyp and moov: {}", between.join(", ")));
                }
            }
            (ftyp, moov) => {
                let absent = [("ftyp", ftyp), ("moov", moov)].into_iter().filter(|(_, at)| at.is_none());
                init.faults.extend(absent.map(|(name, _)| format!("no {name}")));
            }
        }
        for found in &boxes {
            match &found.kind.0 {
                b"ftyp" => init.brands(found),
                b"moov" => init.movie(found),
                b"mdat" | b"moof" => init.faults.push(format!("{} in a media initialization section", found.kind)),
                _ => {}
            }
        }
        init
    }

    /// The track with this track_ID.
    #[must_use]
    pub fn track(&self, id: u32) -> Option<&Track> {
        self.tracks.iter().find(|track| track.id == id)
    }

    fn brands(&mut self, ftyp: &Box<'_>) {
        let mut fields = ftyp.fields();
        let mut brands: Vec<FourCc> = fields.four_cc().into_iter().collect();
        fields.u32();
        while let Some(brand) = fields.four_cc() {
            brands.push(brand);
        }
        let iso6 = |brand: &FourCc| match &brand.0 {
            [b'i', b's', b'o', version] => {
                (b'6'..=b'9').contains(version) || version.is_ascii_lowercase() && *version != b'm'
            }
            // CMAF brands (ISO/IEC 23000-19) imply iso6 or higher.
            [b'c', b'm', b'f', _] => true,
            _ => false,
        };
        if !brands.iter().any(iso6) {
            let names: Vec<_> = brands.iter().map(FourCc::to_string).collect();
            self.faults.push(format!("no brand iso6 or higher in ftyp: {}", names.join(" ")));
        }
    }

    fn movie(&mut self, moov: &Box<'_>) {
        let children = moov.children(0);
        if let Some(duration) = children.iter().find(|b| b.is(b"mvhd")).and_then(|b| duration(b, 0))
            && duration != 0
        {
            self.faults.push(format!("mvhd has a duration of {duration}"));
        }
        for trak in children.iter().filter(|b| b.is(b"trak")) {
            match self.track_box(trak) {
                Some(track) => self.tracks.push(track),
                None => self.faults.push("a trak that cannot be understood".to_owned()),
            }
        }
        if self.tracks.is_empty() {
            self.faults.push("no trak".to_owned());
        }
        let Some(mvex) = children.iter().find(|b| b.is(b"mvex")) else {
            self.faults.push("no mvex".to_owned());
            return;
        };
        for trex in mvex.children(0).iter().filter(|b| b.is(b"trex")) {
            self.defaults(trex);
        }
    }

    fn defaults(&mut self, trex: &Box<'_>) -> Option<()> {
        let mut fields = trex.fields();
        fields.u32()?;
        let id = fields.u32()?;
        fields.u32()?;
        let (duration, size, flags) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let track = self.tracks.iter_mut().find(|track| track.id == id)?;
        (track.default_duration, track.default_size, track.default_flags) = (duration, size, flags);
        Some(())
    }

    fn track_box(&mut self, trak: &Box<'_>) -> Option<Track> {
        let tkhd = trak.child(b"tkhd")?;
        let mut fields = tkhd.fields();
        let (version, _) = fields.version_flags()?;
        fields.take(if version == 1 { 16 } else { 8 })?;
        let id = fields.u32()?;
        if let Some(duration) = duration(&tkhd, 4)
            && duration != 0
        {
            self.faults.push(format!("tkhd of track {id} has a duration of {duration}"));
        }
        let mdia = trak.child(b"mdia")?;
        let mut fields = mdia.child(b"mdhd")?.fields();
        let (version, _) = fields.version_flags()?;
        fields.take(if version == 1 { 16 } else { 8 })?;
        let timescale = fields.u32()?;
        let handler = FourCc(mdia.child(b"hdlr")?.body.get(8..12)?.try_into().ok()?);
        let minf = mdia.child(b"minf")?;
        let table = minf.child(b"stbl")?;
        self.tables(id, &table);
        if let Some(dref) = minf.child(b"dinf").and_then(|dinf| dinf.child(b"dref")) {
            let external = |entry: &Box<'_>| entry.body.get(3).is_some_and(|flags| flags & 1 == 0);
            if dref.children(8).iter().any(external) {
                self.faults.push(format!("track {id} refers to data outside of the file"));
            }
        }
        let stsd = table.child(b"stsd")?;
        let entry = codec::entry(handler, stsd.children(8).first()?);
        Some(Track {
            id,
            handler,
            timescale,
            codec: entry.codec,
            size: entry.size,
            sound: entry.sound,
            description: digest(stsd.body),
            nal_length: entry.nal_length,
            ..Track::default()
        })
    }

    /// Checks that the sample tables are empty.
    fn tables(&mut self, id: u32, table: &Box<'_>) {
        for (kind, at) in [(b"stts", 4), (b"stsc", 4), (b"stsz", 8), (b"stco", 4)] {
            let count = table.child(kind).and_then(|found| Fields(found.body.get(at..)?).u32());
            if let Some(count @ 1..) = count {
                self.faults.push(format!("{} of track {id} has {count} entries", FourCc(*kind)));
            }
        }
    }
}

/// The duration field of mvhd (`skip` 0: after the timescale) or tkhd (`skip` 4: after track_ID and reserved).
fn duration(found: &Box<'_>, skip: usize) -> Option<u64> {
    let mut fields = found.fields();
    let (version, _) = fields.version_flags()?;
    fields.take(if version == 1 { 16 } else { 8 })?;
    fields.take(4 + skip)?;
    fields.by_version(version)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// In ticks.
    pub duration: u32,
    /// In bytes.
    pub size: u32,
    /// Presentation minus decode time, in ticks.
    pub offset: i32,
    /// Whether its flags mark it as a sync sample.
    pub sync: bool,
    /// Whether its NAL units hold an IDR picture; none when unknown.
    pub idr: Option<bool>,
    /// Digest of its bytes; 0 when they are missing, as an I-frame segment may omit them.
    pub digest: u64,
}

/// A track fragment (`traf`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// tfdt, in ticks; none when it is absent.
    pub decode_time: Option<u64>,
    /// Sum of its samples, in ticks.
    pub duration: u64,
}

/// The samples of one track in a segment or part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Run {
    pub fragments: Vec<Fragment>,
    pub samples: Vec<Sample>,
}

impl Run {
    /// Decode time of its first sample.
    #[must_use]
    pub fn start(&self) -> Option<u64> {
        self.fragments.first()?.decode_time
    }

    /// Decode time at the end of its last sample.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        let last = self.fragments.last()?;
        last.decode_time?.checked_add(last.duration)
    }

    /// Duration in ticks.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.fragments.iter().map(|fragment| fragment.duration).fold(0, u64::saturating_add)
    }
}

/// A segment or part: movie fragments with their media data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragments {
    /// Samples by track_ID.
    pub tracks: BTreeMap<u32, Run>,
    /// Violations of 3.1.2.
    pub faults: Vec<String>,
}

impl Fragments {
    /// Reads fragments. Defaults and formats come from the media initialization section, if it is given.
    #[must_use]
    pub fn read(bytes: &[u8], init: Option<&Init>) -> Self {
        let (boxes, fault) = walk(bytes);
        let mut read = Self { faults: fault.into_iter().collect(), ..Self::default() };
        for moof in boxes.iter().filter(|b| b.is(b"moof")) {
            for traf in moof.children(0).iter().filter(|b| b.is(b"traf")) {
                if read.fragment(bytes, moof, traf, init).is_none() {
                    read.faults.push(format!("the traf in the moof at byte {} cannot be understood", moof.start));
                }
            }
        }
        if read.tracks.is_empty() && read.faults.is_empty() {
            read.faults.push("no movie fragment".to_owned());
        }
        read
    }

    /// Duration of the video, or else of the longest track.
    #[must_use]
    pub fn duration(&self, init: &Init) -> Option<Duration> {
        let spans = self.tracks.iter().filter_map(|(id, run)| {
            let track = init.track(*id)?;
            Some((track.is_picture(), ticks(run.duration(), track.timescale)))
        });
        spans.max().map(|(_, span)| span)
    }

    /// The first video track, or else the first track.
    #[must_use]
    pub fn main<'a>(&'a self, init: &'a Init) -> Option<(&'a Track, &'a Run)> {
        let mut found = self.tracks.iter().filter_map(|(id, run)| Some((init.track(*id)?, run)));
        let first = found.next()?;
        if first.0.is_picture() {
            Some(first)
        } else {
            Some(found.find(|(track, _)| track.is_picture()).unwrap_or(first))
        }
    }

    fn fragment(&mut self, bytes: &[u8], moof: &Box<'_>, traf: &Box<'_>, init: Option<&Init>) -> Option<()> {
        let children = traf.children(0);
        let mut fields = children.iter().find(|b| b.is(b"tfhd"))?.fields();
        let (_, flags) = fields.version_flags()?;
        let id = fields.u32()?;
        let track = init.and_then(|init| init.track(id));
        if init.is_some() && track.is_none() {
            self.faults.push(format!("traf of track {id}, for which the moov has no trak"));
        }
        if flags & 1 != 0 {
            self.faults.push(format!("track {id} is addressed from the start of the file, not of the fragment"));
            fields.u64()?;
        }
        let mut given = |bit: u32| if flags & bit == 0 { Some(None) } else { fields.u32().map(Some) };
        given(0x02)?;
        let (duration, size, sample_flags) = (given(0x08)?, given(0x10)?, given(0x20)?);
        let defaults = Defaults {
            duration: duration.or(track.map(|track| track.default_duration)).unwrap_or(0),
            size: size.or(track.map(|track| track.default_size)).unwrap_or(0),
            flags: sample_flags.or(track.map(|track| track.default_flags)).unwrap_or(0),
        };
        let decode_time = children.iter().find(|b| b.is(b"tfdt")).and_then(|tfdt| {
            let mut fields = tfdt.fields();
            let (version, _) = fields.version_flags()?;
            fields.by_version(version)
        });
        if decode_time.is_none() {
            self.faults.push(format!("no tfdt in the traf of track {id}"));
        }
        let run = self.tracks.entry(id).or_default();
        let before = run.samples.len();
        let mut data = moof.start;
        for trun in children.iter().filter(|b| b.is(b"trun")) {
            trun_samples(bytes, moof.start, &mut data, trun, &defaults, track, &mut run.samples)?;
        }
        let duration = run.samples.iter().skip(before).map(|sample| u64::from(sample.duration)).sum();
        run.fragments.push(Fragment { decode_time, duration });
        Some(())
    }
}

/// Values for samples that state none themselves.
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

fn trun_samples(
    bytes: &[u8],
    base: usize,
    data: &mut usize,
    trun: &Box<'_>,
    defaults: &Defaults,
    track: Option<&Track>,
    samples: &mut Vec<Sample>,
) -> Option<()> {
    const NOT_SYNC: u32 = 0x0001_0000;
    let mut fields = trun.fields();
    let (_, flags) = fields.version_flags()?;
    let count = fields.u32()?;
    if flags & 0x01 != 0 {
        let offset = isize::try_from(fields.u32()?.cast_signed()).ok()?;
        *data = base.checked_add_signed(offset)?;
    }
    let mut first_flags = if flags & 0x04 == 0 { None } else { Some(fields.u32()?) };
    for _ in 0..count {
        if samples.len() >= SAMPLES_MAX {
            return None;
        }
        let mut given = |bit: u32| if flags & bit == 0 { Some(None) } else { fields.u32().map(Some) };
        let duration = given(0x100)?.unwrap_or(defaults.duration);
        let size = given(0x200)?.unwrap_or(defaults.size);
        let own_flags = given(0x400)?;
        let offset = given(0x800)?.map_or(0, u32::cast_signed);
        let flags = first_flags.take().or(own_flags).unwrap_or(defaults.flags);
        let end = data.checked_add(usize::try_from(size).ok()?)?;
        // An I-frame segment may omit what follows the I-frame (3.1.2), so bytes may be missing.
        let body = bytes.get(*data..end);
        let idr = track.and_then(|track| {
            let units = nal::with_lengths(body?, track.nal_length?);
            nal::idr(track.family()?, units)
        });
        let digest = body.map_or(0, digest);
        samples.push(Sample { duration, size, offset, sync: flags & NOT_SYNC == 0, idr, digest });
        *data = end;
    }
    Some(())
}
