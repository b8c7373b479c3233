//! What tenants use of the cluster now, as its nodes say it: publishers and their bit rates by the reports of ingests, bits to viewers and
//! bytes of recordings by the presences of broadcast nodes.

use std::collections::BTreeMap;

use catalogue::DEFAULT_SLUG;
use cluster::Health;
use messages::Role;

use crate::ControlState;

/// What a tenant uses now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Streams that are published.
    pub(crate) publishers: u64,
    /// Bit rate of all publishers together, as a mean over eight seconds.
    pub(crate) input_bps: u64,
    /// Bit rate to all viewers together, as a mean over ten seconds.
    pub(crate) egress_bps: u64,
    /// Bytes that recordings take on the disks of all nodes, copies included.
    pub(crate) storage_bytes: u64,
}

impl ControlState {
    /// What each tenant uses that uses something, by its slug.
    pub(crate) fn usage(&self) -> BTreeMap<String, Usage> {
        let mut all: BTreeMap<String, Usage> = BTreeMap::new();
        let inputs = self.view.published(self.node.clock.now());
        self.writer.log().look(|view| {
            for (stream, bit_rate) in &inputs {
                let usage = all.entry(view.owner(stream).unwrap_or(DEFAULT_SLUG).to_owned()).or_default();
                usage.publishers += 1;
                usage.input_bps = usage.input_bps.saturating_add(bit_rate.0);
            }
        });
        self.cluster.look(|cluster| {
            let nodes = cluster
                .members
                .members()
                .filter(|member| member.presence.role == Role::Broadcast && cluster.health(member) != Health::Offline);
            for load in nodes.flat_map(|member| &member.presence.tenants) {
                let usage = all.entry(load.tenant.clone()).or_default();
                usage.egress_bps = usage.egress_bps.saturating_add(load.egress.0);
                usage.storage_bytes = usage.storage_bytes.saturating_add(load.storage_bytes);
            }
        });
        all
    }
}
