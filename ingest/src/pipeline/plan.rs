//! The ladder's plan: which rungs for which source on which machine. Pure.

use media::{BitsPerSecond, RenditionId};
use rtmp::flv::VideoCodec;

use super::{Config, Error, PassThrough, Preset};

/// Short sides that the default ladder picks from, in pixels.
const DEFAULT_SHORT_SIDES: [u32; 4] = [1_080, 720, 480, 360];

/// The next rung down has at most this much of the short side of the one above, in percent: closer rungs are not worth their CPU.
const RUNG_STEP_PERCENT_MAX: u32 = 85;

/// Smallest and largest accepted side of a source, in pixels (x264's and H.264 level 6.2's own limits are near).
const SIDE_MIN: u32 = 32;
const SIDE_MAX: u32 = 8_192;

/// Sources faster than this (in frames per 1000 s) have their smaller rungs at half the rate: 60 fps is worth its bits on large
/// pictures only.
const FRAME_RATE_HALVED_ABOVE_MILLIHERTZ: u32 = 40_000;

/// Rungs with a short side below this are the smaller ones, in pixels.
const SHORT_SIDE_HALVED_BELOW: u32 = 720;

/// Assumed when the source does not tell its frame rate.
const FRAME_RATE_ASSUMED_MILLIHERTZ: u32 = 30_000;

/// Cost of x264 `veryfast`, of decoding and of scaling, in CPU microseconds per million pixels. A 4-rung 1080p30 ladder (109
/// million pixels encoded a second) comes to 2.0 CPU seconds a second.
const ENCODE_MICROS_PER_MEGAPIXEL: u64 = 15_500;
const DECODE_MICROS_PER_MEGAPIXEL: u64 = 3_000;
const SCALE_MICROS_PER_MEGAPIXEL: u64 = 1_300;

/// Cost of decoding relative to H.264, in percent. Measured with FFmpeg's decoders and the same 720p and 1080p pictures of 3 and 6 Mbit/s,
/// on one thread of an x86-64 processor: HEVC 147 and 152, AV1 (dav1d) 83 and 90. The rest of AV1's share is for film grain, which
/// those pictures did not have.
const DECODE_PERCENT_HEVC: u64 = 150;
const DECODE_PERCENT_AV1: u64 = 100;

/// Work that one thread is given, in CPU microseconds per second.
const THREAD_MICROS: u64 = 500_000;

/// Threads of one decoder or encoder at most. The ladder is parallel by itself.
const THREADS_MAX: usize = 4;

/// Mean bit rate of a 1920x1080 rung at 30 frames a second; other sizes follow with the power 3/4 of their pixels.
const BITS_PER_SECOND_1080P30: f64 = 4_500_000.0;

/// Lowest bit rate of a rung, unless it is configured.
const BITS_PER_SECOND_MIN: u64 = 150_000;

/// What is known of the source when the ladder is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceFormat {
    pub codec: VideoCodec,
    /// Width in pixels, after cropping.
    pub width: u32,
    /// Height in pixels, after cropping.
    pub height: u32,
    /// Frames per 1000 seconds; 0 when not known.
    pub frame_rate_millihertz: u32,
    /// Measured bit rate; 0 when not known. A rung without a configured bit rate gets no more.
    pub bit_rate: BitsPerSecond,
    /// Whether codec, profile and keyframe interval allow passing it through.
    pub pass_through: bool,
}

/// How a rung is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RungKind {
    /// The source's own samples.
    PassThrough,
    /// Scaled from the nearest larger rung, or the source, and encoded.
    Encode,
}

/// Frames of the source that a rung takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    Every,
    /// Every second one, and those with an IDR.
    Half,
}

/// A rung: an encoder target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Name of its rendition: short side and `p`.
    pub rendition: RenditionId,
    /// Width in pixels; even when encoded.
    pub width: u32,
    /// Height in pixels; even when encoded.
    pub height: u32,
    pub kind: RungKind,
    pub cadence: Cadence,
    /// Frames per 1000 seconds; 0 when not known.
    pub frame_rate_millihertz: u32,
    /// Target of the mean bit rate.
    pub bit_rate: BitsPerSecond,
}

impl Rung {
    /// Most bits a second that the encoder may spend (VBV maxrate): 110 % of the mean.
    pub fn max_rate(&self) -> BitsPerSecond {
        BitsPerSecond(self.bit_rate.0.saturating_mul(11) / 10)
    }

    /// VBV buffer in bits: one second at the mean rate, so that a 4 s segment has at most 135 % of the mean.
    pub fn buffer_bits(&self) -> u64 {
        self.bit_rate.0
    }

    /// BANDWIDTH until segments were measured: 120 % of the mean. A 4 s segment stays below 125 % of it with boxes included.
    pub fn bandwidth_peak(&self) -> BitsPerSecond {
        BitsPerSecond(self.bit_rate.0.saturating_mul(12) / 10)
    }

    /// Pixels encoded per second, to which the cost is proportional.
    pub fn pixel_rate(&self) -> u64 {
        match self.kind {
            RungKind::PassThrough => 0,
            RungKind::Encode => pixel_rate(self.width, self.height, self.frame_rate_millihertz),
        }
    }
}

/// A ladder, from the largest rung down; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    pub rungs: Vec<Rung>,
    /// What it costs, in CPU milliseconds per second of video.
    pub cost_millis: u64,
}

/// Plans the ladder. `cores` is what [`Config::cores_found`] returns. It matters for the default ladder only: a configured one is taken
/// as it is, without the rungs above the source.
///
/// The default ladder holds the largest rung that fits the budget together with the smallest, then as many as fit, larger
/// first. There is always one rung, whatever the machine: the smallest, or a source that is passed through alone.
///
/// Errors with [`Error::NoRung`] when the source is smaller than 32 or larger than 8192 pixels on a side.
pub fn plan(source: SourceFormat, cores: usize, config: &Config) -> Result<Ladder, Error> {
    let SourceFormat { width, height, .. } = source;
    let no_rung = Error::NoRung { width, height };
    if width.min(height) < SIDE_MIN || width.max(height) > SIDE_MAX {
        return Err(no_rung);
    }
    let pass_through = source.pass_through && config.pass_through == PassThrough::Auto;
    let candidates = candidates(source, pass_through, config);
    let rungs = if config.rungs.is_none() {
        let cores = u64::try_from(cores.max(1)).unwrap_or(1);
        let budget_micros = cores * 1_000_000 * u64::from(config.cpu_share_percent) / 100;
        fit(source, candidates, budget_micros, config.preset)
    } else {
        candidates
    };
    if rungs.is_empty() {
        return Err(no_rung);
    }
    let cost_millis = cost_micros(source, &rungs, config.preset) / 1_000;
    Ok(Ladder { rungs, cost_millis })
}

/// All possible rungs, from the largest down, no name twice.
fn candidates(source: SourceFormat, pass_through: bool, config: &Config) -> Vec<Rung> {
    let source_short = source.width.min(source.height);
    let mut rungs = Vec::new();
    if pass_through {
        rungs.extend(source_rung(source));
    }
    let wanted: Vec<(u32, Option<u32>)> = if let Some(rungs) = &config.rungs {
        let mut sides: Vec<_> = rungs.iter().map(|rung| (rung.short_side, rung.kbit_per_second)).collect();
        sides.sort_unstable_by(|left, right| right.cmp(left));
        sides
    } else {
        // The source's own size is the top, unless it is above what the default ladder encodes.
        let top = (source_short & !1).min(DEFAULT_SHORT_SIDES[0]);
        std::iter::once(top).chain(DEFAULT_SHORT_SIDES).map(|side| (side, None)).collect()
    };
    for (short_side, kbit) in wanted {
        let above = rungs.last().map(|rung: &Rung| rung.width.min(rung.height));
        let far_enough = match above {
            None => true,
            Some(above) if config.rungs.is_none() => short_side * 100 <= above * RUNG_STEP_PERCENT_MAX,
            Some(above) => short_side < above,
        };
        if short_side <= source_short && far_enough {
            rungs.extend(encoded_rung(source, short_side, kbit));
        }
    }
    // If all configured rungs are above the source, it is encoded in its own size.
    if rungs.is_empty() {
        rungs.extend(encoded_rung(source, source_short, None));
    }
    rungs
}

fn source_rung(source: SourceFormat) -> Option<Rung> {
    Some(Rung {
        rendition: rendition(source.width.min(source.height))?,
        width: source.width,
        height: source.height,
        kind: RungKind::PassThrough,
        cadence: Cadence::Every,
        frame_rate_millihertz: source.frame_rate_millihertz,
        bit_rate: source.bit_rate,
    })
}

fn encoded_rung(source: SourceFormat, short_side: u32, kbit: Option<u32>) -> Option<Rung> {
    let short_side = short_side & !1;
    let (source_short, source_long) = (source.width.min(source.height), source.width.max(source.height));
    let long_side = even_nearest(u64::from(source_long) * u64::from(short_side), u64::from(source_short))?;
    // Rounding up to even must not upscale.
    let long_side = long_side.min(source_long & !1);
    let (width, height) = if source.width >= source.height { (long_side, short_side) } else { (short_side, long_side) };
    let fast = source.frame_rate_millihertz > FRAME_RATE_HALVED_ABOVE_MILLIHERTZ;
    let cadence = if fast && short_side < SHORT_SIDE_HALVED_BELOW { Cadence::Half } else { Cadence::Every };
    let frame_rate_millihertz = match cadence {
        Cadence::Every => source.frame_rate_millihertz,
        Cadence::Half => source.frame_rate_millihertz / 2,
    };
    let bits = match kbit {
        Some(kbit) => u64::from(kbit) * 1_000,
        None => {
            let bits = default_bits(width, height, frame_rate_millihertz);
            if source.bit_rate.0 > 0 { bits.min(source.bit_rate.0.max(BITS_PER_SECOND_MIN)) } else { bits }
        }
    };
    Some(Rung {
        rendition: rendition(short_side)?,
        width,
        height,
        kind: RungKind::Encode,
        cadence,
        frame_rate_millihertz,
        bit_rate: BitsPerSecond(bits),
    })
}

fn rendition(short_side: u32) -> Option<RenditionId> {
    RenditionId::new(&format!("{short_side}p")).ok()
}

/// `numerator / denominator`, rounded to the nearest even number.
fn even_nearest(numerator: u64, denominator: u64) -> Option<u32> {
    let half = (numerator + denominator).checked_div(2 * denominator)?;
    u32::try_from(half * 2).ok()
}

// The float is a rule of thumb on positive numbers below 2^40, far from any limit.
fn default_bits(width: u32, height: u32, frame_rate_millihertz: u32) -> u64 {
    let pixels = f64::from(width) * f64::from(height) / (1_920.0 * 1_080.0);
    // Twice the frames need about 1.4 times the bits.
    let rate = (f64::from(or_assumed(frame_rate_millihertz)) / 30_000.0).sqrt();
    let bits = BITS_PER_SECOND_1080P30 * pixels.sqrt() * pixels.sqrt().sqrt() * rate;
    ((bits / 1_000.0).round() as u64 * 1_000).max(BITS_PER_SECOND_MIN)
}

const fn or_assumed(frame_rate_millihertz: u32) -> u32 {
    if frame_rate_millihertz == 0 { FRAME_RATE_ASSUMED_MILLIHERTZ } else { frame_rate_millihertz }
}

fn pixel_rate(width: u32, height: u32, frame_rate_millihertz: u32) -> u64 {
    u64::from(width) * u64::from(height) * u64::from(or_assumed(frame_rate_millihertz)) / 1_000
}

/// CPU microseconds per second of video.
fn cost_micros(source: SourceFormat, rungs: &[Rung], preset: Preset) -> u64 {
    let encoded: u64 = rungs.iter().map(Rung::pixel_rate).sum();
    if encoded == 0 {
        return 0;
    }
    encode_micros(encoded, preset) + encoded * SCALE_MICROS_PER_MEGAPIXEL / 1_000_000 + decode_micros(source)
}

/// CPU microseconds per second that encoding `pixel_rate` takes.
pub(super) const fn encode_micros(pixel_rate: u64, preset: Preset) -> u64 {
    // Relative to veryfast, in percent.
    let effort = match preset {
        Preset::Ultrafast => 40,
        Preset::Superfast => 65,
        Preset::Veryfast => 100,
        Preset::Faster => 160,
        Preset::Fast => 230,
        Preset::Medium => 300,
    };
    pixel_rate * (ENCODE_MICROS_PER_MEGAPIXEL * effort / 100) / 1_000_000
}

/// CPU microseconds per second that decoding the source takes.
pub(super) fn decode_micros(source: SourceFormat) -> u64 {
    let decoded = pixel_rate(source.width, source.height, source.frame_rate_millihertz);
    let percent = match source.codec {
        VideoCodec::Avc => 100,
        VideoCodec::Hevc => DECODE_PERCENT_HEVC,
        VideoCodec::Av1 => DECODE_PERCENT_AV1,
    };
    decoded * (DECODE_MICROS_PER_MEGAPIXEL * percent / 100) / 1_000_000
}

/// Threads for work of `micros` CPU microseconds per second. Each is at most half busy, to leave room for machines that are slower than
/// the cost model's and for heavier scenes. No more than needed, because each further thread is a frame of delay.
pub(super) fn threads(micros: u64, cores: usize) -> usize {
    let wanted = usize::try_from(micros.div_ceil(THREAD_MICROS)).unwrap_or(THREADS_MAX);
    wanted.clamp(1, cores.clamp(1, THREADS_MAX))
}

fn fit(source: SourceFormat, candidates: Vec<Rung>, budget_micros: u64, preset: Preset) -> Vec<Rung> {
    let fits = |rungs: &[Rung]| cost_micros(source, rungs, preset) <= budget_micros;
    let Some(smallest) = candidates.last().cloned() else { return candidates };
    let mut chosen = vec![smallest.clone()];
    for rung in &candidates {
        if *rung == smallest {
            continue;
        }
        let mut with = chosen.clone();
        with.insert(with.len() - 1, rung.clone());
        if rung.kind == RungKind::PassThrough || fits(&with) {
            chosen = with;
        }
    }
    // A source passed through costs nothing by itself; decoding it for one small rung may already be too much.
    if chosen.len() > 1 && !fits(&chosen) {
        chosen.retain(|rung| rung.kind == RungKind::PassThrough);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(width: u32, height: u32, frame_rate_millihertz: u32, pass_through: bool) -> SourceFormat {
        let (codec, bit_rate) = (VideoCodec::Avc, BitsPerSecond(0));
        SourceFormat { codec, width, height, frame_rate_millihertz, bit_rate, pass_through }
    }

    fn names(ladder: &Ladder) -> Vec<String> {
        ladder.rungs.iter().map(|rung| rung.rendition.to_string()).collect()
    }

    fn config() -> Config {
        Config::default()
    }

    #[test]
    fn four_rungs_of_1080p30_cost_two_cpu_seconds_a_second() {
        let all = plan(source(1_920, 1_080, 30_000, false), 16, &config()).unwrap();
        assert_eq!(names(&all), ["1080p", "720p", "480p", "360p"]);
        assert!((1_900..=2_100).contains(&all.cost_millis), "{}", all.cost_millis);
        let passed = plan(source(1_920, 1_080, 30_000, true), 16, &config()).unwrap();
        assert!(passed.cost_millis * 10 <= all.cost_millis * 6, "{}", passed.cost_millis);
    }

    #[test]
    fn more_threads_only_where_one_does_not_do() {
        let of = |width, height, rate| encode_micros(pixel_rate(width, height, rate), Preset::Veryfast);
        assert_eq!(threads(of(1_280, 720, 30_000), 16), 1);
        assert_eq!(threads(of(1_920, 1_080, 30_000), 16), 2);
        assert_eq!(threads(of(3_840, 2_160, 60_000), 16), 4);
        assert_eq!(threads(of(3_840, 2_160, 60_000), 1), 1);
        assert_eq!(threads(decode_micros(source(1_920, 1_080, 60_000, true)), 16), 1);
        assert_eq!(threads(0, 0), 1);
    }

    #[test]
    fn default_ladder_fits_the_cores() {
        let hd = |cores, pass| names(&plan(source(1_920, 1_080, 30_000, pass), cores, &config()).unwrap());
        assert_eq!(hd(2, true), ["1080p", "720p", "360p"]);
        assert_eq!(hd(4, true), ["1080p", "720p", "480p", "360p"]);
        assert_eq!(hd(2, false), ["720p", "360p"]);
        assert_eq!(hd(1, false), ["360p"]);
        for cores in 2..=32 {
            for pass in [true, false] {
                let ladder = plan(source(1_920, 1_080, 30_000, pass), cores, &config()).unwrap();
                assert!(ladder.cost_millis <= u64::try_from(cores).unwrap() * 400, "{cores} {ladder:?}");
            }
        }
    }

    #[test]
    fn hevc_is_planned_at_what_its_decoder_takes() {
        let of = |codec, width, height, cores| {
            plan(SourceFormat { codec, ..source(width, height, 30_000, false) }, cores, &config()).unwrap()
        };
        let costs = |codec| of(codec, 1_920, 1_080, 16).cost_millis;
        // 62 million pixels a second, at 3 and at 4.5 us each thousand.
        assert!((92..=95).contains(&(costs(VideoCodec::Hevc) - costs(VideoCodec::Avc))));
        assert_eq!(costs(VideoCodec::Av1), costs(VideoCodec::Avc));
        let decoding = |codec| decode_micros(SourceFormat { codec, ..source(3_840, 2_160, 30_000, false) });
        assert_eq!((threads(decoding(VideoCodec::Avc), 16), threads(decoding(VideoCodec::Hevc), 16)), (2, 3));
        let rungs = |codec| of(codec, 1_920, 1_080, 4).rungs.len();
        assert_eq!((rungs(VideoCodec::Avc), rungs(VideoCodec::Hevc)), (3, 2), "H.264 just fits");
    }

    #[test]
    fn source_is_passed_through_alone_when_decoding_it_is_too_much() {
        let uhd = plan(source(3_840, 2_160, 60_000, true), 1, &config()).unwrap();
        assert_eq!(names(&uhd), ["2160p"]);
        assert_eq!(uhd.cost_millis, 0);
        let encoded = plan(source(3_840, 2_160, 60_000, false), 1, &config()).unwrap();
        assert_eq!(names(&encoded), ["360p"], "there is always one rung");
    }

    #[test]
    fn nothing_is_upscaled_and_sides_are_even() {
        for (width, height) in
            [(64, 36), (640, 360), (853, 480), (1_919, 1_079), (1_280, 720), (607, 1_080), (33, 4_001), (2_560, 1_080)]
        {
            for pass in [true, false] {
                let ladder = plan(source(width, height, 29_970, pass), 64, &config()).unwrap();
                for rung in &ladder.rungs {
                    assert!(rung.width <= width && rung.height <= height, "{rung:?} of {width}x{height}");
                    let even = rung.width % 2 == 0 && rung.height % 2 == 0;
                    assert!(even || rung.kind == RungKind::PassThrough, "{rung:?}");
                    // Kept to within the rounding to even.
                    let skew = u64::from(rung.width) * u64::from(height);
                    let straight = u64::from(width) * u64::from(rung.height);
                    let tolerance = 2 * u64::from(width.max(height));
                    assert!(skew.abs_diff(straight) <= tolerance, "{rung:?} of {width}x{height}");
                }
            }
        }
    }

    #[test]
    fn portrait_is_named_by_its_short_side() {
        let ladder = plan(source(1_080, 1_920, 30_000, false), 16, &config()).unwrap();
        assert_eq!(names(&ladder), ["1080p", "720p", "480p", "360p"]);
        assert_eq!((ladder.rungs[1].width, ladder.rungs[1].height), (720, 1_280));
    }

    #[test]
    fn small_rungs_of_60_fps_have_half_the_frames() {
        let ladder = plan(source(1_920, 1_080, 59_940, true), 64, &config()).unwrap();
        let rates: Vec<_> = ladder.rungs.iter().map(|rung| rung.frame_rate_millihertz).collect();
        assert_eq!(rates, [59_940, 59_940, 29_970, 29_970]);
    }

    #[test]
    fn configured_ladder_is_taken_without_what_is_above_the_source() {
        let rung = |short_side, kbit_per_second| super::super::RungConfig { short_side, kbit_per_second };
        let rungs = vec![rung(360, Some(600)), rung(1_080, None), rung(720, Some(3_000)), rung(2_160, None)];
        let config = Config { rungs: Some(rungs), ..config() };
        let ladder = plan(source(1_920, 1_080, 30_000, false), 1, &config).unwrap();
        assert_eq!(names(&ladder), ["1080p", "720p", "360p"]);
        assert_eq!(ladder.rungs[1].bit_rate, BitsPerSecond(3_000_000));
        let above = Config { rungs: Some(vec![rung(2_160, None)]), ..Config::default() };
        assert_eq!(names(&plan(source(640, 360, 30_000, false), 1, &above).unwrap()), ["360p"]);
    }

    #[test]
    fn no_rung_has_more_bits_than_the_source() {
        let poor = SourceFormat { bit_rate: BitsPerSecond(800_000), ..source(1_280, 720, 30_000, false) };
        let ladder = plan(poor, 16, &config()).unwrap();
        assert!(ladder.rungs.iter().all(|rung| rung.bit_rate.0 <= 800_000));
    }

    #[test]
    fn peak_stays_below_125_percent_of_bandwidth() {
        let ladder = plan(source(1_920, 1_080, 30_000, false), 16, &config()).unwrap();
        for rung in ladder.rungs {
            let segment_bits = rung.max_rate().0 * 4 + rung.buffer_bits();
            assert!(segment_bits * 100 < rung.bandwidth_peak().0 * 4 * 125 * 98 / 100, "{rung:?}");
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for (width, height) in [(0, 0), (16, 16), (1_920, 0), (8_194, 4_320)] {
            assert!(plan(source(width, height, 30_000, true), 8, &config()).is_err(), "{width}x{height}");
        }
    }
}
