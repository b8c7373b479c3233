//! Faults that an origin can have. Each breaks one row.

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing.
    None,
    /// Row 1: a byte order mark in front.
    ByteOrderMark,
    /// Row 2: EXT-X-TARGETDURATION twice.
    TwoTargets,
    /// Row 2: a multivariant tag in a media playlist.
    MixedKinds,
    /// Row 3: an EXTINF that rounds to more than the target duration.
    LongExtinf,
    /// Row 4: EXTINF is 8 % off.
    InaccurateExtinf,
    /// Row 5: PART-TARGET grows during the run.
    PartTargetChanges,
    /// Row 6: the URI of a listed segment changes.
    UriChanges,
    /// Row 7: nothing new comes for three seconds.
    Stall,
    /// Row 8: five segments.
    ShortWindow,
    /// Row 9: objects that leave the playlist are gone.
    RemovedGone,
    /// Row 10: a discontinuity leaves the playlist uncounted.
    DiscontinuityNotCounted,
    /// Row 11: another resolution without a discontinuity.
    UnannouncedResolution,
    /// Row 12: EXT-X-PLAYLIST-TYPE:EVENT while segments leave.
    EventType,
    /// Row 13: dates of one variant are 0.3 s off.
    DatesDiffer,
    /// Row 14: a gap segment whose parts are not gaps.
    PartsOfGap,
    /// Row 15: segments are available only some time after they are listed.
    ListedTooEarly,
    /// Row 15: playlists are cut off now and then.
    CutOff,
    /// Row 16: segments of one variant begin without an IDR picture.
    NoIdr,
    /// Row 17: continuity counters start again in each segment.
    CountersRestart,
    /// Row 18: the movie header has a duration.
    MovieDuration,
    /// Row 19: decode times jump.
    DecodeTimeJumps,
    /// Row 20: a part lacks a sample.
    PartLacksSample,
    /// Row 21: two audio tracks.
    TwoSounds,
    /// Row 22: another HOLD-BACK in one rendition.
    ControlDiffers,
    /// Row 23: no FRAME-RATE.
    NoFrameRate,
    /// Row 24: CODECS without the audio format.
    CodecsIncomplete,
    /// Row 25: BANDWIDTH is a quarter of the real one.
    LowBandwidth,
    /// Row 26: no I-frame playlists.
    NoIframes,
    /// Row 27: parts below 85 % of the part target.
    ShortParts,
    /// Row 28: PART-HOLD-BACK below twice the part target.
    ShortHoldBack,
    /// Row 29: no hints.
    NoHints,
    /// Row 29: hints that do not come true.
    WrongHints,
    /// Row 30: half of a hinted part at once, the rest late.
    HintTrickles,
    /// Row 31: no rendition reports.
    NoReports,
    /// Row 31: rendition reports of two segments ago.
    StaleReports,
    /// Row 32: `_HLS_msn` does not wait.
    NoWait,
    /// Row 32: `_HLS_part` alone is answered.
    PartAlone,
    /// Row 32: directives are obeyed after the end.
    WaitsAfterEnd,
    /// Row 33: a delta update lacks a tag.
    DeltaLacksTag,
    /// Row 33: a delta update skips too much.
    DeltaSkipsTooMuch,
    /// Row 34: no gzip.
    NoGzip,
    /// Row 34: media is as urgent as playlists.
    UrgentMedia,
    /// Row 35: media is redirected.
    Redirects,
    /// Row 36: audio comes eight parts later.
    SoundLate,
    /// Row 38: decode times of one variant are three quarters of a frame before the presentation times.
    DecodedEarly,
    /// Rows 38 and 39: they are two and a half frames before them, as with reordered pictures.
    DecodedMuchEarlier,
    /// Row 39: the last frames of segments of one variant are shown early, which leaves a gap.
    ShownEarly,
    /// Row 37: the key of listed segments vanishes.
    KeyVanishes,
    /// Row 37: subtitles without X-TIMESTAMP-MAP.
    NoTimestampMap,
}
