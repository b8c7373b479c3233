//! Multivariant playlists. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::tags::{Class, class, once};
use super::text::{FAULTS_MAX, Fault, Kind, Text};
use super::{Attributes, decimal};

/// `EXT-X-STREAM-INF` with its URI line, or `EXT-X-I-FRAME-STREAM-INF`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Line of the tag.
    pub line: usize,
    pub attributes: Attributes,
    /// As written.
    pub uri: String,
    /// Whether the tag is EXT-X-I-FRAME-STREAM-INF.
    pub iframes: bool,
}

impl Variant {
    /// BANDWIDTH in bits per second.
    #[must_use]
    pub fn bandwidth(&self) -> Option<u64> {
        self.attributes.integer("BANDWIDTH")
    }

    /// AVERAGE-BANDWIDTH in bits per second.
    #[must_use]
    pub fn average_bandwidth(&self) -> Option<u64> {
        self.attributes.integer("AVERAGE-BANDWIDTH")
    }

    /// The formats of CODECS.
    pub fn codecs(&self) -> impl Iterator<Item = &str> {
        self.attributes.quoted("CODECS").into_iter().flat_map(|codecs| codecs.split(',').map(str::trim))
    }

    /// Whether it has video: RESOLUTION is present, or CODECS names a video format.
    #[must_use]
    pub fn has_picture(&self) -> bool {
        const PICTURE: [&str; 10] = ["avc1", "avc3", "hvc1", "hev1", "dvh1", "dvhe", "av01", "vp08", "vp09", "mjpg"];
        self.attributes.get("RESOLUTION").is_some()
            || self.codecs().any(|codec| PICTURE.iter().any(|picture| codec.starts_with(picture)))
    }

    /// RESOLUTION: width and height.
    #[must_use]
    pub fn resolution(&self) -> Option<(u64, u64)> {
        let (width, height) = self.attributes.text("RESOLUTION")?.split_once('x')?;
        Some((decimal::integer(width)?, decimal::integer(height)?))
    }

    /// FRAME-RATE in thousandths of a frame per second.
    #[must_use]
    pub fn frame_rate_thousandths(&self) -> Option<u64> {
        decimal::thousandths(self.attributes.text("FRAME-RATE")?)
    }
}

/// `EXT-X-MEDIA`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// Line of the tag.
    pub line: usize,
    pub attributes: Attributes,
}

impl Rendition {
    /// TYPE; empty when absent.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.attributes.text("TYPE").unwrap_or("")
    }

    /// GROUP-ID; empty when absent or unquoted.
    #[must_use]
    pub fn group(&self) -> &str {
        self.attributes.quoted("GROUP-ID").unwrap_or("")
    }

    /// URI, if it has a playlist of its own.
    #[must_use]
    pub fn uri(&self) -> Option<&str> {
        self.attributes.quoted("URI")
    }
}

/// A multivariant playlist, as far as it could be parsed.
#[derive(Debug, Clone, Default)]
pub struct Multivariant {
    /// The text it was read from.
    pub text: Arc<Text>,
    /// EXT-X-VERSION.
    pub version: Option<u64>,
    /// EXT-X-INDEPENDENT-SEGMENTS.
    pub independent_segments: bool,
    /// Variant streams, with I-frame variant streams, in order.
    pub variants: Vec<Variant>,
    /// EXT-X-MEDIA tags, in order.
    pub renditions: Vec<Rendition>,
    /// What is wrong with its tags.
    pub faults: Vec<Fault>,
}

impl Multivariant {
    /// Reads the tags of a text.
    #[must_use]
    pub fn read(text: &Arc<Text>) -> Self {
        let mut playlist = Self { text: text.clone(), ..Self::default() };
        let mut seen = BTreeMap::<&str, usize>::new();
        let mut waiting: Option<(usize, Attributes)> = None;
        for line in &text.lines {
            match &line.kind {
                Kind::Tag { name, value } => {
                    if let Some(earlier) = seen.get(name.as_str())
                        && once(name)
                    {
                        let what = format!("a second {name}; the first is in line {earlier}");
                        playlist.fault(line.number, "4.4.2", what);
                        continue;
                    }
                    seen.entry(name).or_insert(line.number);
                    playlist.tag(line.number, name, value.as_deref(), &mut waiting);
                }
                Kind::Uri(uri) => match waiting.take() {
                    Some((line, attributes)) => {
                        playlist.variants.push(Variant { line, attributes, uri: uri.clone(), iframes: false });
                    }
                    None => {
                        let what = format!("{uri} follows no EXT-X-STREAM-INF");
                        playlist.fault(line.number, "4.4.6.2", what);
                    }
                },
            }
        }
        if let Some((line, _)) = waiting {
            playlist.fault(line, "4.4.6.2", "EXT-X-STREAM-INF without a URI line".to_owned());
        }
        playlist
    }

    fn fault(&mut self, line: usize, section: &'static str, what: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { line, what, section });
        }
    }

    fn tag(&mut self, line: usize, name: &str, value: Option<&str>, waiting: &mut Option<(usize, Attributes)>) {
        let kind = class(name);
        if matches!(kind, Class::MediaPlaylist | Class::Segment | Class::Metadata) {
            self.fault(line, "4.4.3", format!("{name}, a media playlist tag, in a multivariant playlist"));
            return;
        }
        match name {
            "EXT-X-VERSION" => {
                self.version = value.and_then(decimal::integer);
                return;
            }
            "EXT-X-INDEPENDENT-SEGMENTS" => self.independent_segments = true,
            _ => {}
        }
        if kind != Class::Multivariant {
            return;
        }
        let (attributes, faults) = Attributes::read(value.unwrap_or(""));
        for fault in faults {
            self.fault(line, "4.2", format!("{name}: {fault}"));
        }
        match name {
            "EXT-X-STREAM-INF" => {
                if let Some((earlier, _)) = waiting.replace((line, attributes)) {
                    self.fault(earlier, "4.4.6.2", "EXT-X-STREAM-INF without a URI line".to_owned());
                }
            }
            "EXT-X-I-FRAME-STREAM-INF" => match attributes.quoted("URI").map(str::to_owned) {
                Some(uri) => self.variants.push(Variant { line, attributes, uri, iframes: true }),
                None => self.fault(line, "4.4.6.3", format!("{name} without a quoted URI")),
            },
            "EXT-X-MEDIA" => {
                let complete = attributes.text("TYPE").is_some()
                    && attributes.quoted("GROUP-ID").is_some()
                    && attributes.quoted("NAME").is_some();
                if !complete {
                    self.fault(line, "4.4.6.1", format!("{name} without TYPE, GROUP-ID and NAME"));
                }
                self.renditions.push(Rendition { line, attributes });
            }
            _ => {}
        }
    }

    /// Variant streams without I-frame variant streams.
    pub fn regular(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().filter(|variant| !variant.iframes)
    }

    /// I-frame variant streams: EXT-X-I-FRAME-STREAM-INF.
    pub fn iframes(&self) -> impl Iterator<Item = &Variant> {
        self.variants.iter().filter(|variant| variant.iframes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Multivariant {
        Multivariant::read(&Arc::new(Text::read(text.as_bytes())))
    }

    #[test]
    fn variants_renditions_and_iframes_are_told_apart() {
        let playlist = read(
            "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"one\",URI=\"a.m3u8\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=10,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.97,AUDIO=\"a\"\nv.m3u8\n\
             #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=5,URI=\"i.m3u8\"\n",
        );
        assert!(playlist.faults.is_empty(), "{:?}", playlist.faults);
        let variant = playlist.regular().next().unwrap();
        assert_eq!((variant.uri.as_str(), variant.bandwidth()), ("v.m3u8", Some(10)));
        assert_eq!(variant.resolution(), Some((640, 360)));
        assert_eq!(variant.frame_rate_thousandths(), Some(29_970));
        assert!(variant.has_picture());
        assert_eq!(playlist.iframes().next().unwrap().uri, "i.m3u8");
        assert_eq!(playlist.renditions.first().unwrap().uri(), Some("a.m3u8"));
    }

    #[test]
    fn media_tags_and_lost_uris_are_faults() {
        let faults = |text| read(text).faults.iter().map(Fault::evidence).collect::<Vec<_>>();
        assert_eq!(
            faults("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n#EXT-X-TARGETDURATION:4\n"),
            ["line 4: EXT-X-TARGETDURATION, a media playlist tag, in a multivariant playlist"]
        );
        assert_eq!(faults("#EXTM3U\nv.m3u8\n"), ["line 2: v.m3u8 follows no EXT-X-STREAM-INF"]);
        assert_eq!(faults("#EXT-X-STREAM-INF:BANDWIDTH=1\n"), ["line 1: EXT-X-STREAM-INF without a URI line"]);
    }
}
