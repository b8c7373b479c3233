//! Metadata with arbitrary content.

use super::{Case, LENGTH_MS, MIDDLE_MS, Studio};
use crate::rtmp::amf::Value;
use crate::rtmp::judge::Outcome;
use crate::rtmp::script::{Options, Script, normal_metadata, number};
use crate::rtmp::take::Take;

pub(super) const CASES: [Case; 10] = [
    Case::new("amf", "amf-strict-array", "metadata with strict arrays, dates and long strings", |studio| {
        let keyframes = Value::object([
            ("times", Value::StrictArray(vec![number(0), number(1)])),
            ("filepositions", Value::StrictArray(vec![Value::Null, Value::Undefined])),
        ]);
        let more = [
            ("keyframes", keyframes),
            ("creationdate", Value::Date(1.7e12)),
            ("comment", Value::Text("x".repeat(66_000))),
        ];
        with(studio, &[(0, changed(&more))])
    }),
    Case::new("amf", "amf-no-metadata", "no metadata", |studio| with(studio, &[])),
    Case::new("amf", "amf-late-metadata", "metadata after four seconds", |studio| {
        with(studio, &[(MIDDLE_MS, normal_metadata())])
    }),
    Case::new("amf", "amf-repeated-metadata", "metadata each second", |studio| {
        let times: Vec<_> = (0..8).map(|second| (second * 1_000, normal_metadata())).collect();
        with(studio, &times)
    }),
    Case::new("amf", "amf-codec-ids-0", "codec ids 0", |studio| {
        with(studio, &[(0, changed(&[("videocodecid", number(0)), ("audiocodecid", number(0))]))])
    }),
    Case::new("amf", "amf-codec-ids-text", "codec ids hvc1 and mp4a in letters", |studio| {
        with(studio, &[(0, changed(&[("videocodecid", Value::text("hvc1")), ("audiocodecid", Value::text("mp4a"))]))])
    }),
    Case::new("amf", "amf-codec-ids-four-cc", "codec id av01 as a number, as XSplit sends it", |studio| {
        with(studio, &[(0, changed(&[("videocodecid", number(u32::from_be_bytes(*b"av01")))]))])
    }),
    Case::new("amf", "amf-no-frame-rate", "0 frames a second", |studio| {
        with(studio, &[(0, changed(&[("framerate", number(0))]))])
    }),
    Case::new(
        "amf",
        "amf-contradicts-parameter-sets",
        "metadata of another size, rate and number of channels",
        |studio| {
            let other = [
                ("width", number(1_920)),
                ("height", Value::Number(-1.0)),
                ("framerate", Value::Number(f64::NAN)),
                ("audiosamplerate", number(8_000)),
                ("stereo", Value::Boolean(false)),
            ];
            with(studio, &[(0, changed(&other))])
        },
    ),
    Case::new("amf", "amf-nested", "metadata of arrays in arrays, 100,000 deep", |studio| {
        let bomb = [&[0x02, 0, 10][..], b"onMetaData", &[0x0A, 0, 0, 0, 1].repeat(100_000)].concat();
        let take = Take::one(MIDDLE_MS, crate::rtmp::chunk::kind::DATA, bomb.into());
        studio.script(Options::default(), studio.both(LENGTH_MS)?.and(take))
    })
    .expecting(Outcome::Survives),
];

/// The normal take with only this metadata, each at its time in milliseconds.
fn with(studio: &Studio<'_>, metadata: &[(i64, Value)]) -> anyhow::Result<Script> {
    let said = metadata.iter().fold(Take::default(), |said, (at_ms, values)| said.and(Take::metadata(*at_ms, values)));
    studio.script(Options { metadata: false, ..Options::default() }, said.and(studio.both(LENGTH_MS)?))
}

/// Normal metadata with changed or additional values.
fn changed(values: &[(&str, Value)]) -> Value {
    let Value::EcmaArray(mut properties) = normal_metadata() else { return Value::Null };
    properties.retain(|(name, _)| values.iter().all(|(changed, _)| changed != name));
    properties.extend(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    Value::EcmaArray(properties)
}
