//! Limits of the gate, each with its reason.

use std::time::Duration;

/// Streams that a node holds at once, half of them as an edge at most. A window of a 1080p ladder takes 140 MB: 64 owned streams are
/// what a large machine holds, and `media_bytes_max` bounds them besides.
pub const STREAMS_MAX: usize = 128;
/// Streams whose newest seal is remembered, on disk and in memory: all that a catalogue is likely to have.
pub const HEADS_MAX: usize = 4096;
/// Broadcast peers that are known.
pub const PEERS_MAX: usize = 1024;
/// Peers that are asked about a stream whose owners are not present: more would not make an answer more likely.
pub const SOURCES_MAX: usize = 16;

/// Bytes without a seal, per sending node: four seconds of a ladder of 25 Mbit/s, ahead of its seals, with room.
pub const QUARANTINE_BYTES_PER_PEER: u64 = 64 * 1024 * 1024;
/// Objects without a seal, per sending node: 20 renditions of half-second parts for 50 seconds.
pub const QUARANTINE_ENTRIES_PER_PEER: usize = 2048;
/// Bytes without a seal, per stream: twice what one node may send, so that no node fills another's stream.
pub const QUARANTINE_BYTES_PER_STREAM: u64 = 2 * QUARANTINE_BYTES_PER_PEER;
/// Objects without a seal, per stream: as for its bytes.
pub const QUARANTINE_ENTRIES_PER_STREAM: usize = 2 * QUARANTINE_ENTRIES_PER_PEER;
/// Bytes without a seal, all together.
pub const QUARANTINE_BYTES_TOTAL: u64 = 256 * 1024 * 1024;
/// Different bytes for one name: the right ones, and some that are not. More than a few is an attack on memory.
pub const QUARANTINE_CLAIMS_PER_NAME: usize = 4;
/// How long bytes wait for a seal that names them: longer than a broker's reconnect, shorter than anybody notices the memory.
pub const QUARANTINE_WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a named object may be on its way from the ingest before it is pulled from a peer.
pub const PULL_AFTER: Duration = Duration::from_millis(300);
/// Pause after all peers were asked in vain.
pub const PULL_ROUND_PAUSE: Duration = Duration::from_millis(500);
/// Pulls at once per stream: fills a window of 500 objects in a second or two without crowding the listener of a peer.
pub const PULLS_PER_STREAM: usize = 16;
/// A named object that is still missing after this, while nothing before it in the log has come either, is reported; asking goes on.
pub const OBJECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long a missing seal may be late (brokers reorder) before peers are asked for the log.
pub const SEAL_LATE_AFTER: Duration = Duration::from_millis(200);
/// A live stream without a new seal for this long is asked for at peers: the bus may be down. Four rows.
pub const SILENCE_MAX: Duration = Duration::from_secs(2);
/// The same on an edge, to which nobody pushes seals. Its viewers play three parts behind, and an owner's answer has to be here
/// before they run dry. A row and a half.
pub const EDGE_SILENCE_MAX: Duration = Duration::from_millis(750);
/// How long a node waits for its peers' answers before it trusts the first seal of an unknown stream.
pub const JOIN_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a node waits for the other peers once one has answered: a peer that hangs must not keep viewers waiting.
pub const JOIN_ANSWERED_WAIT_MAX: Duration = Duration::from_millis(700);
/// How long a join waits for an epoch's first seal when later ones came before it: the bus delivers the newest at once, the
/// ingest all of them in order.
pub const BEGINNING_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long a node without peers waits for one to appear, from its start.
pub const PEERS_WAIT_MAX: Duration = Duration::from_millis(1500);
/// Seals that wait while a stream is joined: a minute of half-second rows.
pub const JOIN_SEALS_MAX: usize = 128;
/// Verified seals that wait for their bytes: more than a whole window, which is what a late joiner pulls.
pub const PENDING_SEALS_MAX: usize = 4096;
/// A stream without a new seal for this long, ended or not, is dropped from memory; what is on disk stays.
pub const STREAM_IDLE_MAX: Duration = Duration::from_secs(600);
/// A hole in the log that nobody filled for this long is given up: the stream goes on at the next checkpoint. Bytes are given
/// up after [`OBJECT_DEADLINE`].
pub const STUCK_MAX: Duration = Duration::from_secs(10);
/// How long an ingest may take to open an epoch, after a node told it where the log stands: it waits 2 s for the last node to answer.
pub const FENCE_MAX: Duration = Duration::from_secs(4);
/// Init segments that are kept on disk with a head, in bytes: a ladder of 20 has 30 kB.
pub const SAVED_INITS_BYTES_MAX: u64 = 512 * 1024;
/// Seals of keys without a grant that wait for one: an ingest seals as soon as it is granted, and the grant may come later than
/// its first seals. A second of the rows of 64 streams.
pub const UNGRANTED_MAX: usize = 128;
/// How long seals wait for the grant of their key.
pub const UNGRANTED_WAIT_MAX: Duration = Duration::from_secs(3);
