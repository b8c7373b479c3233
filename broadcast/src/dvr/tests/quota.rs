use std::collections::BTreeSet;

use access::{Facts, Rules};

use crate::quotas::Limits;

use super::*;

/// The log has the tenant `default` with this quota, and these streams.
fn knows(disk: &Disk, storage_bytes: Option<u64>, streams: &[&str]) {
    let known: BTreeSet<StreamId> = streams.iter().map(|name| studio::stream(name)).collect();
    let facts = Facts { known: Some(known), ..Facts::of(studio::cluster()) };
    let limits = Limits { egress_bps: None, storage_bytes };
    disk.quotas.know([("default".to_owned(), limits)].into_iter(), Arc::new(Rules::from_facts(facts)));
}

/// What all nodes say: this one, and another one that has as much.
fn measured(disk: &Disk, others: u64) {
    disk.quotas.measure(disk.clock.elapsed(), &[("default".to_owned(), (0, others))].into());
}

fn stored(disk: &Disk) -> u64 {
    disk.quotas.said().first().map_or(0, |load| load.storage_bytes)
}

#[tokio::test]
async fn oldest_of_a_tenant_goes_where_nodes_have_more_than_its_quota_and_nothing_of_others() {
    let mut disk = Disk::new(Duration::from_secs(3_600));
    knows(&disk, None, &["demo"]);
    let mut studio = disk.studio(disk.clock.wall().minus(Duration::from_secs(600)));
    let rows = history(&mut studio, 12, disk.clock.wall());
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 10).await;
    eventually("the tenant's bytes are said", || stored(&disk) > 0).await;
    measured(&disk, 0);
    let all = stored(&disk);
    assert!(deck.dvr.keeps(&segment("360p", 1, 0)), "nobody has set a limit");
    // Another node has as much, so each keeps half of what is allowed.
    knows(&disk, Some(all / 4 * 6), &["demo"]);
    measured(&disk, all);
    eventually("a quarter of it is gone", || stored(&disk) <= all / 4 * 3).await;
    let kept: Vec<u64> = (0..=10).filter(|msn| deck.dvr.keeps(&segment("360p", 1, *msn))).collect();
    assert!(kept.first() > Some(&0) && kept.last() == Some(&10), "the oldest went: {kept:?}");
    deck.stop();
}

#[tokio::test]
async fn recording_of_a_deleted_stream_is_removed_from_the_disk() {
    let mut disk = Disk::new(Duration::from_secs(3_600));
    knows(&disk, None, &["demo", "other"]);
    let mut studio = disk.studio(disk.clock.wall().minus(Duration::from_secs(600)));
    let rows = history(&mut studio, 3, disk.clock.wall());
    let mut deck = disk.start();
    deck.take_all(&rows);
    deck.kept(1, 1).await;
    knows(&disk, None, &["other"]);
    eventually("the files are gone", || disk.files().is_empty()).await;
    assert!(!deck.dvr.has(&studio::stream("demo")));
    // What comes of it still is not kept.
    deck.take_all(&rows);
    eventually("nothing waits", || deck.feed.is_idle()).await;
    assert!(disk.files().is_empty());
    deck.stop();
}
