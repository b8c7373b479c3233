//! The disk is not trusted: whatever is done to a recording, no wrong byte is served.

use std::sync::LazyLock;

use messages::AlertReason;
use proptest::prelude::*;
use seal::KeyId;

use super::*;

/// What a crash or somebody else does to a file.
#[derive(Debug, Clone)]
enum Damage {
    /// The file ends early.
    Cut(prop::sample::Index),
    /// One byte differs.
    Flip(prop::sample::Index, u8),
    /// Other bytes follow its own.
    Grow(Vec<u8>),
    /// The file is missing.
    Remove,
    /// It has the bytes of another file.
    Replace(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
        prop::collection::vec(any::<u8>(), 1..100).prop_map(Damage::Grow),
        Just(Damage::Remove),
        any::<prop::sample::Index>().prop_map(Damage::Replace),
    ]
}

/// A recording as it was left, and the right bytes.
struct Template {
    disk: Disk,
    rows: Vec<Row>,
    more: Vec<Row>,
}

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
    let mut disk = Disk::new(SEGMENT * 100);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    studio.part_bytes = 300;
    let mut rows = history(&mut studio, 40, now);
    rows.push(studio.row(now));
    let mut deck = disk.start();
    deck.take_all(&rows);
    studio.reconnect(now);
    let mut more = history(&mut studio, 3, now);
    deck.take_on(&more[0], Some(rows.last().unwrap().sealed.body().sequence));
    deck.take_all(&more[1..]);
    deck.stop();
    let inits = more[0].objects.iter().filter(|(name, _)| name.slot == Slot::Init).cloned().collect::<Vec<_>>();
    rows.append(&mut more);
    // A gate that starts again fetches the init segments.
    let mut more = history(&mut studio, 14, now);
    more[0].objects.extend(inits);
    Template { disk, rows, more }
});

/// A recording as a node that stopped left it: where it lies, who goes on with it, and what it has.
fn left_behind(segments: u32) -> (Disk, Studio, Vec<Row>) {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let rows = history(&mut studio, segments, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.stop();
    (disk, studio, rows)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn spoil(files: &[PathBuf], file: &Path, damage: &Damage) {
    let Ok(mut bytes) = std::fs::read(file) else { return };
    match damage {
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len().max(1))),
        Damage::Flip(at, bits) => {
            let at = at.index(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Damage::Grow(more) => bytes.extend_from_slice(more),
        Damage::Remove => return std::fs::remove_file(file).unwrap(),
        Damage::Replace(other) => bytes = std::fs::read(other.get(files)).unwrap_or_default(),
    }
    std::fs::write(file, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// This includes what `kill -9` leaves: any file may end anywhere.
    #[test]
    fn nothing_wrong_is_ever_read_and_recording_goes_on(
        wounds in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), damage()), 1..12),
        is_live_at_once: bool,
    ) {
        let Template { disk, rows, more } = &*TEMPLATE;
        let directory = tempfile::tempdir().unwrap();
        copy(disk.directory.path(), directory.path());
        let disk = Disk { directory, authority: Authority::new(), keyring: disk.keyring.clone(), quotas: Arc::clone(&disk.quotas), ..*disk };
        let files: Vec<PathBuf> = disk.files().into_keys().collect();
        let seals: Vec<PathBuf> =
            files.iter().filter(|path| path.extension().is_some_and(|e| e == "cbor")).cloned().collect();
        for (which, is_seals, damage) in &wounds {
            let file = if *is_seals { which.get(&seals) } else { which.get(&files) };
            spoil(&files, file, damage);
        }
        let right: BTreeMap<ObjectName, Vec<u8>> = segments(more).into_iter().chain(segments(rows)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut deck = disk.start();
            // Without any file of seals, nothing proves the rest: it is removed, and there is no recording to wait for.
            eventually("the recording is read back or gone", || {
                is_live_at_once || deck.dvr.has(&studio::stream("demo")) || !disk.root().join("demo").exists()
            })
            .await;
            for row in rows {
                _ = deck.timeline.apply(row.sealed.body());
            }
            deck.take_all(more);
            deck.kept(2, 57).await;
            let listed = deck.listed("360p");
            assert!(listed.ends_with(&(46..58).collect::<Vec<_>>()), "the live window is whole: {listed:?}");
            for (name, right) in &right {
                if let Some(object) = deck.read(name).await {
                    assert_eq!(&object.bytes[..], &right[..], "{name}");
                    assert_eq!(object.digest, studio::sha256(right), "{name}");
                }
            }
            // Read everything again: what was refused is gone, and nothing else is.
            for (name, right) in &right {
                if let Some(object) = deck.read(name).await {
                    assert_eq!(&object.bytes[..], &right[..], "{name}");
                }
            }
            deck.stop();
        });
    }
}

/// Flips a bit of the key that a seal names.
fn spoil_key(file: &Path, key: KeyId, nth: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let named: Vec<usize> = (0..bytes.len() - 16).filter(|at| bytes[*at..*at + 16] == key.0).collect();
    bytes[named[nth]] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn damaged_seal_that_names_a_key_nobody_has_is_not_waited_for() {
    let (mut disk, mut studio, rows) = left_behind(6);
    disk.grants_wait_max = Duration::MAX / 2;
    let file = disk.root().join("demo/seals/0000000000.cbor");
    // Two rows of segment 2, one after the other, and one of segment 4.
    [2 * 8 + 3, 2 * 8 + 4, 4 * 8 + 3]
        .into_iter()
        .for_each(|nth| spoil_key(&file, studio.key.public_key().unwrap().id(), nth));
    let mut deck = disk.start();
    deck.loaded().await;
    assert_eq!(deck.refused.recv().await.unwrap().reason, AlertReason::Key);
    for row in &rows {
        _ = deck.timeline.apply(row.sealed.body());
    }
    let more = history(&mut studio, 2, disk.clock.wall());
    deck.take_all(&more);
    deck.kept(1, 7).await;
    for (name, right) in segments(&rows).into_iter().chain(segments(&more)) {
        // The row that completes the segment proves it: a hole before that row loses the segment, too.
        let is_lost = matches!(name.slot, Slot::Segment { msn: MediaSequence(2 | 4) });
        assert_eq!(deck.read(&name).await.map(|object| object.bytes), (!is_lost).then(|| right.into()), "{name}");
    }
}

#[tokio::test]
async fn keys_that_are_never_granted_are_waited_for_so_long_and_no_longer() {
    let (mut disk, mut studio, _) = left_behind(3);
    disk.grants_wait_max = Duration::from_millis(1);
    let mut deck = disk.start_knowing(Authority::nobody());
    let more = history(&mut studio, 3, disk.clock.wall());
    deck.take_all(&more);
    deck.loaded().await;
    deck.kept(1, 5).await;
    assert_eq!(deck.refused.recv().await.unwrap().reason, AlertReason::Key);
    assert!(deck.read(&segment("360p", 1, 1)).await.is_none());
    assert_eq!(deck.read(&segment("360p", 1, 5)).await.unwrap().bytes, segments(&more)[&segment("360p", 1, 5)]);
}

#[test]
fn machine_that_is_short_of_something_is_no_damage() {
    use rustix::io::Errno;
    for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
        assert!(is_passing(&passing.into()));
    }
    for lasting in [Errno::NOENT, Errno::IO, Errno::ACCESS, Errno::ISDIR] {
        assert!(!is_passing(&lasting.into()));
    }
}

#[tokio::test]
async fn recording_that_cannot_be_listed_is_left_alone() {
    let (disk, mut studio, rows) = left_behind(3);
    let (seals, aside) = (disk.root().join("demo/seals"), disk.root().join("demo/aside"));
    std::fs::rename(&seals, &aside).unwrap();
    std::fs::write(&seals, "not a directory").unwrap();
    let before = disk.files();
    let mut deck = disk.start();
    deck.take_all(&history(&mut studio, 2, disk.clock.wall()));
    deck.stop();
    assert_eq!(disk.files(), before, "nothing is removed, and nothing is written beside it");
    std::fs::remove_file(&seals).unwrap();
    std::fs::rename(&aside, &seals).unwrap();
    let deck = disk.start();
    deck.loaded().await;
    for (name, right) in segments(&rows) {
        assert_eq!(deck.read(&name).await.unwrap().bytes, right, "{name}");
    }
}

#[tokio::test]
async fn tampered_file_is_refused_and_never_served() {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let rows = history(&mut studio, 3, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 2).await;
    let (name, path) = (segment("360p", 1, 1), disk.root().join("demo/1/1/360p.m4s"));
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes, segments(&rows)[&name]);
    bytes[700] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(deck.read(&name).await.is_none());
    let refused = deck.refused.recv().await.unwrap();
    assert_eq!((refused.reason, refused.stream), (AlertReason::Digest, Some(studio::stream("demo"))));
    assert!(refused.detail.contains("/live/demo/360p/1/1.m4s"), "{}", refused.detail);
    // The file is repaired, but too late: nobody reads it any more.
    bytes[700] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(deck.read(&name).await.is_none());
    assert!(deck.refused.try_recv().is_err(), "it is said once");
    assert!(deck.read(&segment("1080p", 1, 1)).await.is_some(), "the others are what they were");
    assert_eq!(deck.listed("360p"), [0, 1, 2], "what was listed stays listed");
}

#[tokio::test]
async fn file_that_is_gone_is_refused_too() {
    let mut disk = Disk::new(SEGMENT * 30);
    let now = disk.clock.wall();
    let mut studio = disk.studio(now);
    let rows = history(&mut studio, 1, now);
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 0).await;
    std::fs::remove_file(disk.root().join("demo/1/0/audio.m4s")).unwrap();
    assert!(deck.read(&segment("audio", 1, 0)).await.is_none());
    assert_eq!(deck.refused.recv().await.unwrap().reason, AlertReason::Digest);
}

#[tokio::test]
async fn valid_log_of_another_stream_or_time_is_not_taken_for_this_one() {
    let (disk, _, rows) = left_behind(3);
    // Copy its directory to another name, and append its oldest seals once more.
    copy(&disk.root().join("demo"), &disk.root().join("other"));
    let first = disk.root().join("demo/seals/0000000000.cbor");
    std::fs::copy(&first, disk.root().join("demo/seals/0000000007.cbor")).unwrap();
    let mut deck = disk.start();
    deck.loaded().await;
    for row in &rows {
        _ = deck.timeline.apply(row.sealed.body());
    }
    assert_eq!(deck.listed("360p"), [0, 1, 2]);
    assert_eq!(deck.refused.recv().await.unwrap().reason, AlertReason::Identity);
    let other = ObjectName { stream: StreamId::new("other").unwrap(), ..segment("360p", 1, 1) };
    assert!(deck.read(&other).await.is_none());
    assert!(deck.read(&segment("360p", 1, 1)).await.is_some());
}
