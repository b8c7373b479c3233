//! Real publishers: the ffmpeg command line with a real file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::Process;

/// Properties of the file that [`clip`] makes.
#[derive(Clone, Copy)]
pub struct Clip {
    pub size: &'static str,
    pub frame_rate: &'static str,
    pub keyframe_seconds: u32,
    pub seconds: u32,
    /// Most B-frames in a row.
    pub b_frames: u32,
}

impl Default for Clip {
    fn default() -> Self {
        Self { size: "640x360", frame_rate: "30", keyframe_seconds: 2, seconds: 20, b_frames: 0 }
    }
}

/// Encodes a file with video and a tone.
pub fn clip(directory: &Path, clip: Clip) -> PathBuf {
    let Clip { size, frame_rate, keyframe_seconds, seconds, b_frames } = clip;
    let path = directory.join(format!("clip-{size}-{keyframe_seconds}-{seconds}-{b_frames}.flv"));
    let picture = format!("testsrc2=size={size}:rate={frame_rate}:duration={seconds}");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let keyframes = format!("expr:gte(t,n_forced*{keyframe_seconds})");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "800k"])
        .args(["-bf", &b_frames.to_string()])
        .args(["-force_key_frames", &keyframes, "-g", "1000", "-c:a", "aac", "-b:a", "96k", "-ac", "2"])
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is installed: scripts/setup.sh test");
    assert!(status.success(), "ffmpeg made no clip");
    path
}

/// Publishes a file in real time, in a loop.
pub fn publish(file: &Path, rtmp: &str, key: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(file)
        .args(["-c", "copy", "-f", "flv", &format!("{rtmp}/{key}")])
        .stderr(Stdio::null());
    Process::spawn("ffmpeg", &mut command)
}

/// Encodes a clip that is as hard to encode as a film, as OBS sends it by default: 720p30, 4 Mbit/s, B-frames.
pub fn film(directory: &Path, seconds: u32) -> PathBuf {
    let path = directory.join(format!("film-{seconds}.flv"));
    let picture = format!("testsrc2=size=1280x720:rate=30:duration={seconds},noise=alls=12:allf=t");
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &tone])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "60", "-sc_threshold", "0"])
        .args(["-b:v", "4M", "-maxrate", "4M", "-bufsize", "8M", "-c:a", "aac", "-b:a", "128k", "-ac", "2"])
        .arg(&path)
        .stdin(Stdio::null())
        .status()
        .expect("ffmpeg is installed: scripts/setup.sh test");
    assert!(status.success(), "ffmpeg made no film");
    path
}

/// Starts encoders that use as much time of `count` cores as they get.
pub fn busy_encoders(count: usize) -> Vec<Process> {
    let encode = || {
        let mut command = Command::new("ffmpeg");
        command
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-c:v", "libx264"])
            .args(["-threads", "1", "-f", "null", "-"])
            .stderr(Stdio::null());
        Process::spawn("a busy encoder", &mut command)
    };
    std::iter::repeat_with(encode).take(count).collect()
}
