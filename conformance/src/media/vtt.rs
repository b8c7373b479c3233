//! WebVTT segments (RFC 8216bis 3.1.4). Pure.

/// The header of a WebVTT segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vtt {
    /// Whether the header has an X-TIMESTAMP-MAP.
    pub timestamp_map: bool,
}

/// Whether the bytes start with the WebVTT header.
#[must_use]
pub fn looks_like(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).starts_with(b"WEBVTT")
}

impl Vtt {
    /// Reads the header, up to the first blank line.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        const HEADER_BYTES_MAX: usize = 4_096;
        let text = String::from_utf8_lossy(bytes.get(..HEADER_BYTES_MAX).unwrap_or(bytes)).into_owned();
        let mut header = text.lines().take_while(|line| !line.trim().is_empty());
        Self { timestamp_map: header.any(|line| line.starts_with("X-TIMESTAMP-MAP=")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_counts_only_in_the_header() {
        assert!(Vtt::read(b"WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n").timestamp_map);
        assert!(!Vtt::read(b"WEBVTT\n\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n").timestamp_map);
        assert!(!looks_like(b"#EXTM3U"));
    }
}
