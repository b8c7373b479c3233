//! Eight seconds of video and audio, encoded once by ffmpeg, as samples.

use std::path::Path;
use std::process::{Command, Stdio};

use conformance::media::boxes::walk;

/// Length of the clip in seconds: a whole number of video and audio frames, so that it can be repeated for ever.
pub const SECONDS: u64 = 8;
pub const PICTURE_RATE: u64 = 25;
pub const SOUND_RATE: u64 = 48_000;
pub const SOUND_FRAME: u64 = 1_024;

/// A track: its media initialization section and its samples.
#[derive(Debug, Clone)]
pub struct Clip {
    pub init: Vec<u8>,
    pub samples: Vec<Vec<u8>>,
    pub timescale: u64,
    pub frame_ticks: u64,
    /// A sync sample stands at each multiple of this index.
    pub sync_every: u64,
}

/// What every origin plays.
#[derive(Debug)]
pub struct Clips {
    /// 160x90.
    pub low: Clip,
    /// 320x180.
    pub high: Clip,
    pub sound: Clip,
    /// The initialization section of a file with two audio tracks.
    pub two_sounds: Vec<u8>,
    /// Video and audio as segments of a transport stream, from keyframe to keyframe.
    pub transport: Vec<Vec<u8>>,
}

impl Clips {
    pub fn encode() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let picture = |size: &str, bits: &str| {
            let input = format!("testsrc2=size={size}:rate={PICTURE_RATE}:duration={SECONDS}");
            let path = directory.path().join(format!("{size}.mp4"));
            let encoder = [
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-pix_fmt",
                "yuv420p",
                "-bf",
                "0",
                "-b:v",
                bits,
                "-g",
                "25",
                "-keyint_min",
                "25",
                "-sc_threshold",
                "0",
            ];
            ffmpeg(&[&["-f", "lavfi", "-i", &input], encoder.as_slice()].concat(), &path);
            Clip::of(&path, 12_800, 512, PICTURE_RATE)
        };
        let sine = format!("sine=frequency=440:sample_rate={SOUND_RATE}:duration={SECONDS}");
        let sound = directory.path().join("sound.mp4");
        ffmpeg(&["-f", "lavfi", "-i", &sine, "-ac", "2", "-c:a", "aac", "-b:a", "64k"], &sound);
        let two = directory.path().join("two.mp4");
        ffmpeg(&["-f", "lavfi", "-i", &sine, "-map", "0:a", "-map", "0:a", "-ac", "2", "-c:a", "aac"], &two);
        let mut sound = Clip::of(&sound, SOUND_RATE, SOUND_FRAME, 1);
        sound.samples.truncate(usize::try_from(SECONDS * SOUND_RATE / SOUND_FRAME).unwrap());
        Self {
            low: picture("160x90", "100k"),
            high: picture("320x180", "300k"),
            sound,
            two_sounds: Clip::of(&two, SOUND_RATE, SOUND_FRAME, 1).init,
            transport: transport(directory.path(), &sine),
        }
    }
}

impl Clip {
    fn of(path: &Path, timescale: u64, frame_ticks: u64, sync_every: u64) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (boxes, _) = walk(&bytes);
        let first = boxes.iter().find(|found| found.is(b"moof")).unwrap().start;
        Self {
            init: bytes[..first].to_vec(),
            samples: boxes.iter().filter(|found| found.is(b"mdat")).map(|found| found.body.to_vec()).collect(),
            timescale,
            frame_ticks,
            sync_every,
        }
    }

    /// The sample at this index of the endlessly repeated clip.
    pub fn sample(&self, index: u64) -> &[u8] {
        let count = u64::try_from(self.samples.len()).unwrap();
        &self.samples[usize::try_from(index % count).unwrap()]
    }
}

fn ffmpeg(arguments: &[&str], path: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y"]).args(arguments);
    // With one frame per fragment, each `mdat` is a sample.
    command.args(["-movflags", "+frag_every_frame+empty_moov+default_base_moof", "-use_editlist", "0"]);
    let status = command.arg(path).stdin(Stdio::null()).status().expect("ffmpeg is there");
    assert!(status.success(), "ffmpeg {arguments:?}");
}

/// A transport stream of 40 s, cut at its keyframes, with PAT and PMT before each.
fn transport(directory: &Path, sine: &str) -> Vec<Vec<u8>> {
    let path = directory.join("all.ts");
    let picture = format!("testsrc2=size=160x90:rate={PICTURE_RATE}:duration=40");
    let sine = sine.replace(&format!("duration={SECONDS}"), "duration=40");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sine]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "25"]);
    command.args(["-keyint_min", "25", "-sc_threshold", "0", "-c:a", "aac", "-b:a", "64k"]);
    // Otherwise, the service description would come before the PAT; it is rare enough not to matter here.
    command.args(["-mpegts_flags", "+pat_pmt_at_frames", "-sdt_period", "1000", "-muxdelay", "0"]).arg(&path);
    assert!(command.stdin(Stdio::null()).status().expect("ffmpeg is there").success());
    let bytes = std::fs::read(&path).unwrap();
    let packets: Vec<&[u8]> = bytes.chunks_exact(188).filter(|packet| pid(packet) != 0x11).collect();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        // PAT, PMT, and a video packet that is marked as a random access point.
        let opens = pid(packet) == 0
            && packets
                .get(index + 2)
                .is_some_and(|first| pid(first) == 0x100 && first[3] & 0x20 != 0 && first[5] & 0x40 != 0);
        if opens || segments.is_empty() {
            segments.push(Vec::new());
        }
        segments.last_mut().unwrap().extend_from_slice(packet);
    }
    segments
}

fn pid(packet: &[u8]) -> u16 {
    u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2])
}
