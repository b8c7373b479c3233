//! Direct delivery: what a node tells viewers about the other nodes.

use broadcast::direct::{Neighbour, Neighbours};
use broadcast::viewers::Direct;
use media::NodeId;

use crate::site::Site;
use crate::snapshots::MULTIVARIANT;

fn direct() -> Direct {
    let neighbour = |name: &str| Neighbour {
        node: NodeId::new(name).unwrap(),
        url: format!("https://{name}.example.net:8443"),
        is_draining: false,
        streams: Vec::new(),
    };
    let neighbours = Neighbours::of(["b1", "b2"].map(neighbour).to_vec());
    Direct { url: "https://b1.example.net:8443".into(), neighbours }
}

#[tokio::test]
async fn playlist_is_steered_and_the_manifest_is_kept_by_nobody() {
    let site = Site::start_with(Some(direct())).await;
    let playlist = site.get("/live/demo/index.m3u8", &[]).await;
    assert!(playlist.text().ends_with("# steering.json?listed=b1,b2\n"), "{}", playlist.text());
    let manifest = site.get("/live/demo/steering.json?listed=b1,b2&_HLS_pathway=b1", &[]).await;
    assert_eq!((manifest.status, manifest.header("cache-control")), (200, "no-store"));
    assert_eq!(manifest.header("content-type"), "application/json");
    assert_eq!(manifest.header("access-control-allow-origin"), "*");
    let said: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap();
    assert_eq!(said["PATHWAY-PRIORITY"], serde_json::json!(["b1", "b2", ".balancer"]));
    assert_eq!(site.get("/live/nothing/steering.json", &[]).await.status, 404);
    assert!(
        !site.get("/live/demo/dvr.m3u8", &[]).await.text().contains("steering"),
        "recordings are on some nodes only"
    );
}

#[tokio::test]
async fn page_may_load_from_the_nodes() {
    let site = Site::start_with(Some(direct())).await;
    let nodes = "https://b1.example.net:8443 https://b2.example.net:8443;";
    let page = site.get("/watch/demo", &[]).await;
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("connect-src 'self' {nodes}")), "{policy}");
    assert!(policy.contains(&format!("media-src 'self' blob: {nodes}")), "{policy}");
}

#[tokio::test]
async fn without_direct_delivery_nothing_is_steered() {
    let site = Site::start().await;
    assert_eq!(site.get("/live/demo/index.m3u8", &[]).await.text(), MULTIVARIANT);
    assert_eq!(site.get("/live/demo/steering.json", &[]).await.status, 404);
    assert!(!site.get("/", &[]).await.header("content-security-policy").contains("https:"));
}
