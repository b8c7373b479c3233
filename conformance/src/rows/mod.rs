//! The rows: what is checked, one pure function per row, in the order of their numbers.
//!
//! Sections: `D` is draft-pantos-hls-rfc8216bis-22, `A` is Apple's HLS authoring specification, `C` is CMAF (ISO/IEC 23000-19). Pure.

mod common;
mod joins;
mod r01_text;
mod r02_tags;
mod r03_target_duration;
mod r04_durations_add_up;
mod r05_constants;
mod r06_append_only;
mod r07_on_time;
mod r08_window;
mod r09_removed_still_there;
mod r10_discontinuity_sequence;
mod r11_discontinuity;
mod r12_playlist_type;
mod r13_program_date_time;
mod r14_gap;
mod r15_full_speed;
mod r16_idr;
mod r17_transport_stream;
mod r18_fmp4;
mod r19_continuous;
mod r20_parts_are_parents;
mod r21_formats;
mod r22_variants_match;
mod r23_multivariant_attributes;
mod r24_codecs;
mod r25_bandwidth;
mod r26_iframes;
mod r27_part_durations;
mod r28_hold_back;
mod r29_preload_hint;
mod r30_hinted_request;
mod r31_rendition_report;
mod r32_blocking_reload;
mod r33_delta_update;
mod r34_delivery;
mod r35_media_types;
mod r36_in_sync;
mod r37_keys_and_subtitles;
mod r38_same_times;
mod r39_joins_on;

use crate::verdict::Row;

/// All rows, in the order of their numbers.
pub const ROWS: [Row; 39] = [
    r01_text::ROW,
    r02_tags::ROW,
    r03_target_duration::ROW,
    r04_durations_add_up::ROW,
    r05_constants::ROW,
    r06_append_only::ROW,
    r07_on_time::ROW,
    r08_window::ROW,
    r09_removed_still_there::ROW,
    r10_discontinuity_sequence::ROW,
    r11_discontinuity::ROW,
    r12_playlist_type::ROW,
    r13_program_date_time::ROW,
    r14_gap::ROW,
    r15_full_speed::ROW,
    r16_idr::ROW,
    r17_transport_stream::ROW,
    r18_fmp4::ROW,
    r19_continuous::ROW,
    r20_parts_are_parents::ROW,
    r21_formats::ROW,
    r22_variants_match::ROW,
    r23_multivariant_attributes::ROW,
    r24_codecs::ROW,
    r25_bandwidth::ROW,
    r26_iframes::ROW,
    r27_part_durations::ROW,
    r28_hold_back::ROW,
    r29_preload_hint::ROW,
    r30_hinted_request::ROW,
    r31_rendition_report::ROW,
    r32_blocking_reload::ROW,
    r33_delta_update::ROW,
    r34_delivery::ROW,
    r35_media_types::ROW,
    r36_in_sync::ROW,
    r37_keys_and_subtitles::ROW,
    r38_same_times::ROW,
    r39_joins_on::ROW,
];

#[cfg(test)]
mod tests;
