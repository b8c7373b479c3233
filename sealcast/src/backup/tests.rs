use super::*;
use crate::backup::archive::{unpack, write};

fn flags(file: &Path, data: &Path) -> RestoreFlags {
    RestoreFlags { file: file.to_owned(), config: None, data: Some(data.to_owned()) }
}

/// An archive of two files, and the directory that it is in.
fn archived(change: impl FnOnce(&mut Manifest)) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let (files, archive) = (directory.path().join("files"), directory.path().join("backup.tar"));
    std::fs::create_dir_all(files.join("c1")).unwrap();
    std::fs::write(files.join("c1/root.key"), [7; 100]).unwrap();
    std::fs::write(files.join("c1/root.pub"), [8; 2_000]).unwrap();
    let node = media::NodeId::new("c1").unwrap();
    let mut manifest = Manifest::of(&files, node, Some("test".to_owned()), media::UnixMillis(0)).unwrap();
    change(&mut manifest);
    write(&archive, &files, &manifest).unwrap();
    (directory, archive)
}

async fn said(archive: &Path, data: &Path) -> String {
    format!("{:#}", restore(&flags(archive, data)).await.unwrap_err())
}

#[tokio::test]
async fn archive_is_private_and_restored_as_it_was() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, archive) = archived(|_| {});
    assert_eq!(std::fs::metadata(&archive).unwrap().permissions().mode() & 0o777, 0o600);
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    restore(&flags(&archive, &data)).await.unwrap();
    assert_eq!(std::fs::read(data.join("c1/root.key")).unwrap(), [7; 100]);
    assert_eq!(std::fs::read(data.join("c1/root.pub")).unwrap(), [8; 2_000]);
    assert!(std::fs::read_dir(directory.path()).unwrap().count() == 3, "nothing is left beside");
}

/// A data directory of before the first start with this version has a catalogue without the tables of today.
#[tokio::test]
async fn catalogue_of_any_version_is_restored_and_the_data_say_that_they_are() {
    let (directory, archive) = archived(|_| {});
    std::fs::remove_file(&archive).unwrap();
    let files = directory.path().join("files");
    // An SQLite file without any table has no bytes.
    std::fs::write(files.join("c1/catalogue.db"), "").unwrap();
    let manifest = Manifest::of(&files, media::NodeId::new("c1").unwrap(), None, media::UnixMillis(0)).unwrap();
    write(&archive, &files, &manifest).unwrap();
    for name in ["data", "there"] {
        let data = directory.path().join(name);
        if name == "there" {
            std::fs::create_dir_all(data.join(OF_THE_DISK)).unwrap();
        }
        restore(&flags(&archive, &data)).await.unwrap();
        assert!(data.join("c1/catalogue.db").exists() && data.join("c1").join(control::RESTORED_FILE).exists());
        let is_hidden = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        assert!(!std::fs::read_dir(&data).unwrap().any(|entry| is_hidden(entry.unwrap())), "nothing is left");
    }
}

#[tokio::test]
async fn restore_overwrites_nothing() {
    let (directory, archive) = archived(|_| {});
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("mine"), "").unwrap();
    let said = said(&archive, &data).await;
    assert!(
        said.ends_with("is not empty, and a restore overwrites nothing: move it away, or give --data DIR"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
}

/// Every byte that is changed or missing is noticed, and leaves nothing behind.
#[tokio::test]
async fn damaged_archive_is_refused_wherever_the_damage_is() {
    let (directory, archive) = archived(|_| {});
    let (whole, data) = (std::fs::read(&archive).unwrap(), directory.path().join("data"));
    let contents: Vec<usize> = (0..whole.len()).filter(|at| matches!(whole[*at], 7 | 8)).collect();
    assert_eq!(contents.len(), 2_100);
    for at in contents.iter().step_by(97) {
        let mut bytes = whole.clone();
        bytes[*at] ^= 1;
        std::fs::write(&archive, bytes).unwrap();
        let said = said(&archive, &data).await;
        assert!(said.contains("is damaged, and nothing of it is restored: take another backup"), "{said}");
    }
    // A tar file ends with two blocks of zeros.
    for length in (0..whole.len() - 1_024 - 512).step_by(311) {
        std::fs::write(&archive, &whole[..length]).unwrap();
        assert!(restore(&flags(&archive, &data)).await.is_err(), "{length} bytes");
    }
    assert!(!data.exists() && std::fs::read_dir(directory.path()).unwrap().count() == 2);
    std::fs::write(&archive, "no tar at all").unwrap();
    let said = said(&archive, &data).await;
    assert!(said.contains("is no archive of `sealcast backup`"), "{said}");
}

#[tokio::test]
async fn archive_of_a_newer_version_says_which() {
    for format in [1, 2] {
        let (directory, archive) = archived(|manifest| {
            (manifest.format, manifest.version) = (format, "99.0.0".to_owned());
        });
        let said = said(&archive, &directory.path().join("data")).await;
        let expected = format!("Sealcast 99.0.0 has made it, and this is {}", env!("CARGO_PKG_VERSION"));
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn archive_writes_nothing_outside_the_directory() {
    for path in ["../evil", "/tmp/evil", "a/../../b"] {
        let (directory, archive) = archived(|manifest| manifest.files.truncate(1));
        // The writer of tar files refuses such names, so the manifest's is changed in place.
        let mut bytes = std::fs::read(&archive).unwrap();
        let from = bytes.windows(12).position(|window| window == b"c1/root.key\"").unwrap();
        bytes[from..from + 12].copy_from_slice(format!("{:<12}", format!("{path}\"")).as_bytes());
        std::fs::write(&archive, bytes).unwrap();
        let target = directory.path().join("target");
        let said = format!("{:#}", unpack(&archive, &target).unwrap_err());
        assert!(said.contains("would lie outside the data directory") && !target.exists(), "{said}");
    }
}
