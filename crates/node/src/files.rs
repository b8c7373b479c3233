//! Files that are either there whole or not at all, and how many may be open.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Mode of a private key or a secret: its owner reads and writes, nobody else does anything.
pub const MODE_SECRET: u32 = 0o600;
/// Mode of a file for everybody to read.
pub const MODE_PUBLIC: u32 = 0o644;
/// Longest file that [`read_bounded`] takes, in bytes: certificates, keys, configuration. Anything longer is a mistake.
pub const SMALL_FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Raises this process's limit of open files, sockets included, to the system's maximum; returns the limit in force. Each viewer's
/// connection is one file. The first limit of a shell or a service manager, often 1024, is for programs that use `select`.
pub fn raise_open_files_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => known(maximum),
        Err(_) => known(current),
    }
}

/// How many files this process may open.
pub fn open_files_limit() -> u64 {
    known(getrlimit(Resource::Nofile).current)
}

/// `None` means that there is no limit.
fn known(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

/// Writes `bytes` to `path` so that a reader, or a crash, sees the old file or the new one, never a part.
///
/// The file has `mode` from the first byte on; it is on the disk when this returns. Blocks; a few milliseconds.
///
/// # Errors
/// When the directory cannot be written; names the path.
pub fn atomic_write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_and_rename(path, bytes, mode).with_context(|| format!("cannot write {}", path.display()))
}

fn write_and_rename(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let name = path.file_name().context("path has no file name")?.to_string_lossy();
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".{name}.{:016x}.tmp", rand::random::<u64>()));
    let written = (|| -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        // The umask may have taken bits away; it can never have added some.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        // The rename itself is only durable once the directory is.
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        // It may not exist; the error that counts is the one before.
        let _ = std::fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Makes a directory and its parents, readable by everybody. One that exists is no error.
///
/// # Errors
/// When it cannot be made, or a file is in the way; names the path.
pub fn create_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Makes a directory that only its owner enters (mode 0700), and its parents. One that exists is no error.
///
/// # Errors
/// When it cannot be made, or a file is in the way; names the path.
pub fn create_private_directory(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make the directory {}", path.display()))
}

/// Reads a small file whole.
///
/// # Errors
/// When it cannot be read or is longer than [`SMALL_FILE_BYTES_MAX`]; names the path.
pub fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(
        size <= SMALL_FILE_BYTES_MAX,
        "{} has {size} bytes; at most {SMALL_FILE_BYTES_MAX} make sense here",
        path.display()
    );
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let raised = raise_open_files_limit();
        assert!(raised > 0 && open_files_limit() == raised);
    }

    #[test]
    fn file_has_its_mode_and_replaces_the_old_one_leaving_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        atomic_write(&path, b"old", MODE_PUBLIC).unwrap();
        atomic_write(&path, b"new", MODE_SECRET).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn failed_write_names_the_path_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("in the way"), "").unwrap();
        let error = format!("{:#}", atomic_write(&path, b"x", MODE_SECRET).unwrap_err());
        assert!(error.contains("taken"), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn longer_file_than_makes_sense_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("huge.pem");
        File::create(&path).unwrap().set_len(SMALL_FILE_BYTES_MAX + 1).unwrap();
        let error = format!("{:#}", read_bounded(&path).unwrap_err());
        assert!(error.contains("huge.pem"), "{error}");
    }
}
