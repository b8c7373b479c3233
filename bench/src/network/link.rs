//! A network between this machine and a viewer: a network namespace for the viewer, two TUN devices, and threads that hand on packets
//! in each direction as a [`Shape`] says. Both sides use the kernel's TCP, so loss and delay act on it as on real viewers.

use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::shaper::{OPEN, Shape, Shaper};

/// Address where servers listen, and the viewer's address.
pub(crate) const SERVER: &str = "10.99.0.1";
const VIEWER: &str = "10.99.0.2";
const NEAR: &str = "sealcast-near";
const FAR: &str = "sealcast-far";
/// Longest packet: the device's MTU.
const PACKET_BYTES_MAX: usize = 1_500;
/// Most packets under way in one direction: more than fit into the queue and the delay at any rate used here.
const PACKETS_MAX: usize = 8_192;

/// One direction, and the time at which its shape took effect.
type Way = Arc<Mutex<(Shaper, Instant)>>;

/// The link. It needs root, can exist once at a time, and deletes its namespace when it is dropped.
pub(crate) struct Link {
    pub(crate) namespace: String,
    down: Way,
    up: Way,
}

impl Link {
    /// Opens a link without limits to a new namespace.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let namespace = format!("sealcast-viewer-{}", std::process::id());
        ip(&["netns", "add", &namespace]).context("network namespaces need root")?;
        // From here on, every return deletes the namespace.
        let link = Self { namespace, down: way(OPEN), up: way(OPEN) };
        let (near, far) = (device(NEAR)?, device(FAR)?);
        let within = |arguments: &[&str]| ip(&[&["-n", &link.namespace], arguments].concat());
        ip(&["link", "set", FAR, "netns", &link.namespace])?;
        ip(&["addr", "add", &format!("{SERVER}/30"), "dev", NEAR])?;
        ip(&["link", "set", NEAR, "up"])?;
        within(&["link", "set", "lo", "up"])?;
        within(&["addr", "add", &format!("{VIEWER}/30"), "dev", FAR])?;
        within(&["link", "set", FAR, "up"])?;
        hand_on(near.clone(), far.clone(), link.down.clone());
        hand_on(far, near, link.up.clone());
        Ok(link)
    }

    /// Sets the shapes for packets to the viewer and from it, from now on.
    pub(crate) fn shape(&self, down: Shape, up: Shape) {
        for (way, shape) in [(&self.down, down), (&self.up, up)] {
            *way.lock().unwrap_or_else(PoisonError::into_inner) = (Shaper::new(shape, 1), now());
        }
    }

    /// Bytes that the viewer got since its shape took effect.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).0.bytes
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.namespace]);
    }
}

#[expect(clippy::disallowed_methods, reason = "paces real packets")]
fn now() -> Instant {
    Instant::now()
}

fn way(shape: Shape) -> Way {
    Arc::new(Mutex::new((Shaper::new(shape, 1), now())))
}

fn device(name: &str) -> anyhow::Result<Arc<SyncDevice>> {
    Ok(Arc::new(DeviceBuilder::new().name(name).build_sync().with_context(|| format!("TUN device {name}"))?))
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip is missing: scripts/setup.sh bench")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), said.trim());
    Ok(())
}

/// Starts two threads, which end with the process or with a device. One takes packets and decides when they arrive; the other delivers
/// them at that time.
fn hand_on(from: Arc<SyncDevice>, to: Arc<SyncDevice>, way: Way) {
    let (sender, receiver) = sync_channel(PACKETS_MAX);
    std::thread::spawn(move || take(&from, &way, &sender));
    std::thread::spawn(move || deliver(&to, &receiver));
}

fn take(from: &SyncDevice, way: &Way, sender: &SyncSender<(Instant, Vec<u8>)>) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    while let Ok(length) = from.recv(&mut packet) {
        let arrives = {
            let (shaper, since) = &mut *way.lock().unwrap_or_else(PoisonError::into_inner);
            shaper.pass(since.elapsed(), length).map(|arrival| *since + arrival)
        };
        let Some((at, bytes)) = arrives.zip(packet.get(..length)) else { continue };
        if sender.send((at, bytes.to_vec())).is_err() {
            return;
        }
    }
}

fn deliver(to: &SyncDevice, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (at, packet) in receiver {
        let wait = at.saturating_duration_since(now());
        if wait > Duration::ZERO {
            std::thread::sleep(wait);
        }
        // A packet that the device refuses is lost, as on any link.
        let _ = to.send(&packet);
    }
}
