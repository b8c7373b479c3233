//! What ingests do about tenants: suspended ones publish nothing, and quotas are what the metadata log says.

use std::time::Duration;

use messages::SessionState;
use metadata::{Body, Tenant, TenantQuota};

use crate::cluster::{Cluster, KEY, text};

fn default_tenant(is_suspended: bool, quota: TenantQuota) -> Body {
    Body::Tenant(Tenant {
        slug: "default".to_owned(),
        id: "ten_00000000000000000000000000".to_owned(),
        is_suspended,
        quota,
        created_at: media::UnixMillis(0),
    })
}

/// Publishes until that is refused in these words: the ingest may not have the row yet.
async fn until_refused(cluster: &Cluster, words: &str) {
    let refused = async { while !text(&cluster.publish(&cluster.url("live", KEY), 1).end().await).contains(words) {} };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("it is refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_that_is_suspended_or_above_its_quota_loses_its_publisher_and_gets_no_other() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 1).await;
    let url = cluster.url("live", KEY);
    let says = async |is_suspended, quota| cluster.control.write(default_tenant(is_suspended, quota)).await;
    // Without a quota of its own, and then with one far below what comes.
    says(false, TenantQuota::default()).await;
    let publisher = cluster.publish(&url, 60);
    cluster.session(SessionState::Live).await;
    says(false, TenantQuota { input_bps: Some(1_000), ..TenantQuota::default() }).await;
    let output = publisher.end().await;
    assert!(text(&output).contains("and its quota is 1000: lower the bit rate"), "{}", text(&output));
    cluster.session(SessionState::Ended).await;

    says(false, TenantQuota { publishers: Some(0), ..TenantQuota::default() }).await;
    until_refused(&cluster, "0 of this tenant's streams are being published, which is its quota").await;
    cluster.session(SessionState::Ended).await;
    says(false, TenantQuota { publishers: Some(1), ..TenantQuota::default() }).await;
    // Refused while the row is on its way.
    let publisher = loop {
        let refused = cluster.refused("tenant_quota").await;
        let publisher = cluster.publish(&url, 60);
        tokio::select! {
            _ = cluster.session(SessionState::Live) => break publisher,
            () = cluster.eventually_refused("tenant_quota", refused + 1) => {}
        }
    };
    // A quota that is lowered cuts nobody; a suspension does.
    says(false, TenantQuota { publishers: Some(0), ..TenantQuota::default() }).await;
    says(true, TenantQuota::default()).await;
    let output = publisher.end().await;
    assert!(text(&output).contains("The operator has suspended the tenant of this stream."), "{}", text(&output));
    until_refused(&cluster, "The operator has suspended the tenant of this stream.").await;
    cluster.stop().await;
}
