//! Content steering (RFC 8216bis 7): which nodes a direct viewer may take, and in which order. Pure.
//!
//! A viewer asks for the multivariant playlist and the steering manifest at a balancer, where the page came from. The node that
//! answers them puts itself first. So a balancer that avoids a node, because it drains, is silent or is full, steers that
//! node's direct viewers away from it as well.

use std::collections::BTreeMap;

use media::{NodeId, StreamId};
use playlist::render::{Pathway, Steering};
use serde::Serialize;

use super::RenditionSummary;
use crate::direct::{Neighbour, Neighbours};

/// Pathway of relative URIs: they lead to the server that the page came from. No node has this name, because names of nodes do
/// not begin with a dot.
const BALANCER: &str = ".balancer";
/// How long a steering manifest is valid, in seconds. A player whose node drains waits that long; one whose node dies does not.
const TTL_S: u32 = 5;
/// Nodes that a player is told of: this one, one to use at once when it fails, and some for when both fail.
const NODES_MAX: usize = 6;
/// Nodes that the playlist itself lists: each repeats all variants.
const LISTED: usize = 2;

/// Settings of direct delivery on this node.
#[derive(Debug, Clone)]
pub struct Direct {
    /// The base URL that browsers reach this node by.
    pub url: String,
    /// All nodes that browsers reach directly.
    pub neighbours: Neighbours,
}

/// RFC 8216bis 7.1.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Manifest {
    version: u32,
    ttl: u32,
    reload_uri: String,
    pathway_priority: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pathway_clones: Vec<PathwayClone>,
}

/// RFC 8216bis 7.2: a pathway that the playlist does not list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct PathwayClone {
    base_id: &'static str,
    id: String,
    uri_replacement: Replacement,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "SCREAMING-KEBAB-CASE")]
struct Replacement {
    per_variant_uris: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    per_rendition_uris: BTreeMap<String, String>,
}

impl Direct {
    /// Pathways and steering URI of the multivariant playlist.
    /// `prefix` is that of the viewer's token, if it has one.
    pub(super) fn listed(&self, (node, stream): (&NodeId, &StreamId), prefix: &str) -> Steering {
        let mut nodes = self.nodes(node, stream);
        nodes.truncate(LISTED);
        let server_uri = steering_uri(nodes.iter().map(|(name, _)| name));
        let ways = nodes.iter().map(|(name, url)| Pathway { id: name.to_string(), base: base(url, prefix, stream) });
        let balancer = Pathway { id: BALANCER.to_owned(), base: String::new() };
        Steering { server_uri, pathways: ways.chain([balancer]).collect() }
    }

    /// The steering manifest for a player whose playlist lists the nodes in `query`.
    pub(super) fn manifest(
        &self,
        (node, stream, prefix): (&NodeId, &StreamId, &str),
        query: &str,
        renditions: &[RenditionSummary],
    ) -> String {
        let listed = listed_in(query);
        let nodes = self.nodes(node, stream);
        let unlisted = nodes.iter().filter(|(name, _)| !listed.contains(name));
        let clones = unlisted.map(|(name, url)| PathwayClone {
            base_id: BALANCER,
            id: name.to_string(),
            uri_replacement: replacement(&base(url, prefix, stream), renditions),
        });
        let names = nodes.iter().map(|(name, _)| name.to_string());
        let manifest = Manifest {
            version: 1,
            ttl: TTL_S,
            reload_uri: steering_uri(listed.iter()),
            pathway_priority: names.chain([BALANCER.to_owned()]).collect(),
            pathway_clones: clones.collect(),
        };
        serde_json::to_string(&manifest).expect("text and numbers have a JSON form")
    }

    /// Nodes that a player may use, the one to begin with first: this one, unless it drains.
    fn nodes(&self, node: &NodeId, stream: &StreamId) -> Vec<(NodeId, String)> {
        let own = (!self.neighbours.drains(node)).then(|| (node.clone(), self.url.clone()));
        let others = self.neighbours.others(node, stream).into_iter().map(|Neighbour { node, url, .. }| (node, url));
        own.into_iter().chain(others).take(NODES_MAX).collect()
    }
}

/// URI of the manifest for a playlist that lists these nodes. It is relative to the playlist, so it leads to the balancer,
/// which outlives nodes.
fn steering_uri<'a>(listed: impl Iterator<Item = &'a NodeId>) -> String {
    let names: Vec<&str> = listed.map(NodeId::as_str).collect();
    format!("steering.json?listed={}", names.join(","))
}

/// The nodes that the query's `listed` names; invalid names are left out.
fn listed_in(query: &str) -> Vec<NodeId> {
    let names = query.split('&').find_map(|pair| pair.strip_prefix("listed=")).unwrap_or_default();
    let names = names.split("%2C").flat_map(|names| names.split(','));
    names.take(NODES_MAX).filter_map(|name| NodeId::new(name).ok()).collect()
}

/// The directory of a stream on a node, below the viewer's token.
fn base(url: &str, prefix: &str, stream: &StreamId) -> String {
    format!("{url}{prefix}/live/{stream}/")
}

/// URIs of all playlists below another base, by the names that [`playlist::render::steered`] gives them. Replacing the host
/// alone is not enough: a host comes without a port.
fn replacement(base: &str, renditions: &[RenditionSummary]) -> Replacement {
    let has_pictures = renditions.iter().any(|rendition| rendition.width.is_some());
    let (mut per_variant_uris, mut per_rendition_uris) = (BTreeMap::new(), BTreeMap::new());
    for RenditionSummary { name, width, .. } in renditions {
        let playlist = (name.to_string(), format!("{base}{name}/index.m3u8"));
        match width {
            Some(_) => {
                per_variant_uris.extend([playlist, (format!("{name}-iframes"), format!("{base}{name}/iframes.m3u8"))]);
            }
            None if has_pictures => per_rendition_uris.extend([playlist]),
            None => per_variant_uris.extend([playlist]),
        }
    }
    Replacement { per_variant_uris, per_rendition_uris }
}

#[cfg(test)]
mod tests {
    use media::{BitsPerSecond, RenditionId};

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn demo() -> StreamId {
        StreamId::new("demo").unwrap()
    }

    /// `b1` among others, of which `b2` has the stream.
    fn direct(draining: &[&str]) -> Direct {
        let neighbour = |name: &str| Neighbour {
            node: node(name),
            url: format!("https://{name}.example.net:8443"),
            is_draining: draining.contains(&name),
            streams: if name == "b2" { vec![demo()] } else { Vec::new() },
        };
        let neighbours = Neighbours::of(["b1", "b2", "b3"].map(neighbour).to_vec());
        Direct { url: "https://b1.example.net:8443".into(), neighbours }
    }

    fn renditions() -> Vec<RenditionSummary> {
        let rendition = |name: &str, width| RenditionSummary {
            name: RenditionId::new(name).unwrap(),
            codec: String::new(),
            width,
            height: None,
            frame_rate: None,
            bandwidth: BitsPerSecond(1),
        };
        vec![rendition("720p", Some(1280)), rendition("audio", None)]
    }

    fn manifest(direct: &Direct, query: &str) -> String {
        direct.manifest((&node("b1"), &demo(), ""), query, &renditions())
    }

    #[test]
    fn playlist_lists_this_node_one_other_and_the_balancer() {
        let Steering { server_uri, pathways } = direct(&[]).listed((&node("b1"), &demo()), "");
        assert_eq!(server_uri, "steering.json?listed=b1,b2");
        let pathways: Vec<(&str, &str)> = pathways.iter().map(|way| (way.id.as_str(), way.base.as_str())).collect();
        let expected = [
            ("b1", "https://b1.example.net:8443/live/demo/"),
            ("b2", "https://b2.example.net:8443/live/demo/"),
            (".balancer", ""),
        ];
        assert_eq!(pathways, expected);
    }

    #[test]
    fn manifest_names_all_and_clones_those_that_the_playlist_does_not_list() {
        let expected = concat!(
            r#"{"VERSION":1,"TTL":5,"RELOAD-URI":"steering.json?listed=b1,b2","#,
            r#""PATHWAY-PRIORITY":["b1","b2","b3",".balancer"],"PATHWAY-CLONES":[{"BASE-ID":".balancer","ID":"b3","#,
            r#""URI-REPLACEMENT":{"PER-VARIANT-URIS":{"720p":"https://b3.example.net:8443/live/demo/720p/index.m3u8","#,
            r#""720p-iframes":"https://b3.example.net:8443/live/demo/720p/iframes.m3u8"},"#,
            r#""PER-RENDITION-URIS":{"audio":"https://b3.example.net:8443/live/demo/audio/index.m3u8"}}}]}"#,
        );
        assert_eq!(manifest(&direct(&[]), "_HLS_pathway=b1&listed=b1,b2&_HLS_throughput=1"), expected);
        assert_eq!(manifest(&direct(&[]), "listed=b1%2Cb2"), expected, "as browsers may spell it");
        let all = manifest(&direct(&[]), "listed=b1,b2,b3,%22,");
        assert!(!all.contains("CLONES") && all.contains(r#""RELOAD-URI":"steering.json?listed=b1,b2,b3""#), "{all}");
    }

    #[test]
    fn node_that_drains_is_not_for_viewers() {
        let direct = direct(&["b1", "b3"]);
        let all = manifest(&direct, "listed=b1,b2");
        assert!(all.contains(r#""PATHWAY-PRIORITY":["b2",".balancer"]"#), "{all}");
        let Steering { pathways, .. } = direct.listed((&node("b1"), &demo()), "");
        assert_eq!(pathways.iter().map(|way| way.id.as_str()).collect::<Vec<_>>(), ["b2", ".balancer"]);
    }

    #[test]
    fn absolute_uris_repeat_the_token() {
        let Steering { server_uri, pathways } = direct(&[]).listed((&node("b1"), &demo()), "/t/scv_abc");
        assert_eq!(server_uri, "steering.json?listed=b1,b2");
        assert_eq!(pathways[0].base, "https://b1.example.net:8443/t/scv_abc/live/demo/");
        assert_eq!(pathways[2].base, "", "relative URIs keep the path");
        let manifest = direct(&[]).manifest((&node("b1"), &demo(), "/t/scv_abc"), "listed=b1,b2", &renditions());
        assert!(manifest.contains("https://b3.example.net:8443/t/scv_abc/live/demo/720p/index.m3u8"), "{manifest}");
        assert!(!manifest.contains(":8443/live/"), "{manifest}");
    }

    #[test]
    fn sound_alone_is_a_variant() {
        let sound: Vec<RenditionSummary> = renditions().split_off(1);
        let Replacement { per_variant_uris, per_rendition_uris } = replacement("https://b3/live/demo/", &sound);
        assert_eq!(per_variant_uris.into_values().collect::<Vec<_>>(), ["https://b3/live/demo/audio/index.m3u8"]);
        assert!(per_rendition_uris.is_empty());
    }
}
