//! A network between this machine and a viewer: a namespace of the viewer's own, two TUN devices, and a thread each way that hands packets
//! on as a [`Shape`] says. TCP on both sides is the kernel's, so loss and delay do to it what they do to viewers.

use std::process::Command;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tun_rs::{DeviceBuilder, SyncDevice};

use super::shaper::{OPEN, Shape, Shaper};

/// Where servers listen, and the viewer's own address.
pub(crate) const SERVER: &str = "10.99.0.1";
const VIEWER: &str = "10.99.0.2";
const NEAR: &str = "sealcast-near";
const FAR: &str = "sealcast-far";
/// Packets of at most this size travel: the device's MTU.
const PACKET_BYTES_MAX: usize = 1_500;
/// Packets under way in one direction: more than fit into the queue and the delay at any rate used here.
const PACKETS_MAX: usize = 8_192;

/// One direction, and when its shape came into force.
type Way = Arc<Mutex<(Shaper, Instant)>>;

/// The link. It needs root, exists once at a time, and its namespace goes with it.
pub(crate) struct Link {
    pub(crate) namespace: String,
    down: Way,
    up: Way,
}

impl Link {
    /// An open link to a new namespace.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let namespace = format!("sealcast-viewer-{}", std::process::id());
        ip(&["netns", "add", &namespace]).context("network namespaces need root")?;
        // From here on the namespace is deleted on every way out.
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

    /// From now on packets to the viewer, and from it, are treated so.
    pub(crate) fn shape(&self, down: Shape, up: Shape) {
        for (way, shape) in [(&self.down, down), (&self.up, up)] {
            *way.lock().unwrap_or_else(PoisonError::into_inner) = (Shaper::new(shape, 1), now());
        }
    }

    /// Bytes that the viewer got since the shape came into force.
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

/// Two threads that end with the process, or with a device: one takes packets and says when they arrive, one waits until then.
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
        // A packet that the device does not take is lost, as on any link.
        let _ = to.send(&packet);
    }
}
