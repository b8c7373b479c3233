//! The feed thread.

use tokio::sync::mpsc;

use super::{Config, Error, Feeder, Output};

pub(super) fn start(_config: Config) -> Result<(Feeder, mpsc::Receiver<Output>), Error> {
    todo!()
}
