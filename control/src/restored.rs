//! A catalogue from a backup: what it has forgotten of streams is in the metadata log, which the other nodes have.

use catalogue::{KeptKey, Stream};
use messages::KeyMac;

use crate::ControlState;

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
        let kept = |row: &metadata::StreamSettings| Some((row.name.clone(), KeyMac(row.key_macs.first()?.0)));
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
        for (name, mac) in rows {
            let key = KeptKey { mac, hint: String::new() };
            match self.catalogue.find_stream(&name).await? {
                Some(there) if there.key.mac == mac || self.key_files.is_configured(&name) => {}
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
