//! A catalogue from a backup: what it has forgotten of streams is in the metadata log, which the other nodes have.

use std::path::Path;

use anyhow::Context as _;
use axum::http::StatusCode;
use catalogue::{Catalogue, KeptKey, Stream};
use media::Digest;
use messages::{KeyMac, MacForm};
use metadata::{StreamKeyMac, StreamSettings};

use crate::ControlState;
use crate::refusal::Refusal;

/// File in the data directory of a control node which says that the catalogue comes from a backup, wherever the catalogue is and whatever
/// version wrote it. Control takes the word into the catalogue, and removes the file.
pub const RESTORED_FILE: &str = "restored";

/// Notes in the catalogue that it comes from a backup, if the data directory says so.
///
/// # Errors
/// When the catalogue fails, or the file cannot be removed.
pub(crate) async fn note_restore(data: &Path, catalogue: &Catalogue) -> anyhow::Result<()> {
    let file = data.join(RESTORED_FILE);
    if file.try_exists().with_context(|| format!("cannot look for {}", file.display()))? {
        catalogue.mark_restored().await?;
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

impl ControlState {
    /// After a restore, brings the catalogue to what the metadata log says of streams, once the log is whole: streams that were made, got
    /// another key or were deleted after the backup. Configured streams are as the configuration says.
    ///
    /// # Errors
    /// When the log is not whole, or the catalogue fails.
    pub(crate) async fn take_streams_after_restore(&self) -> anyhow::Result<()> {
        if !self.catalogue.is_restored().await? {
            return Ok(());
        }
        // Waits until the other nodes were asked.
        self.writer.write(|_| Vec::new()).await?;
        let log = self.writer.log();
        if let Some(signed) = log.behind() {
            anyhow::bail!(
                "this control node was restored from a backup, and lacks entries of the metadata log up to {signed}"
            );
        }
        let kept = |row: &StreamSettings| Some((row.name.clone(), kept(*row.key_macs.first()?)));
        let rows: Vec<_> = log.look(|view| view.streams().filter_map(kept).collect());
        for stream in self.catalogue.streams().await? {
            let is_elsewhere =
                self.key_files.is_configured(&stream.name) || rows.iter().any(|(name, _)| *name == stream.name);
            // A log without any MAC is one of before there were some.
            if !is_elsewhere && !rows.is_empty() {
                tracing::warn!(stream = %stream.name, "deleted after the backup, and deleted again");
                self.catalogue.delete_stream(&stream.name).await?;
            }
        }
        for (name, key) in rows {
            let is_same = |there: &Stream| (there.key.mac, there.key.form) == (key.mac, key.form);
            match self.catalogue.find_stream(&name).await? {
                Some(there) if is_same(&there) || self.key_files.is_configured(&name) => {}
                Some(_) => {
                    tracing::warn!(stream = %name, "got another key after the backup, and has that key again");
                    self.catalogue.set_key(&name, &key).await?;
                }
                None => {
                    tracing::warn!(stream = %name, "made after the backup, and taken from the metadata log");
                    let created_at = self.node.clock.wall();
                    self.catalogue.create_stream(&Stream { name, key, created_at }).await?;
                }
            }
        }
        let visibilities: Vec<_> =
            log.look(|view| view.streams().map(|row| (row.name.clone(), row.visibility)).collect());
        for (name, visibility) in visibilities {
            self.catalogue.set_visibility(&name, visibility.name()).await?;
        }
        let keys: Vec<_> = log.look(|view| view.verifiers().cloned().collect());
        for metadata::Verifier { key, from, until } in keys {
            let key = catalogue::SigningKey { public_key: key, created_at: from, not_after: until };
            self.catalogue.add_signing_key(&key).await?;
        }
        Ok(self.catalogue.forget_restore().await?)
    }
}

/// What the catalogue keeps of a key, as the log has it.
fn kept(mac: StreamKeyMac) -> KeptKey {
    let (Digest(mac), form) = match mac {
        StreamKeyMac::OfAll(mac) => (mac, MacForm::OfAll),
        StreamKeyMac::OfStream(mac) => (mac, MacForm::OfStream),
    };
    KeptKey { mac: KeyMac(mac), form, hint: String::new() }
}

/// Refuses what needs the streams of after a backup: the catalogue does not have them, and takes them from the log over what is in it.
pub(crate) async fn ensure_not_restored(shared: &ControlState) -> Result<(), Refusal> {
    if !shared.catalogue.is_restored().await? {
        return Ok(());
    }
    let detail = "control was restored from a backup, and does not know yet what it has forgotten of streams: try again once a \
                  broadcast node that has the rest is there, or after sealcast root branch";
    Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, detail.to_owned()))
}
