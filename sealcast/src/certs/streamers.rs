//! Logins of streamers' ingests at the brokers: in the folder `streamer` of the authority's directory, `{name}.password` and
//! `{name}.streams`, a stream in each line. `up` keeps them beside the passwords of its own nodes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use bus::broker::Streamer;
use media::{NodeId, StreamId};
use node::files::{self, MODE_PUBLIC, MODE_SECRET};

/// Folder of the streamers' logins.
const FOLDER: &str = "streamer";
/// Most streamers that are looked for.
const STREAMERS_MAX: usize = 1_024;

/// The password of a streamer, made if it has none. Keeps its streams, too, and gives the password to the broker of `up`.
pub(super) fn login(directory: &Path, data: &Path, name: &NodeId, streams: &[StreamId]) -> anyhow::Result<String> {
    let folder = directory.join(FOLDER);
    files::create_private_directory(&folder)?;
    let lines: String = streams.iter().map(|stream| format!("{stream}\n")).collect();
    files::atomic_write(&folder.join(format!("{name}.streams")), lines.as_bytes(), MODE_PUBLIC)?;
    let path = folder.join(format!("{name}.password"));
    if !path.exists() {
        files::atomic_write(&path, hex::encode(rand::random::<[u8; 16]>()).as_bytes(), MODE_SECRET)?;
    }
    let password = password(&path)?;
    let embedded = data.join("bus");
    if embedded.is_dir() {
        files::atomic_write(&embedded.join(format!("{name}.password")), password.as_bytes(), MODE_SECRET)?;
    }
    Ok(password)
}

fn password(path: &Path) -> anyhow::Result<String> {
    let text =
        String::from_utf8(files::read_bounded(path)?).with_context(|| format!("{} is not text", path.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    ensure!(!password.is_empty(), "{} is empty: remove it to have a new password", path.display());
    Ok(password)
}

/// All streamers of an authority's directory, sorted by name.
pub(super) fn all(directory: &Path) -> anyhow::Result<Vec<Streamer>> {
    let folder = directory.join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::<PathBuf>::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut streamers = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "streams")).take(STREAMERS_MAX) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).and_then(|name| NodeId::new(name).ok());
        let Some(name) = name else { continue };
        let text =
            String::from_utf8(files::read_bounded(path)?).with_context(|| format!("{} is not text", path.display()))?;
        let streams = text.lines().map(|line| Ok(StreamId::new(line)?)).collect::<anyhow::Result<_>>();
        let streams = streams.with_context(|| format!("{} names no streams", path.display()))?;
        let password = password(&folder.join(format!("{name}.password")))?;
        streamers.push(Streamer { name: name.to_string(), password, streams });
    }
    Ok(streamers)
}
