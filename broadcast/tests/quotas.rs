//! Quotas of tenants on real nodes: who may begin to watch, and who goes on.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod support;

use http::StatusCode;
use media::UnixMillis;
use metadata::{Body, StreamSettings, Tenant, TenantQuota, Visibility};
use support::{Zone, eventually};
use testkit::studio::{Studio, stream};

fn tenant(slug: &str, egress_bps: Option<u64>) -> Body {
    Body::Tenant(Tenant {
        slug: slug.to_owned(),
        id: format!("ten_{slug}"),
        is_suspended: false,
        quota: TenantQuota { egress_bps, ..TenantQuota::default() },
        created_at: UnixMillis(0),
    })
}

fn row(name: &str, tenant: Option<&str>) -> Body {
    Body::Stream(StreamSettings {
        name: stream(name),
        pool: "default".to_owned(),
        key_macs: Vec::new(),
        visibility: Visibility::Public,
        title: String::new(),
        tenant: tenant.map(str::to_owned),
        pages: metadata::PageSettings::default(),
    })
}

/// Case A9: on every node, also on one that nobody watches.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_begins_above_the_quota_of_egress_and_whoever_watches_goes_on() {
    let zone = Zone::start().await;
    let (b1, b2) = (zone.node("b1").await, zone.node("b2").await);
    for body in [tenant("default", None), tenant("acme", None), row("acme.hall", Some("acme")), row("demo", None)] {
        zone.granter.write(body).await.unwrap();
    }
    let (mut hall, mut demo) = (Studio::new("acme.hall", zone.now()), Studio::new("demo", zone.now()));
    let (i1, i2) = (zone.ingest("i1", &hall).await, zone.ingest("i2", &demo).await);
    i1.play(&[&b1, &b2], &mut hall).await;
    i2.play(&[&b1, &b2], &mut demo).await;
    let (entrance, watched) = ("/live/acme.hall/index.m3u8", "/live/acme.hall/1080p/index.m3u8");
    for node in [&b1, &b2] {
        assert_eq!(node.get(entrance).await.0, StatusCode::OK, "there is no quota");
    }
    zone.granter.write(tenant("acme", Some(1_000))).await.unwrap();
    let plays = b1.get(watched).await;
    for node in [&b1, &b2] {
        let is_full = async || {
            // Somebody watches on the first node.
            assert_eq!(b1.get(watched).await.0, StatusCode::OK);
            node.get(entrance).await.0 == StatusCode::FORBIDDEN
        };
        eventually("the quota is used up", is_full).await;
        let refused = String::from_utf8(node.get(entrance).await.1.to_vec()).unwrap();
        assert!(refused.contains("/api/v1/problems/quota"), "{refused}");
        assert_eq!(node.get("/live/acme.hall/dvr.m3u8").await.0, StatusCode::FORBIDDEN);
        assert_eq!(node.get(watched).await, plays, "and sees what it saw");
        assert_eq!(node.get("/live/demo/index.m3u8").await.0, StatusCode::OK, "another tenant has another quota");
        let page = String::from_utf8(node.get("/watch/acme.hall").await.1.to_vec()).unwrap();
        assert!(!page.contains("#EXTM3U"), "no page begins with what its player would be refused");
    }
    assert!(zone.metrics().await.contains("viewers_quota_refusals_total"));
    zone.granter.write(tenant("acme", None)).await.unwrap();
    for node in [&b1, &b2] {
        eventually("there is no quota any more", async || node.get(entrance).await.0 == StatusCode::OK).await;
    }
}
