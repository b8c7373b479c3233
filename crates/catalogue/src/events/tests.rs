use std::time::Duration;

use media::StreamId;
use serde_json::json;

use super::*;
use crate::streams::tests::{Place, on_both_databases, pepper};
use crate::{
    ApiKey, ApiSecret, Became, Channel, Commit, Edit, Record, Salt, Settled, Settlement, Standing, Stream, StreamKey,
    Tenant, Texts, Webhook,
};
use crate::{Catalogue, LiveState, Outbox};

on_both_databases! {
    each_change_is_one_event_of_its_tenant_and_a_refused_one_is_none
    events_go_to_the_endpoints_that_want_them_and_to_no_others
    deleted_tenant_has_a_last_word_and_only_operators_hear_of_it_besides
    events_of_two_controls_have_one_order_and_sequences_rise_by_one
    lease_is_taken_from_whoever_is_gone_and_a_lost_one_writes_nothing
    outbox_is_bounded_and_says_what_it_has_forgotten
    restored_catalogue_goes_on_above_what_receivers_have_seen
}

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const LEASE: &str = "events";

fn record() -> Record {
    Record {
        id: Id::draw(Kind::Event, NOW),
        at: NOW,
        tenant: None,
        actor: "test".to_owned(),
        credential: String::new(),
        action: "test".to_owned(),
        object: String::new(),
        changes: "{}".to_owned(),
        result: "done".to_owned(),
        request_id: String::new(),
    }
}

async fn make(catalogue: &Catalogue, edit: Edit) -> Result<(), Error> {
    catalogue.commit(Commit { edit, record: record(), answer: None }).await
}

fn tenant(slug: &str) -> Tenant {
    Tenant {
        id: Id::draw(Kind::Tenant, NOW),
        slug: slug.to_owned(),
        name: slug.to_owned(),
        is_suspended: false,
        quota: crate::Quota::default(),
        version: 1,
        created_at: NOW,
    }
}

fn channel(tenant: &Tenant, name: &str) -> Channel {
    let name = StreamId::new(name).unwrap();
    Channel {
        id: Id::draw(Kind::Stream, NOW),
        tenant: tenant.id.clone(),
        texts: Texts::default(),
        key: StreamKey::random().kept(&pepper(), &name),
        name,
        version: 1,
        created_at: NOW,
        pages: crate::Pages::default(),
    }
}

fn webhook(tenant: &Id, kinds: &str) -> Webhook {
    Webhook {
        id: Id::draw(Kind::Webhook, NOW),
        tenant: tenant.clone(),
        url: "https://hooks.example/".to_owned(),
        kinds: kinds.to_owned(),
        disabled: None,
        salt: Salt::draw(),
        old: None,
        failing_since: None,
        version: 1,
        created_at: NOW,
    }
}

fn live(name: &str, kind: &'static str, state: &'static str) -> LiveEvent {
    LiveEvent {
        stream: StreamId::new(name).unwrap(),
        kind,
        state: Some(state),
        epoch: Some(7),
        started_at: Some(NOW),
        more: json!({ "live": { "state": state } }),
    }
}

/// Kinds, sequences and current states of a tenant's events.
async fn told(catalogue: &Catalogue, tenant: &Id) -> Vec<(String, i64, i64, String)> {
    let events = catalogue.events_after(tenant, 0).await.unwrap();
    assert!(events.iter().map(|event| event.position).eq(1..=i64::try_from(events.len()).unwrap()), "without gaps");
    events.into_iter().map(|event| (event.kind, event.sequence, event.current.0, event.current.1)).collect()
}

fn expect(rows: &[(&str, i64, i64, &str)]) -> Vec<(String, i64, i64, String)> {
    rows.iter().map(|(kind, own, newest, state)| ((*kind).to_owned(), *own, *newest, (*state).to_owned())).collect()
}

async fn each_change_is_one_event_of_its_tenant_and_a_refused_one_is_none(place: Place) {
    let catalogue = place.open().await;
    let acme = tenant("acme");
    make(&catalogue, Edit::CreateTenant(acme.clone())).await.unwrap();
    let hall = channel(&acme, "acme.hall");
    make(&catalogue, Edit::CreateChannel(hall.clone())).await.unwrap();
    assert!(make(&catalogue, Edit::CreateChannel(channel(&acme, "acme.hall"))).await.is_err());
    let titled = Channel { texts: Texts { title: "Choir".to_owned(), ..Texts::default() }, version: 2, ..hall.clone() };
    make(&catalogue, Edit::UpdateChannel(titled.clone())).await.unwrap();
    assert!(make(&catalogue, Edit::UpdateChannel(titled.clone())).await.is_err(), "of another version");
    let key = StreamKey::random().kept(&pepper(), &hall.name);
    make(&catalogue, Edit::UpdateChannel(Channel { key, version: 3, ..titled })).await.unwrap();
    // What the operator's commands and the configuration change.
    catalogue.set_key(&hall.name, &StreamKey::random().kept(&pepper(), &hall.name)).await.unwrap();
    catalogue.set_visibility(&hall.name, "token").await.unwrap();
    catalogue.take_lease(LEASE, "c1", None).await.unwrap();
    catalogue
        .live(LEASE, "c1", vec![live("acme.hall", "stream.live", "live"), live("none", "stream.live", "live")])
        .await
        .unwrap();
    assert_eq!(
        told(&catalogue, &acme.id).await,
        expect(&[
            ("stream.created", 1, 6, "live"),
            ("stream.updated", 2, 6, "live"),
            ("stream.key_rotated", 3, 6, "live"),
            ("stream.key_rotated", 4, 6, "live"),
            ("stream.updated", 5, 6, "live"),
            ("stream.live", 6, 6, "live"),
        ])
    );
    let event = catalogue.events_after(&acme.id, 5).await.unwrap().remove(0);
    let object: Json = serde_json::from_str(&event.object).unwrap();
    assert_eq!(
        (object["title"].as_str(), object["live"]["state"].as_str(), event.epoch),
        (Some("Choir"), Some("live"), Some(7))
    );
    let states = catalogue.live_states().await.unwrap();
    assert_eq!(states, [LiveState { stream: hall.name.clone(), state: "live".to_owned(), epoch: 7, started_at: NOW }]);

    let id = Id::draw(Kind::ApiKey, NOW);
    let secret = ApiSecret::draw(&id);
    let (digest, hint) = (secret.digest(), secret.hint());
    let (name, scopes) = ("a program".to_owned(), "streams:read".to_owned());
    let (old, expires_at, last_used_at, tenant) = (None, None, None, acme.id.clone());
    let key =
        ApiKey { id, tenant, name, scopes, digest, hint, old, expires_at, last_used_at, version: 1, created_at: NOW };
    make(&catalogue, Edit::CreateApiKey(key.clone())).await.unwrap();
    make(&catalogue, Edit::DeleteApiKey(key)).await.unwrap();
    catalogue.delete_stream(&hall.name).await.unwrap();
    let last: Vec<_> = told(&catalogue, &acme.id).await.split_off(6);
    assert_eq!(
        last,
        expect(&[
            ("api_key.created", 1, 2, "deleted"),
            ("api_key.deleted", 2, 2, "deleted"),
            ("stream.deleted", 7, 7, "deleted")
        ])
    );
    // A state is an event once.
    let noted = |state: &str| Noted {
        tenant: acme.id.clone(),
        of_stream: None,
        kind: "token.revoked",
        subject: "jti:1".to_owned(),
        state: state.to_owned(),
        object: json!({}),
    };
    catalogue.note_states(vec![noted("revoked"), noted("revoked")]).await.unwrap();
    catalogue.note_states(vec![noted("revoked")]).await.unwrap();
    assert_eq!(told(&catalogue, &acme.id).await.len(), 10);
    make(&catalogue, Edit::DeleteTenant(acme.clone())).await.unwrap();
    for outbox in [&acme.id, &Id::default_tenant()] {
        assert_eq!(told(&catalogue, outbox).await, expect(&[("tenant.deleted", 1, 1, "deleted")]));
    }
    catalogue.prune_events().await.unwrap();
    assert_eq!(told(&catalogue, &acme.id).await, [], "nobody waits for it");
    assert_eq!(told(&catalogue, &Id::default_tenant()).await.len(), 1);
}

async fn deleted_tenant_has_a_last_word_and_only_operators_hear_of_it_besides(place: Place) {
    let catalogue = place.open().await;
    let (acme, home) = (tenant("acme"), Id::default_tenant());
    make(&catalogue, Edit::CreateTenant(acme.clone())).await.unwrap();
    let [own, streams, off, anybody, operators] = [
        (&acme.id, "*"),
        (&acme.id, "stream.*"),
        (&acme.id, "tenant.deleted"),
        (&home, "*"),
        (&home, "stream.live tenant.*"),
    ]
    .map(|(tenant, kinds)| webhook(tenant, kinds));
    for new in [&own, &streams, &off, &anybody, &operators] {
        make(&catalogue, Edit::CreateWebhook(new.clone())).await.unwrap();
    }
    let disabled = Some("it is off".to_owned());
    make(&catalogue, Edit::UpdateWebhook(Webhook { disabled, version: 2, ..off })).await.unwrap();
    make(&catalogue, Edit::CreateChannel(channel(&acme, "acme.hall"))).await.unwrap();
    make(&catalogue, Edit::DeleteTenant(acme.clone())).await.unwrap();
    let pending = catalogue.pending(0).await.unwrap();
    let to: Vec<_> = pending.iter().map(|one| (one.webhook.clone(), one.sequence)).collect();
    assert_eq!(to, [(own.id.clone(), 1), (operators.id.clone(), 1)], "and nothing of what waited before");
    catalogue.prune_events().await.unwrap();
    let active = async || -> Vec<Id> {
        let mut all: Vec<_> = catalogue.active_webhooks().await.unwrap().into_iter().map(|one| one.id).collect();
        all.sort();
        all
    };
    let sorted = |ids: &[&Webhook]| {
        let mut ids: Vec<_> = ids.iter().map(|one| one.id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(active().await, sorted(&[&own, &anybody, &operators]), "one waits for the last word");
    let (event, endpoint) = catalogue.to_deliver(pending[0].number, &acme.id, &own.id).await.unwrap().unwrap();
    assert_eq!((event.kind.as_str(), &event.tenant, endpoint.id), ("tenant.deleted", &acme.id, own.id.clone()));
    catalogue.take_lease(LEASE, "c1", None).await.unwrap();
    let delivered = Settled {
        number: pending[0].number,
        became: Became::Delivered,
        attempts: 1,
        first_failed_at: None,
        answered_at: Some(NOW),
        status: Some(200),
        error: None,
    };
    let settlement = Settlement { deliveries: vec![delivered], endpoints: Vec::new() };
    catalogue.settle(LEASE, "c1", settlement).await.unwrap();
    catalogue.prune_events().await.unwrap();
    assert_eq!(active().await, sorted(&[&anybody, &operators]), "and goes with it");
    assert_eq!(told(&catalogue, &acme.id).await, []);
}

async fn events_go_to_the_endpoints_that_want_them_and_to_no_others(place: Place) {
    let catalogue = place.open().await;
    let (acme, other) = (tenant("acme"), tenant("other"));
    for new in [&acme, &other] {
        make(&catalogue, Edit::CreateTenant(new.clone())).await.unwrap();
    }
    let [all, streams, keys, foreign] =
        [(&acme, "*"), (&acme, "stream.created stream.*"), (&acme, "api_key.created stream.deleted"), (&other, "*")]
            .map(|(tenant, kinds)| webhook(&tenant.id, kinds));
    for new in [&all, &streams, &keys, &foreign] {
        make(&catalogue, Edit::CreateWebhook(new.clone())).await.unwrap();
    }
    let mut hall = channel(&acme, "acme.hall");
    make(&catalogue, Edit::CreateChannel(hall.clone())).await.unwrap();
    let pending = catalogue.pending(0).await.unwrap();
    let to: Vec<&Id> = pending.iter().map(|one| &one.webhook).collect();
    assert!(to.len() == 2 && to.contains(&&all.id) && to.contains(&&streams.id), "{pending:?}");
    assert_eq!(pending[0].sequence, 1);
    let (event, endpoint) = catalogue.to_deliver(pending[0].number, &acme.id, to[0]).await.unwrap().unwrap();
    assert_eq!((event.kind.as_str(), endpoint.kinds.is_empty()), ("stream.created", false));

    // What came of them; an endpoint that is disabled gets nothing more, and the tenant's others hear of it.
    catalogue.take_lease(LEASE, "c1", None).await.unwrap();
    let settled = |number, became| Settled {
        number,
        became,
        attempts: 1,
        first_failed_at: Some(NOW),
        answered_at: Some(NOW),
        status: Some(500),
        error: Some("the receiver answered 500".to_owned()),
    };
    let first = Settlement {
        deliveries: vec![
            settled(pending[0].number, Became::Delivered),
            settled(pending[1].number, Became::Waits(UnixMillis(5))),
        ],
        endpoints: vec![((acme.id.clone(), pending[1].webhook.clone()), Standing::FailingSince(NOW))],
    };
    catalogue.settle(LEASE, "c1", first).await.unwrap();
    let waits = catalogue.pending(0).await.unwrap();
    assert_eq!(
        (waits.len(), waits[0].attempts, waits[0].due_at, waits[0].first_failed_at),
        (1, 1, UnixMillis(5), Some(NOW))
    );
    let failing = catalogue.find_webhook(&acme.id, waits[0].webhook.as_str()).await.unwrap().unwrap();
    assert_eq!((failing.failing_since, failing.version), (Some(NOW), 1));
    let gone = Standing::Disabled("410".to_owned());
    let second = Settlement { deliveries: Vec::new(), endpoints: vec![((acme.id.clone(), failing.id.clone()), gone)] };
    catalogue.settle(LEASE, "c1", second).await.unwrap();
    let disabled = catalogue.find_webhook(&acme.id, failing.id.as_str()).await.unwrap().unwrap();
    assert_eq!((disabled.disabled.as_deref(), disabled.version), (Some("410"), 2));
    let kinds: Vec<String> = told(&catalogue, &acme.id).await.into_iter().map(|(kind, ..)| kind).collect();
    assert_eq!(kinds, ["stream.created", "webhook.disabled"]);
    let page = crate::Page {
        is_newest_first: true,
        after: None,
        made_after: None,
        made_before: None,
        like: String::new(),
        limit: 9,
    };
    let failed = catalogue.deliveries(&failing.id, "failed", &page).await.unwrap();
    assert_eq!((failed.len(), failed[0].error.as_deref()), (1, Some("the receiver answered 500")));
    assert_eq!(catalogue.find_delivery(&all.id, "dlv_0").await.unwrap(), None);

    hall.version = 1;
    make(&catalogue, Edit::DeleteChannel(hall)).await.unwrap();
    assert!(
        catalogue.pending(0).await.unwrap().iter().all(|one| one.webhook != failing.id && one.webhook != foreign.id)
    );
    assert!(catalogue.pending(0).await.unwrap().iter().any(|one| one.webhook == keys.id));
    let between = catalogue.events_between(&acme.id, (UnixMillis(0), UnixMillis(i64::MAX))).await.unwrap();
    let before = catalogue.delivery_counters().await.unwrap();
    make(&catalogue, Edit::Replay(keys.clone(), between)).await.unwrap();
    let after = catalogue.delivery_counters().await.unwrap();
    assert_eq!((after.0 - before.0, after.1), (3, before.1));
    make(&catalogue, Edit::DeleteWebhook(keys.clone())).await.unwrap();
    assert!(catalogue.pending(0).await.unwrap().iter().all(|one| one.webhook != keys.id));
    let secrets = [&keys.salt, &all.salt].map(|salt| catalogue.webhook_secret(&keys.id, salt));
    assert!(secrets[0] != secrets[1] && secrets[0].len() == 32);
}

async fn events_of_two_controls_have_one_order_and_sequences_rise_by_one(place: Place) {
    let (one, two) = (place.open().await, place.open().await);
    let name = StreamId::new("hall").unwrap();
    let key = StreamKey::random().kept(&pepper(), &name);
    one.create_stream(&Stream { name: name.clone(), key, created_at: NOW }).await.unwrap();
    let write = async |catalogue: &Catalogue| {
        for n in 0..20 {
            catalogue.set_visibility(&name, if n % 2 == 0 { "token" } else { "public" }).await.unwrap();
        }
    };
    tokio::join!(write(&one), write(&two));
    let told = told(&two, &Id::default_tenant()).await;
    assert!(told.iter().map(|(_, sequence, ..)| *sequence).eq(1..=41), "{told:?}");
}

async fn lease_is_taken_from_whoever_is_gone_and_a_lost_one_writes_nothing(place: Place) {
    let (one, two) = (place.open().await, place.open().await);
    let name = StreamId::new("hall").unwrap();
    let key = StreamKey::random().kept(&pepper(), &name);
    one.create_stream(&Stream { name, key, created_at: NOW }).await.unwrap();
    one.take_lease(LEASE, "c1", None).await.unwrap();
    let is_lost = |done: Result<(), Error>| matches!(done, Err(Error::LeaseLost));
    assert!(is_lost(two.take_lease(LEASE, "c2", None).await));
    let seen = two.lease(LEASE).await.unwrap();
    one.beat_lease(LEASE, "c1").await.unwrap();
    assert!(is_lost(two.take_lease(LEASE, "c2", seen).await), "its holder is there");
    let seen = two.lease(LEASE).await.unwrap();
    two.take_lease(LEASE, "c2", seen.clone()).await.unwrap();
    assert!(is_lost(one.take_lease(LEASE, "c3", seen).await), "it was taken meanwhile");
    for lost in [
        one.beat_lease(LEASE, "c1").await,
        one.release_lease(LEASE, "c1").await,
        one.settle(LEASE, "c1", Settlement::default()).await,
        one.live(LEASE, "c1", vec![live("hall", "stream.live", "live")]).await,
    ] {
        assert!(is_lost(lost));
    }
    assert_eq!(told(&one, &Id::default_tenant()).await.len(), 1, "nothing of it was written");
    two.live(LEASE, "c2", vec![live("hall", "stream.live", "live")]).await.unwrap();
    two.release_lease(LEASE, "c2").await.unwrap();
    one.take_lease(LEASE, "c1", None).await.unwrap();
}

async fn outbox_is_bounded_and_says_what_it_has_forgotten(place: Place) {
    let catalogue = place.open().await;
    let (id, name) = (Id::default_tenant(), StreamId::new("hall").unwrap());
    let key = StreamKey::random().kept(&pepper(), &name);
    catalogue.create_stream(&Stream { name: name.clone(), key, created_at: NOW }).await.unwrap();
    make(&catalogue, Edit::CreateWebhook(webhook(&id, "stream.updated"))).await.unwrap();
    // As if there had been very many.
    catalogue.database.edit_by_hand("UPDATE event_heads SET newest = 10097").await;
    for visibility in ["token", "public", "token"] {
        catalogue.set_visibility(&name, visibility).await.unwrap();
    }
    assert_eq!(catalogue.outbox(&id).await.unwrap(), Outbox { newest: 10_100, pruned: 100 }, "10,000 are kept");
    assert_eq!(catalogue.events_after(&id, 0).await.unwrap().len(), 3);
    // A day later: what a delivery still needs is kept, and the outbox does not begin there.
    catalogue.take_lease(LEASE, "c1", None).await.unwrap();
    let settled: Vec<Settled> = catalogue
        .pending(0)
        .await
        .unwrap()
        .iter()
        .zip([Became::Delivered, Became::Failed, Became::Waits(NOW)])
        .map(|(one, became)| Settled {
            number: one.number,
            became,
            attempts: 1,
            first_failed_at: None,
            answered_at: None,
            status: None,
            error: None,
        })
        .collect();
    catalogue.settle(LEASE, "c1", Settlement { deliveries: settled, endpoints: Vec::new() }).await.unwrap();
    catalogue.database.edit_by_hand("UPDATE events SET created_at = created_at - 86400001").await;
    catalogue.set_visibility(&name, "public").await.unwrap();
    catalogue.prune_events().await.unwrap();
    assert_eq!(catalogue.outbox(&id).await.unwrap(), Outbox { newest: 10_101, pruned: 10_100 });
    let kept: Vec<i64> = catalogue.events_after(&id, 0).await.unwrap().iter().map(|event| event.position).collect();
    assert_eq!(kept, [10_099, 10_100, 10_101]);
    catalogue.database.edit_by_hand("UPDATE events SET created_at = created_at - 172800000").await;
    catalogue.database.edit_by_hand("UPDATE deliveries SET created_at = created_at - 259200001").await;
    catalogue.delete_stream(&name).await.unwrap();
    catalogue.prune_events().await.unwrap();
    let (kept, left) = (catalogue.events_after(&id, 0).await.unwrap(), catalogue.pending(0).await.unwrap());
    let kept: Vec<&str> = kept.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!((&kept[..], left.len()), (&["stream.updated", "stream.deleted"][..], 2), "three days are the end");
    catalogue.database.edit_by_hand("UPDATE events SET created_at = 0").await;
    catalogue.prune_events().await.unwrap();
    let subjects = catalogue.database.fetch::<(String,)>("SELECT subject FROM event_subjects", &[]).await.unwrap();
    assert!(subjects.is_empty(), "a stream that is gone is forgotten with its events");
}

async fn restored_catalogue_goes_on_above_what_receivers_have_seen(place: Place) {
    let catalogue = place.open().await;
    let (id, name) = (Id::default_tenant(), StreamId::new("hall").unwrap());
    let key = StreamKey::random().kept(&pepper(), &name);
    catalogue.create_stream(&Stream { name: name.clone(), key, created_at: NOW }).await.unwrap();
    catalogue.mark_restored().await.unwrap();
    catalogue.set_visibility(&name, "token").await.unwrap();
    let outbox = catalogue.outbox(&id).await.unwrap();
    assert!(outbox.pruned > 1 && outbox.newest == outbox.pruned + 1, "{outbox:?}");
    let last = catalogue.events_after(&id, outbox.pruned).await.unwrap().remove(0);
    assert_eq!(last.sequence, RESTORED_STEP + 2);
    assert!(
        Duration::from_millis(u64::try_from(last.created_at.0).unwrap()) > Duration::from_secs(1_600_000_000),
        "the database's time"
    );
}
