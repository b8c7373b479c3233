//! An encoder that is started again whenever it ends, as by a person or a service manager.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::publish::publish;
use tokio::task::JoinHandle;

/// Interval at which its end is noticed.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Publishes until it is dropped.
pub struct Publisher(JoinHandle<()>);

impl Publisher {
    pub fn start(file: PathBuf, rtmp: String, key: &'static str) -> Self {
        Self(tokio::spawn(keep(file, rtmp, key)))
    }
}

async fn keep(file: impl AsRef<Path> + Send, rtmp: String, key: &'static str) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let mut encoder = publish(file.as_ref(), &rtmp, key);
    loop {
        looks.tick().await;
        if encoder.has_ended().is_some() {
            encoder = publish(file.as_ref(), &rtmp, key);
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.abort();
    }
}
