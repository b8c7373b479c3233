//! Where encoders publish a stream: at the ingests that are there and may seal it. Where those are, the metadata log says, as each of them
//! has told control under its own certificate: what nodes claim on the bus leads no encoder, and no key, anywhere.

use std::collections::BTreeSet;

use axum::http::Uri;
use media::{NodeId, StreamId};
use messages::Role;
use metadata::Member;
use node::publish_url::PublishUrl;

use crate::ControlState;
use crate::acknowledged::nodes;
use crate::rows::{POOL, pool_of};

impl ControlState {
    /// Whether an ingest seals the streams of a pool, once it has a grant.
    fn serves_pool(&self, ingest: &Member, pool: &str) -> bool {
        match self.ingest_pools.get(&ingest.node) {
            _ if ingest.is_guest => pool_of(&ingest.node) == pool,
            Some(pools) => pools.iter().any(|known| known == pool),
            None => pool == POOL,
        }
    }

    /// Where encoders publish a stream now. `base_url` is `https://HOST` where somebody has reached this cluster, or empty: an ingest of
    /// the cluster that only says its port is at that host.
    pub(crate) fn publish_urls(&self, stream: &StreamId, base_url: &str) -> Vec<String> {
        let usable: BTreeSet<NodeId> =
            nodes(self).into_iter().filter(|info| info.is_usable()).map(|info| info.presence.node).collect();
        let host = base_url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let mut urls: Vec<String> = self.writer.log().look(|view| {
            let configured = || self.stream_pools.get(stream).map_or(POOL, String::as_str);
            let pool = view.stream(stream).map_or_else(configured, |row| &row.pool);
            let is_there = |member: &&Member| member.role == Role::Ingest && usable.contains(&member.node);
            let ingests = view.members().filter(is_there).filter(|member| self.serves_pool(member, pool));
            let url = |member: &Member| {
                // A streamer's ingest stands elsewhere.
                let host = host.as_deref().filter(|_| !member.is_guest);
                Some(member.public_url.as_ref()?.parse::<PublishUrl>().ok()?.at(host)?.to_string())
            };
            ingests.filter_map(url).collect()
        });
        // Several may share a name.
        urls.sort();
        urls.dedup();
        urls
    }
}
