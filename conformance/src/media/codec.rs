//! Reads sample entries, and names their formats as in CODECS (RFC 6381). Pure.

use super::boxes::{Box, Fields, FourCc};

/// What a sample entry states about its track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Format as in CODECS; only the four-character code if this module does not know its parameters.
    pub codec: String,
    /// Picture size in pixels.
    pub size: Option<(u16, u16)>,
    /// Channels and samples per second.
    pub sound: Option<(u16, u32)>,
    /// Size in bytes of a NAL unit's length field.
    pub nal_length: Option<usize>,
}

/// Reads a sample entry of a video (`vide`), audio (`soun`) or other track.
pub(super) fn entry(handler: FourCc, sample_entry: &Box<'_>) -> Entry {
    match &handler.0 {
        b"vide" => picture(sample_entry).unwrap_or_default(),
        b"soun" => sound(sample_entry).unwrap_or_default(),
        _ => Entry { codec: sample_entry.kind.to_string(), ..Entry::default() },
    }
}

fn picture(sample_entry: &Box<'_>) -> Option<Entry> {
    const OWN_FIELDS: usize = 78;
    let mut fields = sample_entry.fields();
    fields.take(24)?;
    let size = Some((fields.u16()?, fields.u16()?));
    let kind = sample_entry.kind;
    let mut entry = Entry { codec: kind.to_string(), size, ..Entry::default() };
    for child in sample_entry.children(OWN_FIELDS) {
        if child.is(b"avcC")
            && let Some([_, profile, constraints, level, lengths]) = child.body.get(..5)
        {
            entry.codec = format!("{kind}.{profile:02x}{constraints:02x}{level:02x}");
            entry.nal_length = Some(usize::from(lengths & 3) + 1);
        } else if child.is(b"hvcC") {
            entry.codec = hevc(kind, child.body).unwrap_or(entry.codec);
            entry.nal_length = child.body.get(21).map(|lengths| usize::from(lengths & 3) + 1);
        }
    }
    Some(entry)
}

/// CODECS string of HEVC (ISO/IEC 14496-15, annex E.3).
fn hevc(kind: FourCc, body: &[u8]) -> Option<String> {
    let mut fields = Fields(body);
    fields.u8()?;
    let profile = fields.u8()?;
    let compatibility = fields.u32()?.reverse_bits();
    let constraints = fields.take(6)?;
    let level = fields.u8()?;
    let space = ["", "A", "B", "C"].get(usize::from(profile >> 6)).copied().unwrap_or("");
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let mut text = format!("{kind}.{space}{}.{compatibility:X}.{tier}{level}", profile & 0x1f);
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        text.push_str(&format!(".{byte:X}"));
    }
    Some(text)
}

fn sound(sample_entry: &Box<'_>) -> Option<Entry> {
    const OWN_FIELDS: usize = 28;
    let mut fields = sample_entry.fields();
    fields.take(16)?;
    let channels = fields.u16()?;
    fields.take(6)?;
    let rate = fields.u32()? >> 16;
    let mut codec = sample_entry.kind.to_string();
    let child = sample_entry.children(OWN_FIELDS).into_iter().find(|child| child.is(b"esds"));
    if let Some((object, audio)) = child.and_then(|esds| esds_types(esds.body)) {
        codec = match (object, audio) {
            (0x40, Some(audio)) => format!("{codec}.{object:x}.{audio}"),
            _ => format!("{codec}.{object:x}"),
        };
    }
    Some(Entry { codec, sound: Some((channels, rate)), ..Entry::default() })
}

/// Object type indication of an `esds`, and the audio object type of its AudioSpecificConfig.
fn esds_types(body: &[u8]) -> Option<(u8, Option<u8>)> {
    let mut fields = Fields(body.get(4..)?);
    let (tag, _) = descriptor(&mut fields)?;
    if tag != 3 {
        return None;
    }
    fields.u16()?;
    let flags = fields.u8()?;
    if flags & 0x80 != 0 {
        fields.u16()?;
    }
    if flags & 0x40 != 0 {
        let length = fields.u8()?;
        fields.take(usize::from(length))?;
    }
    if flags & 0x20 != 0 {
        fields.u16()?;
    }
    if descriptor(&mut fields)?.0 != 4 {
        return None;
    }
    let object = fields.u8()?;
    fields.take(12)?;
    let audio = descriptor(&mut fields).filter(|(tag, _)| *tag == 5).and_then(|_| fields.u16()).map(|word| {
        let short = u8::try_from(word >> 11).unwrap_or(0);
        if short == 31 { 32 + u8::try_from((word >> 5) & 0x3f).unwrap_or(0) } else { short }
    });
    Some((object, audio))
}

/// Tag and length of an MPEG-4 descriptor.
fn descriptor(fields: &mut Fields<'_>) -> Option<(u8, u32)> {
    let tag = fields.u8()?;
    let mut length = 0;
    for _ in 0..4 {
        let byte = fields.u8()?;
        length = (length << 7) | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((tag, length))
}
