//! `sealcast root …`: shows the metadata log, and makes root statements where the root keys are. Statements are signed here, so that a
//! root key need not be on the control machine, and control never sees it.

use std::path::{Path, PathBuf};

use ::node::clock::Clock;
use ::node::files;
use anyhow::{Context as _, ensure};
use bytes::Bytes;
use media::{Digest, UnixMillis};
use metadata::{Branch, EntrySequence, Place, RootStatement, Roots, sign_root};
use reqwest::Method;
use seal::{KeyId, RootKey};
use serde_json::Value;

use super::{Admin, field, items};
use crate::cli::RootCommand;

/// How long a key of control may write once the root has named it.
const CONTROL_KEY_LIFE: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);

/// `sealcast root …`
///
/// # Errors
/// When control does not answer, or refuses; or when a key cannot be read, or does not count.
pub(crate) async fn run(command: RootCommand) -> anyhow::Result<()> {
    match command {
        RootCommand::Show { admin } => {
            let admin = Admin::connect(&admin)?;
            let log = admin.ask(Method::GET, "/metadata", None).await?;
            admin.print(&log, shown)
        }
        RootCommand::Make { file } => make(&file),
        RootCommand::Export { file, admin } => {
            let admin = Admin::connect(&admin)?;
            let here = admin.root_key.as_deref().context("this data directory is not that of a control node")?;
            export(here, &file)?;
            let log = admin.ask(Method::GET, "/metadata", None).await?;
            admin.print(&log, |log| {
                format!(
                    "the root key is in {} now, and not on this machine any more: keep a copy of it somewhere else\n{}",
                    file.display(),
                    until(log).map(|until| format!("control goes on without it until {until}\n")).unwrap_or_default()
                )
            })
        }
        RootCommand::Rotate { key, new, threshold, admin } => {
            let admin = Admin::connect(&admin)?;
            let (keys, new) = (keys(&admin, &key)?, read_keys(&new)?);
            let standing = Standing::ask(&admin, &keys).await?;
            let next = standing.rotated(&new, threshold, Clock::new().wall())?;
            let log = standing.sign(&admin, &next, keys.iter().chain(&new)).await?;
            admin.print(&log, |log| {
                let fingerprints: Vec<&str> = items(&log["root_keys"]).iter().filter_map(Value::as_str).collect();
                format!(
                    "root statement {} is in force: {} of these root keys sign from now on: {}\n{}",
                    number(&log["root_version"]),
                    number(&log["root_threshold"]),
                    fingerprints.join(" "),
                    until(log).map(|until| format!("control may write until {until}\n")).unwrap_or_default()
                )
            })
        }
        RootCommand::Retire { control, key, admin } => {
            let admin = Admin::connect(&admin)?;
            let keys = keys(&admin, &key)?;
            let standing = Standing::ask(&admin, &keys).await?;
            let next = standing.retired(&control, Clock::new().wall())?;
            let log = standing.sign(&admin, &next, keys.iter()).await?;
            admin.print(&log, |log| {
                let version = number(&log["root_version"]);
                format!(
                    "key {control} of control signs nothing after entry {}; root statement {version} says so\n",
                    standing.place.sequence
                )
            })
        }
        RootCommand::Branch { yes, key, admin } => {
            let admin = Admin::connect(&admin)?;
            let log = admin.ask(Method::GET, "/metadata", None).await?;
            let at = number(&log["sequence"]);
            ensure!(
                yes,
                "this voids for good what was written after entry {at}: look at `sealcast root show`, and give --yes if you mean it"
            );
            let log = if key.is_empty() {
                admin.ask(Method::POST, "/metadata/branch", None).await?
            } else {
                let keys = read_keys(&key)?;
                let standing = Standing::ask(&admin, &keys).await?;
                let next = standing.branched(Clock::new().wall());
                standing.sign(&admin, &next, keys.iter()).await?
            };
            admin.print(&log, |log| {
                let version = number(&log["root_version"]);
                format!("the metadata log goes on after entry {at}; root statement {version} says so\n")
            })
        }
    }
}

/// Makes a root key that no statement names yet.
fn make(file: &Path) -> anyhow::Result<()> {
    let public = file.with_added_extension("pub");
    for path in [file, &public] {
        ensure!(!path.exists(), "{} is there already: give another name", path.display());
    }
    let key = RootKey::generate()?;
    files::atomic_write(file, &key.to_seed_bytes(), files::MODE_SECRET)?;
    files::atomic_write(&public, &key.public_key_bytes(), files::MODE_PUBLIC)?;
    println!("root key     {}", file.display());
    println!("public key   {}", public.display());
    println!("fingerprint  {}", KeyId::of(&key.public_key_bytes()));
    println!("It counts once the root keys of today say so: sealcast root rotate --key TODAY --new {}", file.display());
    Ok(())
}

/// Moves the root key. The old file goes when the new one has been read back.
fn export(here: &Path, file: &Path) -> anyhow::Result<()> {
    ensure!(here.exists(), "the root key is not on this machine: {} is not there", here.display());
    ensure!(!file.exists(), "{} is there already: give another name", file.display());
    let key = read_key(here)?;
    files::atomic_write(file, &key.to_seed_bytes(), files::MODE_SECRET)?;
    let copied = read_key(file)?;
    ensure!(copied.public_key_bytes() == key.public_key_bytes(), "{} was not written as it should be", file.display());
    std::fs::remove_file(here).with_context(|| format!("cannot remove {}", here.display()))
}

fn read_key(path: &Path) -> anyhow::Result<RootKey> {
    let seed = files::read_bounded(path)?;
    RootKey::from_seed_bytes(&seed).with_context(|| format!("{} is not a root key", path.display()))
}

fn read_keys(paths: &[PathBuf]) -> anyhow::Result<Vec<RootKey>> {
    paths.iter().map(|path| read_key(path)).collect()
}

/// The keys of these files; without any, the one on this machine.
fn keys(admin: &Admin, paths: &[PathBuf]) -> anyhow::Result<Vec<RootKey>> {
    if !paths.is_empty() {
        return read_keys(paths);
    }
    let here = admin.root_key.as_deref().filter(|path| path.exists());
    let here = here.context("the root key is not on this machine: say where it is (--key FILE)")?;
    Ok(vec![read_key(here)?])
}

/// Where the log stands, as control says and the root keys confirm.
struct Standing {
    statement: RootStatement,
    control: Vec<u8>,
    place: Place,
}

impl Standing {
    /// Asks control. Its word is checked: the statement has to be signed by one of these keys.
    async fn ask(admin: &Admin, keys: &[RootKey]) -> anyhow::Result<Self> {
        let said = admin.ask(Method::GET, "/metadata/root", None).await?;
        let bytes = |name: &str| hex::decode(field(&said, name)).with_context(|| format!("{name} of control's answer"));
        let signed = Bytes::from(bytes("statement")?);
        let chain = <[u8; 32]>::try_from(bytes("chain")?).ok().context("chain of control's answer")?;
        let statement = keys.iter().find_map(|key| {
            let mut roots = Roots::new(admin.cluster.clone(), key.public_key().ok()?);
            roots.take(&signed).ok()?;
            roots.statement().cloned()
        });
        let statement = statement.context("none of these root keys has signed the newest root statement")?;
        let sequence = EntrySequence(said["sequence"].as_u64().context("entry of control's answer")?);
        let at = UnixMillis(said["at"].as_i64().context("time of control's answer")?);
        let place = Place { sequence, chain: Digest(chain), at };
        Ok(Self { statement, control: bytes("control")?, place })
    }

    /// The next statement, with these root keys; without any, with the ones of today.
    fn rotated(&self, new: &[RootKey], threshold: Option<u64>, now: UnixMillis) -> anyhow::Result<RootStatement> {
        let mut next = self.statement.clone();
        next.begin_next(now);
        if !new.is_empty() {
            next.root_keys = new.iter().map(RootKey::public_key_bytes).collect();
            next.root_keys.sort();
            next.threshold = 1;
        }
        next.threshold = threshold.unwrap_or(next.threshold);
        let own = next.controls.iter_mut().find(|control| control.public_key == self.control);
        let own = own.context(
            "the newest root statement does not name the key of the control node that answers: if that is right, start it once with \
             root.key in its data directory",
        )?;
        own.not_after = now.plus(CONTROL_KEY_LIFE);
        Ok(next)
    }

    /// The next statement, which voids all entries after those that control has.
    fn branched(&self, now: UnixMillis) -> RootStatement {
        let mut next = self.statement.clone();
        next.begin_next(now);
        let Place { sequence, chain, .. } = self.place;
        next.branch = Some(Branch { version: next.version, sequence, chain });
        next
    }

    /// The next statement, in which a key of control that is not the one of this control node has ended.
    fn retired(&self, key: &str, now: UnixMillis) -> anyhow::Result<RootStatement> {
        let mut next = self.statement.clone();
        next.begin_next(now);
        let is_own = |public: &[u8]| public == self.control.as_slice();
        let found = next.controls.iter_mut().find(|control| KeyId::of(&control.public_key).to_string() == key);
        let found =
            found.with_context(|| format!("no key of control has the identity {key}: see `sealcast root show`"))?;
        ensure!(
            !is_own(&found.public_key),
            "{key} is the key of the control node that answers. Stop it, move metadata.key out of its data directory, put root.key \
             there, and start it: it makes itself another key, and its key of before ends"
        );
        ensure!(found.last.is_none(), "key {key} has ended already");
        found.end((self.place.sequence, self.place.at), now);
        Ok(next)
    }

    /// Signs a statement, and has control take it.
    async fn sign<'k>(
        &self,
        admin: &Admin,
        next: &RootStatement,
        keys: impl Iterator<Item = &'k RootKey>,
    ) -> anyhow::Result<Value> {
        let mut signers: Vec<&RootKey> = Vec::new();
        for key in keys {
            if signers.iter().all(|signer| signer.public_key_bytes() != key.public_key_bytes()) {
                signers.push(key);
            }
        }
        let signed = |statement: &RootStatement| {
            let named = signers.iter().filter(|key| statement.root_keys.contains(&key.public_key_bytes()));
            u64::try_from(named.count()).unwrap_or(0)
        };
        for (which, statement) in [("counts now", &self.statement), ("is to count", next)] {
            ensure!(
                signed(statement) >= statement.threshold,
                "{} of the root keys that {which} have to sign, and {} are given: add --key FILE for each",
                statement.threshold,
                signed(statement)
            );
        }
        admin.send(Method::POST, "/metadata/root", sign_root(next, &signers)?).await
    }
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// Until when control may write.
fn until(log: &Value) -> Option<String> {
    log["control_until"].as_i64().map(|until| UnixMillis(until).to_string())
}

fn control_key(control: &Value) -> String {
    format!("{} of {}", field(control, "key"), field(control, "node"))
}

fn shown(log: &Value) -> String {
    let mut lines = vec![
        ("newest entry", number(&log["sequence"])),
        ("state", field(log, "state").to_owned()),
        ("rows", number(&log["rows"])),
        ("root statement", number(&log["root_version"])),
    ];
    lines.extend(items(&log["controls"]).iter().map(|control| ("control key", control_key(control))));
    let keys: Vec<&str> = items(&log["root_keys"]).iter().filter_map(Value::as_str).collect();
    if !keys.is_empty() {
        lines.push(("root keys", format!("{}; {} sign", keys.join(" "), number(&log["root_threshold"]))));
        let place = if log["root_key_here"] == true { "on the control machine" } else { "elsewhere" };
        lines.push(("root key", place.to_owned()));
    }
    lines.extend(until(log).map(|until| ("control until", format!("{until} (sealcast root rotate, before that)"))));
    if let Some(fork) = log["fork"].as_u64() {
        lines.push(("FORKED", format!("at entry {fork}: control signed two logs (docs/guide/operations.md)")));
    }
    if let Some(behind) = log["behind"].as_u64() {
        lines.push(("MISSING", format!("entries up to {behind}, which control has signed and does not have")));
    }
    let nodes = log["nodes"].as_object().into_iter().flatten();
    let nodes = nodes.map(|(node, have)| (node.as_str(), format!("has entry {}", number(have))));
    lines.into_iter().chain(nodes).map(|(name, value)| format!("{name:<15} {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_shown_with_what_is_wrong_with_it() {
        let mut log =
            serde_json::json!({ "sequence": 7, "state": "ab", "rows": 3, "root_version": 1, "nodes": { "b1": 7 } });
        assert_eq!(
            shown(&log),
            "newest entry    7\nstate           ab\nrows            3\nroot statement  1\nb1              has entry 7\n"
        );
        (log["fork"], log["behind"]) = (5.into(), 9.into());
        let text = shown(&log);
        assert!(
            text.contains("FORKED          at entry 5") && text.contains("MISSING         entries up to 9"),
            "{text}"
        );
    }

    #[test]
    fn key_of_another_control_is_ended_where_the_log_stands_and_the_own_one_never() {
        let key = |byte: u8| seal::ControlKey::from_seed_bytes(&[byte; 32]).unwrap().public_key_bytes();
        let control = |byte: u8| metadata::Control {
            public_key: key(byte),
            node: "control".parse().unwrap(),
            first: EntrySequence(1),
            last: None,
            not_after: UnixMillis(9_000),
        };
        let statement = RootStatement {
            cluster: "town".parse().unwrap(),
            log: metadata::LogId([1; 16]),
            version: 4,
            at: UnixMillis(0),
            root_keys: Vec::new(),
            threshold: 1,
            controls: vec![control(1), control(2)],
            branch: None,
        };
        let place = Place { sequence: EntrySequence(7), chain: Digest([3; 32]), at: UnixMillis(5_000) };
        let standing = Standing { statement, control: key(1), place };
        let (own, other) = (KeyId::of(&key(1)).to_string(), KeyId::of(&key(2)).to_string());
        let next = standing.retired(&other, UnixMillis(4_000)).unwrap();
        assert_eq!((next.version, next.controls[0].last), (5, None));
        let ended = &next.controls[1];
        assert_eq!(
            (ended.last, ended.not_after),
            (Some(EntrySequence(7)), UnixMillis(5_001)),
            "its newest entry counts"
        );
        assert!(standing.retired(&own, UnixMillis(4_000)).unwrap_err().to_string().contains("move metadata.key"));
        assert!(standing.retired("ab", UnixMillis(4_000)).is_err());
    }

    #[test]
    fn root_key_is_moved_and_never_over_another_file() {
        let directory = tempfile::tempdir().unwrap();
        let (here, there) = (directory.path().join("root.key"), directory.path().join("stick.key"));
        make(&here).unwrap();
        let key = read_key(&here).unwrap();
        std::fs::write(&there, "something").unwrap();
        assert!(export(&here, &there).is_err() && here.exists());
        std::fs::remove_file(&there).unwrap();
        export(&here, &there).unwrap();
        assert!(!here.exists());
        assert_eq!(read_key(&there).unwrap().public_key_bytes(), key.public_key_bytes());
        let why = export(&here, &directory.path().join("other")).unwrap_err().to_string();
        assert!(why.contains("is not on this machine"), "{why}");
        assert!(make(&there).is_err(), "a key that is there is not replaced");
    }
}
