//! `sealcast backup` and `sealcast restore`: everything that control needs, in one file.
//!
//! A backup reads files and databases beside the control node that writes them; it asks nothing of it, and works while none runs.

mod archive;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use node::files;
use node::tls::Identity;

use crate::admin::AdminFile;
use crate::backup::archive::{Manifest, all_files};
use crate::cli::{BackupFlags, RestoreFlags};
use crate::settings;

/// Folders of the data directory that go along, if they are there: the authorities with all identities, the brokers' passwords, and
/// the keys that `sealcast up` shows.
const FOLDERS: [&str; 3] = ["certs", "bus", "stream-keys"];

/// `sealcast backup FILE`
///
/// # Errors
/// When no control has run with the data directory, a file cannot be read, or the archive not written.
pub(crate) async fn backup(flags: &BackupFlags) -> anyhow::Result<()> {
    let settings = settings::read(flags.config.as_deref())?;
    let data = flags.data.clone().unwrap_or(settings.data);
    let admin = AdminFile::read(&data)?;
    let node = Identity::load(&admin.identity)?.node().clone();
    ensure!(!flags.file.exists(), "{} is there already: give another name, or remove it", flags.file.display());
    let folder = parent(&flags.file);
    ensure!(folder.is_dir(), "there is no directory {}: make it, or give another path", folder.display());
    let staging = Staging::make(&beside(&flags.file)?)?;
    let own = std::iter::once(node.as_str()).chain(FOLDERS);
    for folder in own.filter(|folder| data.join(folder).is_dir()) {
        for path in all_files(&data.join(folder))? {
            let relative = path.strip_prefix(&data).expect("it is below");
            stage(&path, &staging.0.join(relative))
                .await
                .with_context(|| format!("cannot back up {}", path.display()))?;
        }
    }
    let made_at = node::clock::Clock::new().wall();
    let manifest = Manifest::of(&staging.0, node, admin.cluster, made_at)?;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    eprintln!("writing {} files, {bytes} bytes", manifest.files.len());
    archive::write(&flags.file, &staging.0, &manifest)?;
    println!("{} has all that control needs: whoever reads it can be your control node", flags.file.display());
    if settings.role.control.database.is_some() {
        println!("the catalogue is in PostgreSQL, and not in the backup: use pg_dump for it, after this");
    }
    if !data.join("certs").is_dir() {
        println!("the certificates are not in {}, and not in the backup: keep their folder yourself", data.display());
    }
    Ok(())
}

/// Copies a file of control's, a database as of one moment.
async fn stage(from: &Path, to: &Path) -> anyhow::Result<()> {
    let name = from.file_name().unwrap_or_default().to_string_lossy();
    // Journals are in the copies of their databases; the others belong to a process.
    if name.starts_with('.') || [".db-wal", ".db-shm", ".lock"].iter().any(|end| name.ends_with(end)) {
        return Ok(());
    }
    files::create_private_directory(parent(to))?;
    if name.ends_with(".db") {
        eprintln!("copying {}, {} bytes", from.display(), std::fs::metadata(from)?.len());
        catalogue::copy_database(from, to).await?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(files::MODE_SECRET);
        return Ok(std::fs::set_permissions(to, private)?);
    }
    match std::fs::copy(from, to) {
        // Control has removed it meanwhile, such as a grant that ended.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        copied => Ok(copied.map(drop)?),
    }
}

/// `sealcast restore FILE`
///
/// # Errors
/// When the data directory has something in it, or the archive is damaged or of a version that this one cannot restore.
pub(crate) async fn restore(flags: &RestoreFlags) -> anyhow::Result<()> {
    let settings = settings::read(flags.config.as_deref())?;
    let data = flags.data.clone().unwrap_or(settings.data);
    ensure_free(&data)?;
    // One that is there may be a mount point: nothing takes its place, and what is beside it is on another disk.
    let is_there = data.exists();
    let staging = Staging::make(&if is_there { beside(&data.join("restore"))? } else { beside(&data)? })?;
    eprintln!("unpacking {}", flags.file.display());
    let manifest = archive::unpack(&flags.file, &staging.0)?;
    for path in all_files(&staging.0)?.iter().filter(|path| path.extension().is_some_and(|end| end == "db")) {
        eprintln!("checking {}", path.strip_prefix(&staging.0).unwrap_or(path).display());
        catalogue::check_database(path)
            .await
            .with_context(|| format!("{} has a damaged database", flags.file.display()))?;
    }
    let own = staging.0.join(manifest.node.as_str());
    files::create_private_directory(&own)?;
    files::atomic_write(&own.join(control::RESTORED_FILE), b"", files::MODE_SECRET)?;
    if is_there {
        move_all(&staging.0, &data, manifest.node.as_str())?;
    } else {
        std::fs::rename(&staging.0, &data).with_context(|| format!("cannot make {}", data.display()))?;
        std::fs::File::open(parent(&data))?.sync_all()?;
    }
    let (node, cluster) = (&manifest.node, manifest.cluster.as_deref().unwrap_or("?"));
    println!("{} is restored to {}, as of {}", flags.file.display(), data.display(), manifest.made_at);
    println!(
        "start {node} of cluster {cluster} there, and no other copy of it; it takes from the nodes what it has forgotten"
    );
    Ok(())
}

/// Moves everything in a directory of `data` up into `data`; `last` goes last. When something keeps it from that, nothing is moved.
fn move_all(from: &Path, data: &Path, last: &str) -> anyhow::Result<()> {
    let mut names: Vec<_> =
        std::fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    names.sort_by_key(|name| name == last);
    for (done, name) in names.iter().enumerate() {
        if let Err(error) = std::fs::rename(from.join(name), data.join(name)) {
            for name in names.iter().take(done) {
                let _ = std::fs::rename(data.join(name), from.join(name));
            }
            return Err(error).with_context(|| format!("cannot make {}", data.join(name).display()));
        }
    }
    Ok(std::fs::File::open(data)?.sync_all()?)
}

/// A new disk has a folder for what is found at repairs.
const OF_THE_DISK: &str = "lost+found";

fn ensure_free(data: &Path) -> anyhow::Result<()> {
    let is_free = match std::fs::read_dir(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        entries => entries
            .with_context(|| format!("cannot read {}", data.display()))?
            .all(|entry| entry.is_ok_and(|entry| entry.file_name() == OF_THE_DISK)),
    };
    ensure!(
        is_free,
        "the data directory {} is not empty, and a restore overwrites nothing: move it away, or give --data DIR",
        data.display()
    );
    Ok(())
}

/// A directory of a command while it works, that only its owner enters. Removed at the end, unless it has another name by then.
struct Staging(PathBuf);

impl Staging {
    fn make(path: &Path) -> anyhow::Result<Self> {
        files::create_private_directory(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A name for something that becomes `path` when it is whole: hidden, in the same directory.
fn beside(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?.to_string_lossy();
    Ok(parent(path).join(format!(".{name}.{:016x}.tmp", rand::random::<u64>())))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
