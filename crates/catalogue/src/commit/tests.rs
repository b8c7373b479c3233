use media::StreamId;

use super::*;
use crate::rows::Page;
use crate::streams::tests::{Place, on_both_databases, pepper};
use crate::{ApiSecret, Break, Kind, Pages, Quota, StreamKey, Texts};

on_both_databases! {
    tenant_has_its_own_streams_and_keys_and_they_go_with_it
    of_two_changes_of_one_version_the_second_is_refused
    change_record_and_answer_are_made_together_or_not_at_all
    records_of_two_controls_are_one_chain_and_an_edited_one_is_named
    version_before_reads_and_makes_streams_beside_this_one
    pages_follow_one_another_in_both_directions
    what_a_stream_says_of_pages_is_kept_and_ends_with_it
    answers_of_a_tenant_have_a_bound_and_the_oldest_go
}

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

pub(crate) fn tenant(slug: &str, streams: Option<i64>) -> Tenant {
    Tenant {
        id: Id::draw(Kind::Tenant, NOW),
        slug: slug.to_owned(),
        name: slug.to_uppercase(),
        is_suspended: false,
        quota: Quota { streams, ..Quota::default() },
        version: 1,
        created_at: NOW,
    }
}

fn channel(tenant: &Tenant, name: &str, at: i64) -> Channel {
    let (created_at, name) = (UnixMillis(at), StreamId::new(name).unwrap());
    Channel {
        id: Id::draw(Kind::Stream, created_at),
        tenant: tenant.id.clone(),
        texts: Texts { title: format!("Title of {name}"), ..Texts::default() },
        pages: Pages::default(),
        key: StreamKey::random().kept(&pepper(), &name),
        name,
        version: 1,
        created_at,
    }
}

fn api_key(tenant: &Tenant) -> (ApiKey, ApiSecret) {
    let id = Id::draw(Kind::ApiKey, NOW);
    let secret = ApiSecret::draw(&id);
    let key = ApiKey {
        id,
        tenant: tenant.id.clone(),
        name: "a program".to_owned(),
        scopes: "streams:read".to_owned(),
        digest: secret.digest(),
        hint: secret.hint(),
        old: None,
        expires_at: Some(UnixMillis(NOW.0 + 5)),
        last_used_at: None,
        version: 1,
        created_at: NOW,
    };
    (key, secret)
}

fn record(action: &str) -> Record {
    Record {
        id: Id::draw(Kind::Event, NOW),
        at: NOW,
        tenant: None,
        actor: "api_key".to_owned(),
        credential: "key_x".to_owned(),
        action: action.to_owned(),
        object: "x".to_owned(),
        changes: "{}".to_owned(),
        result: "done".to_owned(),
        request_id: "req_x".to_owned(),
    }
}

pub(crate) async fn make(catalogue: &Catalogue, edit: Edit) -> Result<(), Error> {
    catalogue.commit(Commit { edit, record: record("test"), answer: None }).await
}

fn first_page(limit: i64) -> Page {
    Page { is_newest_first: false, after: None, made_after: None, made_before: None, like: String::new(), limit }
}

async fn tenant_has_its_own_streams_and_keys_and_they_go_with_it(place: Place) {
    let catalogue = place.open().await;
    let default = catalogue.find_tenant("default").await.unwrap().expect("it is always there");
    assert!(default.is_default());
    let (a, b) = (tenant("a-corp", Some(1)), tenant("b-corp", None));
    for new in [&a, &b] {
        make(&catalogue, Edit::CreateTenant(new.clone())).await.unwrap();
    }
    let same = make(&catalogue, Edit::CreateTenant(tenant("a-corp", None))).await;
    assert!(matches!(same, Err(Error::SlugTaken(_))), "{same:?}");
    let (of_a, of_b) = (channel(&a, "a-corp.hall", 1), channel(&b, "b-corp.hall", 1));
    for new in [&of_a, &of_b] {
        make(&catalogue, Edit::CreateChannel(new.clone())).await.unwrap();
    }
    let more = make(&catalogue, Edit::CreateChannel(channel(&a, "a-corp.more", 1))).await;
    assert!(matches!(more, Err(Error::Quota { quota: 1, .. })), "{more:?}");
    let (key, secret) = api_key(&a);
    make(&catalogue, Edit::CreateApiKey(key.clone())).await.unwrap();
    catalogue.api_key_used(&key.id, NOW).await.unwrap();
    let known = catalogue.known_api_key(&key.id).await.unwrap().unwrap();
    assert_eq!(known, ApiKey { last_used_at: Some(NOW), ..key.clone() });
    assert!(known.accepts(&secret, NOW) && !known.is_expired(NOW) && known.is_expired(UnixMillis(NOW.0 + 5)));

    for name in [of_a.id.as_str(), "a-corp.hall"] {
        assert_eq!(catalogue.find_channel(&a.id, name).await.unwrap().as_ref(), Some(&of_a));
        assert_eq!(catalogue.find_channel(&b.id, name).await.unwrap(), None);
    }
    assert_eq!(catalogue.find_api_key(&b.id, key.id.as_str()).await.unwrap(), None);
    assert_eq!(catalogue.channels(&b.id, &first_page(9)).await.unwrap(), [of_b]);
    assert_eq!(catalogue.titles().await.unwrap().get("a-corp.hall").map(String::as_str), Some("Title of a-corp.hall"));

    let belongings = catalogue.belongings(&a.id).await.unwrap();
    assert_eq!((belongings.streams, belongings.api_keys), (1, 1));
    for name in ["a-corp.hall", "b-corp.hall"] {
        catalogue.set_visibility(&StreamId::new(name).unwrap(), "token").await.unwrap();
    }
    make(&catalogue, Edit::DeleteTenant(a.clone())).await.unwrap();
    // Who could watch goes with the stream.
    assert!(catalogue.visibilities().await.unwrap().keys().map(StreamId::as_str).eq(["b-corp.hall"]));
    assert_eq!(catalogue.find_tenant("a-corp").await.unwrap(), None);
    assert_eq!(catalogue.known_api_key(&key.id).await.unwrap(), None);
    let left: Vec<String> = catalogue.streams().await.unwrap().iter().map(|stream| stream.name.to_string()).collect();
    assert_eq!(left, ["b-corp.hall"]);
    let late = make(&catalogue, Edit::CreateChannel(of_a)).await;
    assert!(matches!(late, Err(Error::Gone)), "{late:?}");
    // What the operator names after a tenant is the tenant's, and no tenant takes what is there.
    let named = |name: &str| {
        let name = StreamId::new(name).unwrap();
        crate::Stream { key: StreamKey::random().kept(&pepper(), &name), name, created_at: NOW }
    };
    catalogue.create_stream(&named("b-corp.more")).await.unwrap();
    catalogue.create_stream(&named("c-corp.hall")).await.unwrap();
    assert_eq!(catalogue.belongings(&b.id).await.unwrap().streams, 2);
    let taken = make(&catalogue, Edit::CreateTenant(tenant("c-corp", None))).await;
    assert!(matches!(taken, Err(Error::SlugOfStream { .. })), "{taken:?}");
}

async fn of_two_changes_of_one_version_the_second_is_refused(place: Place) {
    let (catalogue, other) = (place.open().await, place.open().await);
    let default = catalogue.find_tenant("default").await.unwrap().unwrap();
    let new = channel(&default, "hall", 1);
    make(&catalogue, Edit::CreateChannel(new.clone())).await.unwrap();
    let titled = |title: &str| {
        let texts = Texts { title: title.to_owned(), ..Texts::default() };
        Edit::UpdateChannel(Channel { texts, version: 2, ..new.clone() })
    };
    let (one, two) = tokio::join!(make(&catalogue, titled("one")), make(&other, titled("two")));
    assert_eq!([&one, &two].iter().filter(|done| done.is_ok()).count(), 1, "{one:?} {two:?}");
    let lost = if one.is_err() { one } else { two };
    assert!(matches!(lost, Err(Error::VersionMismatch)), "{lost:?}");
    let deleted = make(&catalogue, Edit::DeleteChannel(new.clone())).await;
    assert!(matches!(deleted, Err(Error::VersionMismatch)), "it has version 2: {deleted:?}");
    catalogue.set_visibility(&new.name, "token").await.unwrap();
    make(&catalogue, Edit::DeleteChannel(Channel { version: 3, ..new })).await.unwrap();
    assert!(catalogue.visibilities().await.unwrap().is_empty(), "another of its name is public");
    let (key, _) = api_key(&default);
    make(&catalogue, Edit::CreateApiKey(key.clone())).await.unwrap();
    let rotated = ApiKey { version: 2, old: Some((key.digest, NOW)), ..key.clone() };
    make(&catalogue, Edit::UpdateApiKey(rotated.clone())).await.unwrap();
    assert_eq!(catalogue.known_api_key(&key.id).await.unwrap(), Some(rotated));
    assert!(matches!(make(&catalogue, Edit::DeleteApiKey(key)).await, Err(Error::VersionMismatch)));
    let suspended = Tenant { is_suspended: true, version: 2, ..default };
    make(&catalogue, Edit::UpdateTenant(suspended.clone())).await.unwrap();
    assert_eq!(catalogue.find_tenant("default").await.unwrap(), Some(suspended));
}

async fn change_record_and_answer_are_made_together_or_not_at_all(place: Place) {
    let catalogue = place.open().await;
    let default = catalogue.find_tenant("default").await.unwrap().unwrap();
    let (key, request) = ("key".to_owned(), "request".to_owned());
    let answer = KeptAnswer { tenant: default.id.clone(), key, request, status: 201, sealed: "00".to_owned(), at: NOW };
    let commit = |name: &str, answer: &KeptAnswer| Commit {
        edit: Edit::CreateChannel(channel(&default, name, 1)),
        record: record("streams.create"),
        answer: Some(answer.clone()),
    };
    catalogue.commit(commit("hall", &answer)).await.unwrap();
    assert_eq!(catalogue.kept_answer(&default.id, "key", NOW).await.unwrap(), Some(answer.clone()));
    // The same key once more: nothing is made.
    let again = catalogue.commit(commit("choir", &answer)).await;
    assert!(matches!(again, Err(Error::Repeated)), "{again:?}");
    // A change that is not possible: no answer is kept.
    let other = KeptAnswer { key: "other".to_owned(), ..answer.clone() };
    let refused = catalogue.commit(commit("hall", &other)).await;
    assert!(matches!(refused, Err(Error::StreamExists(_))), "{refused:?}");
    assert_eq!(catalogue.kept_answer(&default.id, "other", NOW).await.unwrap(), None);
    assert_eq!((catalogue.streams().await.unwrap().len(), catalogue.check_audit().await.unwrap().records), (1, 1));
    // A day later, the key is a new one.
    let later = UnixMillis(NOW.0 + REPLAY_MS);
    assert_eq!(catalogue.kept_answer(&default.id, "key", later).await.unwrap(), None);
    catalogue.commit(commit("choir", &KeptAnswer { at: later, ..answer })).await.unwrap();
}

async fn records_of_two_controls_are_one_chain_and_an_edited_one_is_named(place: Place) {
    let (one, two) = (place.open().await, place.open().await);
    let write = async |catalogue: &Catalogue, action: &str| {
        for _ in 0..20 {
            catalogue.note(record(action)).await.unwrap();
        }
    };
    tokio::join!(write(&one, "one"), write(&two, "two"));
    let sound = two.check_audit().await.unwrap();
    assert_eq!((sound.records, sound.newest, sound.breaks.len()), (40, 40, 0));
    assert_eq!(one.database.edit_by_hand("UPDATE audit SET credential = 'key_y' WHERE sequence = 17").await, 1);
    let broken = one.check_audit().await.unwrap().breaks;
    assert!(matches!(&broken[..], [Break { sequence: 17, why: "it was changed", .. }]), "{broken:?}");
    // Whoever has the database only cannot make the digest fit; and a row that is put in place of another does not follow.
    assert_eq!(one.database.edit_by_hand("UPDATE audit SET digest = previous WHERE sequence = 18").await, 1);
    let broken: Vec<i64> = one.check_audit().await.unwrap().breaks.iter().map(|one| one.sequence).collect();
    assert_eq!(broken, [17, 18, 19]);
    one.database.edit_by_hand("DELETE FROM audit WHERE sequence > 39").await;
    let broken = one.check_audit().await.unwrap().breaks;
    assert_eq!(broken.last().unwrap().why, "the newest records are missing");
}

/// What version 3 of the tables had is as it was.
async fn version_before_reads_and_makes_streams_beside_this_one(place: Place) {
    let catalogue = place.open().await;
    let default = catalogue.find_tenant("default").await.unwrap().unwrap();
    make(&catalogue, Edit::CreateChannel(channel(&default, "new", 1))).await.unwrap();
    let insert = "INSERT INTO streams (name, key_mac, key_hint, created_at) \
                  VALUES ('old', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'abcd', 7)";
    catalogue.database.edit_by_hand(insert).await;
    let names = async || {
        let select = "SELECT name, key_mac, key_hint, created_at FROM streams";
        let rows = catalogue.database.fetch::<(String, String, String, i64)>(select, &[]).await.unwrap();
        rows.len()
    };
    assert_eq!(names().await, 2);
    let old = catalogue.find_channel(&default.id, "old").await.unwrap().expect("it is of the tenant default");
    assert_eq!((old.version, old.texts, old.created_at), (1, Texts::default(), UnixMillis(7)));
    assert_eq!(catalogue.find_channel(&default.id, old.id.as_str()).await.unwrap().map(|same| same.id), Some(old.id));
    catalogue.database.edit_by_hand("UPDATE streams SET key_hint = 'efgh' WHERE name = 'new'").await;
    catalogue.database.edit_by_hand("DELETE FROM streams WHERE name = 'old'").await;
    assert_eq!(names().await, 1);
}

async fn pages_follow_one_another_in_both_directions(place: Place) {
    let catalogue = place.open().await;
    let default = catalogue.find_tenant("default").await.unwrap().unwrap();
    for n in 0..10 {
        // Several in the same millisecond.
        make(&catalogue, Edit::CreateChannel(channel(&default, &format!("s{n}"), n / 4))).await.unwrap();
    }
    for is_newest_first in [false, true] {
        let (mut seen, mut page) = (Vec::new(), Page { is_newest_first, ..first_page(3) });
        loop {
            let rows = catalogue.channels(&default.id, &page).await.unwrap();
            let Some(last) = rows.last() else { break };
            page.after = Some((last.created_at, last.id.clone()));
            seen.extend(rows);
        }
        let times: Vec<i64> = seen.iter().map(|row| row.created_at.0).collect();
        let mut sorted = times.clone();
        sorted.sort_unstable();
        if is_newest_first {
            sorted.reverse();
        }
        assert_eq!((seen.len(), times), (10, sorted));
    }
    let found = async |page: Page| catalogue.channels(&default.id, &page).await.unwrap().len();
    assert_eq!(found(Page { like: Page::containing("S7"), ..first_page(9) }).await, 1);
    assert_eq!(found(Page { like: Page::containing("title OF s"), ..first_page(20) }).await, 10);
    assert_eq!(found(Page { like: Page::containing("%"), ..first_page(9) }).await, 0);
    let between = Page { made_after: Some(UnixMillis(1)), made_before: Some(UnixMillis(1)), ..first_page(9) };
    assert_eq!(found(between).await, 4);
}

async fn what_a_stream_says_of_pages_is_kept_and_ends_with_it(place: Place) {
    let catalogue = place.open().await;
    let default = catalogue.find_tenant("default").await.unwrap().unwrap();
    let pages = Pages {
        visibility: "unlisted".to_owned(),
        origins: vec!["https://town.example".to_owned(), "https://*.choir.example".to_owned()],
        embed: "anywhere".to_owned(),
        has_chat: true,
        chat_slow_s: 30,
        chat_writers: "token".to_owned(),
    };
    let new = Channel { pages: pages.clone(), ..channel(&default, "hall", 1) };
    make(&catalogue, Edit::CreateChannel(new.clone())).await.unwrap();
    let found = async || catalogue.find_channel(&default.id, "hall").await.unwrap().unwrap();
    assert_eq!(found().await.pages, pages);
    let said = catalogue.pages().await.unwrap();
    let all_but_visibility = Pages { visibility: "public".to_owned(), ..pages.clone() };
    assert_eq!(said, [("hall".to_owned(), all_but_visibility)].into());
    let plain = Channel { pages: Pages::default(), version: 2, ..new.clone() };
    make(&catalogue, Edit::UpdateChannel(plain.clone())).await.unwrap();
    assert_eq!((found().await.pages, catalogue.pages().await.unwrap().len()), (Pages::default(), 0));
    assert!(catalogue.visibilities().await.unwrap().is_empty());
    catalogue.set_pages(&new.name, &pages).await.unwrap();
    assert_eq!(found().await.pages.origins, pages.origins);
    make(&catalogue, Edit::DeleteChannel(plain)).await.unwrap();
    make(&catalogue, Edit::CreateChannel(channel(&default, "hall", 2))).await.unwrap();
    assert_eq!(found().await.pages, Pages::default(), "another of its name says nothing");
}

async fn answers_of_a_tenant_have_a_bound_and_the_oldest_go(place: Place) {
    let catalogue = place.open().await;
    let tenant = Id::default_tenant();
    let other = tenant_with_answer(&catalogue).await;
    let many = "INSERT INTO idempotency_keys (tenant, digest, request, status, answer, created_at) \
                WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) \
                SELECT 'ten_00000000000000000000000000', 'old ' || n, 'r', 200, '', 1800000000000 + n FROM numbers";
    assert_eq!(catalogue.database.edit_by_hand(many).await, ANSWERS_MAX.unsigned_abs());
    let at = UnixMillis(NOW.0 + 20_000);
    let kept = async |key: &str| catalogue.kept_answer(&tenant, key, at).await.unwrap().is_some();
    assert!(kept("old 1").await && kept("old 2").await);
    catalogue
        .commit(Commit { edit: Edit::Nothing, record: record("test"), answer: Some(answer(&tenant, "new", at)) })
        .await
        .unwrap();
    assert_eq!([kept("old 1").await, kept("old 2").await, kept("new").await], [false, true, true]);
    assert!(catalogue.kept_answer(&other, "theirs", at).await.unwrap().is_some(), "another tenant's stays");
}

/// A tenant with the oldest answer of all.
async fn tenant_with_answer(catalogue: &Catalogue) -> Id {
    let other = tenant("other", None);
    make(catalogue, Edit::CreateTenant(other.clone())).await.unwrap();
    let kept = Some(answer(&other.id, "theirs", NOW));
    catalogue.commit(Commit { edit: Edit::Nothing, record: record("test"), answer: kept }).await.unwrap();
    other.id
}

fn answer(tenant: &Id, key: &str, at: UnixMillis) -> KeptAnswer {
    let (tenant, key) = (tenant.clone(), key.to_owned());
    KeptAnswer { tenant, key, request: "r".to_owned(), status: 200, sealed: String::new(), at }
}
