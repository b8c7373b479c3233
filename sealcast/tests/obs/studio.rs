//! OBS Studio without a screen: its profile, its log, and how the test stops it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use testkit::process::Process;
use testkit::wait::{PATIENCE, eventually, eventually_async};

/// An X server without a screen or a graphics card.
pub struct Display {
    process: Process,
    /// Value of `DISPLAY`.
    name: String,
}

impl Display {
    pub async fn start(directory: &Path) -> Self {
        let file = directory.join("display");
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", "800x600x24"]);
        command.stdout(File::create(&file).unwrap()).stderr(File::create(directory.join("xvfb.log")).unwrap());
        let process = Process::spawn("Xvfb (is it installed? make setup-obs)", &mut command);
        let number = eventually("a display", || {
            let said = std::fs::read_to_string(&file).ok()?;
            said.ends_with('\n').then(|| said.trim().to_owned())
        });
        Self { name: format!(":{}", number.await), process }
    }
}

impl Drop for Display {
    /// SIGTERM, so that it removes its lock file and its socket.
    fn drop(&mut self) {
        self.process.signal("TERM");
    }
}

/// A running OBS.
pub struct Obs {
    pub process: Process,
    home: PathBuf,
}

impl Obs {
    /// Starts OBS with its own home directory, to stream a file in a loop.
    pub fn start(display: &Display, home: PathBuf, clip: &Path, server: &str, key: &str) -> Self {
        configure(&home, clip, server, key);
        let log = File::create(home.join("log")).unwrap();
        let mut command = Command::new("obs");
        command.args(["--startstreaming", "--multi", "--disable-updater", "--disable-missing-files-check"]);
        command.args(["--collection", "test", "--profile", "test"]);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("LANG", "C.UTF-8");
        command.envs([("HOME", &home), ("XDG_CONFIG_HOME", &home), ("XDG_RUNTIME_DIR", &home.join("run"))]);
        command.env("DISPLAY", &display.name).env("LIBGL_ALWAYS_SOFTWARE", "1");
        // Without a proxy that refuses, OBS would look for a newer list of services on the Internet.
        command.env("https_proxy", "http://127.0.0.1:9");
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Self { process: Process::spawn("OBS (is it installed? make setup-obs)", &mut command), home }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.home.join("log")).unwrap()).into_owned()
    }

    /// How often its log has this text.
    pub fn said(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    /// Waits until its log has this text more often than `before`.
    pub async fn says(&self, what: &str, before: usize, patience: Duration) {
        let heard = async || (self.said(what) > before).then_some(());
        let missing = format!("OBS to say {what:?}");
        let waited = tokio::time::timeout(patience, eventually_async(&missing, patience * 2, heard)).await;
        assert!(waited.is_ok(), "waited {patience:?} in vain for {missing}:\n{}", self.log());
    }

    /// Stops the stream, as its button does. OBS does not always end after a signal.
    pub async fn stop(self) {
        std::fs::write(self.home.join("stop"), "").unwrap();
        self.says("==== Streaming Stop ====", 0, PATIENCE).await;
    }
}

/// Writes what the first start and the settings dialogue would write: 640x360 at 30 frames per second, a keyframe every 2 s, a second
/// between attempts to reconnect.
fn configure(home: &Path, clip: &Path, server: &str, key: &str) {
    let settings = home.join("obs-studio");
    let profile = settings.join("basic/profiles/test");
    let scenes = settings.join("basic/scenes");
    for directory in [&profile, &scenes, &home.join("run")] {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).unwrap();
    }
    let write = |path: PathBuf, text: &str| std::fs::write(path, text).unwrap();
    write(
        settings.join("global.ini"),
        "[General]\nFirstRun=true\nEnableAutoUpdates=false\n\
         [Basic]\nProfile=test\nProfileDir=test\nSceneCollection=test\nSceneCollectionFile=test\nConfigOnNewProfile=false\n\
         [BasicWindow]\nPreviewEnabled=false\nSysTrayEnabled=false\n[OBSWebSocket]\nFirstLoad=false\nServerEnabled=false\n",
    );
    write(
        profile.join("basic.ini"),
        "[General]\nName=test\n\
         [Video]\nBaseCX=640\nBaseCY=360\nOutputCX=640\nOutputCY=360\nFPSType=0\nFPSCommon=30\n\
         [Audio]\nSampleRate=48000\nChannelSetup=Stereo\n\
         [Output]\nMode=Advanced\nReconnect=true\nRetryDelay=1\nMaxRetries=200\n\
         [AdvOut]\nEncoder=obs_x264\nTrackIndex=1\nTrack1Bitrate=96\n",
    );
    let encoder = json!({"bitrate": 800, "keyint_sec": 2, "preset": "ultrafast", "rate_control": "CBR"});
    write(profile.join("streamEncoder.json"), &encoder.to_string());
    let service = json!({"type": "rtmp_custom", "settings": {"server": server, "key": key}});
    write(profile.join("service.json"), &service.to_string());
    // On a signal, OBS would ask in an invisible window whether to end the stream.
    let script = home.join("stop.lua");
    let stop = json!(home.join("stop"));
    write(
        script.clone(),
        &format!(
            "local function look()\n  local asked = io.open({stop}, \"r\")\n  if asked then\n    asked:close()\n    \
             obslua.obs_frontend_streaming_stop()\n    obslua.remove_current_callback()\n  end\nend\n\
             function script_load(settings) obslua.timer_add(look, 200) end\n"
        ),
    );
    let items = json!([{"name": "clip", "id": 1, "visible": true}]);
    let media = json!({"local_file": clip, "is_local_file": true, "looping": true, "hw_decode": false});
    let scene = json!({
        "name": "test", "current_scene": "Scene", "current_program_scene": "Scene", "scene_order": [{"name": "Scene"}],
        "modules": {"scripts-tool": [{"path": script, "settings": {}}]},
        "sources": [
            {"id": "scene", "versioned_id": "scene", "name": "Scene", "settings": {"id_counter": 1, "items": items}},
            {"id": "ffmpeg_source", "versioned_id": "ffmpeg_source", "name": "clip", "mixers": 1, "settings": media},
        ],
    });
    write(scenes.join("test.json"), &scene.to_string());
}
