//! How much of the disk recordings may take. Pure, but for the question how much is free.

use std::path::Path;

#[derive(Debug)]
pub(super) struct Space {
    bytes_max: u64,
    free_bytes_min: u64,
    /// What is free and what recordings take, together, as it was measured; `None` when that is not known.
    room: Option<u64>,
}

impl Space {
    pub(super) fn new(bytes_max: u64, free_bytes_min: u64) -> Self {
        Self { bytes_max, free_bytes_min, room: None }
    }

    /// Takes a measurement: what is free on the disk while recordings take `used` bytes.
    pub(super) fn measured(&mut self, free: Option<u64>, used: u64) {
        self.room = free.map(|free| free.saturating_add(used));
    }

    /// What recordings may take now. When others fill the disk, they give way.
    pub(super) fn limit(&self) -> u64 {
        let room = self.room.map_or(u64::MAX, |room| room.saturating_sub(self.free_bytes_min));
        self.bytes_max.min(room)
    }

    /// Whether it is the disk that limits, and not the configuration.
    pub(super) fn is_short(&self) -> bool {
        self.limit() < self.bytes_max
    }
}

/// Bytes that are free on the disk of a directory, to a process that is not privileged; `None` when it does not say.
pub(super) fn free(directory: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_give_way_when_the_disk_fills_up() {
        let mut space = Space::new(1000, 100);
        assert_eq!((space.limit(), space.is_short()), (1000, false));
        space.measured(Some(2000), 0);
        assert_eq!((space.limit(), space.is_short()), (1000, false));
        space.measured(Some(300), 500);
        assert_eq!((space.limit(), space.is_short()), (700, true));
        space.measured(Some(50), 500);
        assert_eq!(space.limit(), 450);
        space.measured(Some(0), 50);
        assert_eq!(space.limit(), 0);
        space.measured(None, 50);
        assert_eq!((space.limit(), space.is_short()), (1000, false));
    }
}
