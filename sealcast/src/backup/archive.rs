//! The archive: a tar file whose first entry, `manifest.json`, says what the others are. Everything in it is untrusted until its digest is
//! the one in the manifest.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use media::{Digest, NodeId, UnixMillis};
use node::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Changes when an older version could not read the archive.
const FORMAT: u32 = 1;
const MANIFEST: &str = "manifest.json";
/// Most bytes of the manifest: some 200 a file.
const MANIFEST_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Most files of an archive: control keeps one for each grant, and four grants for each node.
const FILES_MAX: usize = 100_000;
/// Bytes that are read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// What is in an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub format: u32,
    /// Version of the program that made it.
    pub version: String,
    pub cluster: Option<String>,
    /// The control node.
    pub node: NodeId,
    pub made_at: UnixMillis,
    /// In the order of the archive.
    pub files: Vec<Entry>,
}

/// A file of an archive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Relative to the data directory.
    pub path: String,
    pub bytes: u64,
    pub sha256: Digest,
    /// Permissions, as `chmod` takes them.
    pub mode: u32,
}

impl Manifest {
    /// Describes all files below a directory.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn of(
        directory: &Path,
        node: NodeId,
        cluster: Option<String>,
        made_at: UnixMillis,
    ) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in all_files(directory)? {
            let relative = path.strip_prefix(directory).expect("it is below");
            let relative = relative.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
            let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mode = file.metadata()?.permissions().mode() & 0o777;
            let (bytes, sha256) = copy(file, std::io::sink(), u64::MAX)?;
            files.push(Entry { path: relative.to_owned(), bytes, sha256, mode });
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Self { format: FORMAT, version, cluster, node, made_at, files })
    }

    /// Refuses what this version cannot restore.
    fn check(&self) -> anyhow::Result<()> {
        let ours = env!("CARGO_PKG_VERSION");
        ensure!(
            self.format == FORMAT && numbers(&self.version) <= numbers(ours),
            "Sealcast {} has made it, and this is {ours}: restore it with that version, or a newer one",
            self.version
        );
        ensure!(self.files.len() <= FILES_MAX, "it has {} files; at most {FILES_MAX} make sense", self.files.len());
        for entry in &self.files {
            let is_inside = Path::new(&entry.path).components().all(|part| matches!(part, Component::Normal(_)));
            ensure!(
                is_inside && !entry.path.is_empty(),
                "its file {:?} would lie outside the data directory",
                entry.path
            );
        }
        Ok(())
    }
}

/// `1.12.3` as numbers that can be compared.
fn numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(['.', '-', '+']).map_while(|part| part.parse().ok());
    numbers.take(3).collect()
}

/// All files below a directory, by path.
pub(super) fn all_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        let entries = std::fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else {
                files.push(path);
            }
        }
        ensure!(files.len() <= FILES_MAX, "{} has more than {FILES_MAX} files", directory.display());
    }
    files.sort();
    Ok(files)
}

/// Writes an archive with the files of a manifest, which lie below `directory`. It appears under its name when it is whole and on the disk.
///
/// # Errors
/// When a file cannot be read or the archive not written.
pub(crate) fn write(to: &Path, directory: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let temporary = super::beside(to)?;
    let written = write_all(&temporary, directory, manifest).and_then(|()| {
        std::fs::rename(&temporary, to).with_context(|| format!("cannot write {}", to.display()))?;
        File::open(super::parent(to))?.sync_all().context("the directory cannot be written to the disk")
    });
    if written.is_err() {
        // The error that counts is the one before.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_all(to: &Path, directory: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(files::MODE_SECRET).open(to);
    let file = file.with_context(|| format!("cannot write {}", to.display()))?;
    let mut archive = tar::Builder::new(BufWriter::new(file));
    let header = |bytes: usize, mode| {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes).unwrap_or(u64::MAX));
        header.set_mode(mode);
        header.set_mtime(u64::try_from(manifest.made_at.0).unwrap_or(0) / 1_000);
        header
    };
    let text = serde_json::to_vec_pretty(manifest)?;
    archive.append_data(&mut header(text.len(), files::MODE_SECRET), MANIFEST, &text[..])?;
    for entry in &manifest.files {
        let file = File::open(directory.join(&entry.path)).with_context(|| format!("cannot read {}", entry.path))?;
        let mut header = header(0, entry.mode);
        header.set_size(entry.bytes);
        archive.append_data(&mut header, &entry.path, BufReader::new(file))?;
    }
    let mut file = archive.into_inner()?;
    file.flush()?;
    file.get_ref().sync_all().with_context(|| format!("cannot write {}", to.display()))
}

/// Unpacks an archive into an empty directory, and checks that it is whole.
///
/// # Errors
/// When it is damaged, not an archive, or of a version that this one cannot restore.
pub(crate) fn unpack(from: &Path, directory: &Path) -> anyhow::Result<Manifest> {
    let file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut entries = archive.entries()?;
    let manifest = read_manifest(entries.next()).with_context(|| {
        format!("{} is no archive of `sealcast backup`, or its beginning is damaged", from.display())
    })?;
    manifest.check().with_context(|| format!("{} cannot be restored", from.display()))?;
    let mut wanted = manifest.files.iter();
    for entry in &mut entries {
        let entry = entry.with_context(|| damaged(from))?;
        let Some(expected) = wanted.next() else { bail!("{}: it has more files than it says", damaged(from)) };
        ensure!(entry.path_bytes() == expected.path.as_bytes(), "{}: {} is missing", damaged(from), expected.path);
        unpack_one(entry, expected, directory).with_context(|| damaged(from))?;
    }
    match wanted.next() {
        Some(missing) => bail!("{}: {} is missing", damaged(from), missing.path),
        None => Ok(manifest),
    }
}

fn damaged(archive: &Path) -> String {
    format!("{} is damaged, and nothing of it is restored: take another backup", archive.display())
}

fn read_manifest<R: Read>(first: Option<std::io::Result<tar::Entry<'_, R>>>) -> anyhow::Result<Manifest> {
    let first = first.context("it is empty")??;
    ensure!(first.path_bytes() == MANIFEST.as_bytes(), "it does not begin with {MANIFEST}");
    let mut text = Vec::new();
    first.take(MANIFEST_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn unpack_one(from: impl Read, expected: &Entry, directory: &Path) -> anyhow::Result<()> {
    let path = directory.join(&expected.path);
    files::create_private_directory(super::parent(&path))?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(files::MODE_SECRET).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    let (bytes, sha256) = copy(from, &file, expected.bytes)?;
    ensure!(bytes == expected.bytes && sha256 == expected.sha256, "{} is not what was written", expected.path);
    file.set_permissions(std::fs::Permissions::from_mode(expected.mode & 0o777))?;
    file.sync_all().with_context(|| format!("cannot write {}", path.display()))
}

/// Copies at most `bytes_max` and one; returns how many there were and their digest.
fn copy(from: impl Read, mut to: impl std::io::Write, bytes_max: u64) -> anyhow::Result<(u64, Digest)> {
    let (mut from, mut digest, mut bytes) = (from.take(bytes_max.saturating_add(1)), Sha256::new(), 0_u64);
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let read = from.read(&mut block)?;
        let Some(some) = block.get(..read).filter(|some| !some.is_empty()) else { break };
        digest.update(some);
        to.write_all(some)?;
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok((bytes, Digest(digest.finalize().into())))
}
