//! Keeps the newest seal of a stream on the disk, behind the log: no seal waits for the disk, unless the disk takes longer than a segment.
//!
//! What is on the disk is one segment older than the log at most. Deliberately knows no file.

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use tokio::task::JoinHandle;

/// Writes a seal to the disk, and blocks until it is there.
type Write = Arc<dyn Fn(&Bytes) -> Result<()> + Send + Sync>;

/// Writes the seals of one stream, one at a time.
pub(crate) struct HeadKeeper {
    write: Write,
    writing: Option<JoinHandle<()>>,
}

impl fmt::Debug for HeadKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadKeeper").field("is_writing", &self.writing.is_some()).finish_non_exhaustive()
    }
}

impl HeadKeeper {
    pub(crate) fn new(write: impl Fn(&Bytes) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { write: Arc::new(write), writing: None }
    }

    /// Begins to write a seal. Waits only for the one before, which was given a segment ago.
    pub(crate) async fn keep(&mut self, head: Bytes) {
        self.written().await;
        let (write, span) = (Arc::clone(&self.write), tracing::Span::current());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = write(&head) {
                // Only matters if this node restarts while no broadcast node that knows the log is there.
                span.in_scope(|| tracing::warn!(error = format!("{error:#}"), "newest seal cannot be kept"));
            }
        }));
    }

    /// Waits until the newest that was given is on the disk.
    pub(crate) async fn written(&mut self) {
        if let Some(writing) = &mut self.writing {
            // A panic is in the log already, and the next seal is written all the same.
            let _ = writing.await;
            self.writing = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn slow_disk_holds_up_no_seal_before_the_next_segment_and_none_is_left_out() {
        let ((release, disk), written) = (mpsc::channel::<()>(), Arc::<Mutex<Vec<Bytes>>>::default());
        let (disk, list) = (Mutex::new(disk), Arc::clone(&written));
        let mut keeper = HeadKeeper::new(move |head| {
            disk.lock().unwrap().recv()?;
            list.lock().unwrap().push(head.clone());
            Ok(())
        });
        let [first, second] = ["first", "second"].map(|text| Bytes::from_static(text.as_bytes()));
        assert!(keeper.keep(first.clone()).now_or_never().is_some(), "the seal goes out while the disk writes");
        assert!(keeper.keep(second.clone()).now_or_never().is_none(), "the disk is a segment behind, and not two");
        release.send(()).unwrap();
        keeper.keep(second.clone()).await;
        assert_eq!(written.lock().unwrap().len(), 1);
        release.send(()).unwrap();
        keeper.written().await;
        assert_eq!(*written.lock().unwrap(), [first, second]);
    }
}
