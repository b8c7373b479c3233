use media::{StreamId, UnixMillis};

use super::*;
use crate::streams::tests::{Place, on_both_databases, pepper};
use crate::{Commit, Edit, Record, Stream, StreamKey};

on_both_databases! {
    history_is_bounded_and_a_deletion_is_a_change_that_comes_after_all_others
    writer_is_slowed_and_banned_by_who_it_is_and_not_by_its_name
}

const NOW: i64 = 1_800_000_000_000;

async fn hall(place: &Place) -> (Catalogue, StreamId) {
    let (catalogue, name) = (place.open().await, StreamId::new("hall").unwrap());
    let key = StreamKey::random().kept(&pepper(), &name);
    catalogue.create_stream(&Stream { name: name.clone(), key, created_at: UnixMillis(0) }).await.unwrap();
    (catalogue, name)
}

fn saying(stream: &StreamId, writer: &str, text: &str, at: i64) -> Saying {
    let message = Message {
        id: Id::draw(Kind::Message, UnixMillis(at)),
        stream: stream.clone(),
        changed: 0,
        author: "Ann".to_owned(),
        role: "guest".to_owned(),
        writer: writer.to_owned(),
        text: text.to_owned(),
        is_deleted: false,
        created_at: UnixMillis(at),
    };
    Saying { message, also: format!("{writer}, yesterday"), slow_ms: 0, kept: 3 }
}

async fn make(catalogue: &Catalogue, edit: Edit) -> Result<(), Error> {
    let record = Record {
        id: Id::draw(Kind::Event, UnixMillis(NOW)),
        at: UnixMillis(NOW),
        tenant: None,
        actor: "api_key".to_owned(),
        credential: "key_x".to_owned(),
        action: "test".to_owned(),
        object: "x".to_owned(),
        changes: "{}".to_owned(),
        result: "done".to_owned(),
        request_id: "req_x".to_owned(),
    };
    catalogue.commit(Commit { edit, record, answer: None }).await
}

fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

async fn history_is_bounded_and_a_deletion_is_a_change_that_comes_after_all_others(place: Place) {
    let (catalogue, hall) = hall(&place).await;
    for (n, text) in ["one", "two", "three", "four"].into_iter().enumerate() {
        // All in one millisecond: the places differ.
        catalogue.say(saying(&hall, &format!("w{n}"), text, NOW)).await.unwrap();
    }
    let all = catalogue.chat_changes(&hall, 0, 10).await.unwrap();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0].changed < pair[1].changed) && all[0].changed >= NOW);
    assert_eq!(texts(&catalogue.chat_changes(&hall, 0, 1).await.unwrap()), [all[2].text.as_str()], "the newest");
    let head = all[2].changed;
    assert!(catalogue.chat_changes(&hall, head, 10).await.unwrap().is_empty());
    make(&catalogue, Edit::DeleteMessage(all[0].clone(), UnixMillis(NOW))).await.unwrap();
    let changes = catalogue.chat_changes(&hall, head, 10).await.unwrap();
    assert_eq!((changes.len(), &changes[0].id, changes[0].text.as_str()), (1, &all[0].id, ""));
    assert!(changes[0].is_deleted && changes[0].changed > head);
    // A day later, what was there is gone.
    catalogue.say(saying(&hall, "w", "five", NOW + KEPT_MS + 1)).await.unwrap();
    assert_eq!(texts(&catalogue.chat_changes(&hall, 0, 10).await.unwrap()), ["five"]);
    catalogue.delete_stream(&hall).await.unwrap();
    assert!(catalogue.chat_changes(&hall, 0, 10).await.unwrap().is_empty());
}

async fn writer_is_slowed_and_banned_by_who_it_is_and_not_by_its_name(place: Place) {
    let (catalogue, hall) = hall(&place).await;
    let slow = |writer: &str, at: i64| Saying { slow_ms: 10_000, ..saying(&hall, writer, "hello", at) };
    catalogue.say(slow("w1", NOW)).await.unwrap();
    let early = catalogue.say(slow("w1", NOW + 4_000)).await.unwrap_err();
    assert!(matches!(early, Error::ChatSlow { wait_ms: 6_000 }), "{early:?}");
    catalogue.say(slow("w2", NOW + 4_000)).await.unwrap();
    catalogue.say(slow("w1", NOW + 10_000)).await.unwrap();
    let ban = Ban {
        id: Id::draw(Kind::Ban, UnixMillis(NOW)),
        stream: hall.clone(),
        writer: "w1".to_owned(),
        author: "Ann".to_owned(),
        created_at: UnixMillis(NOW + 20_000),
        until: UnixMillis(NOW + 30_000),
    };
    make(&catalogue, Edit::BanWriter(ban.clone())).await.unwrap();
    let left = catalogue.chat_changes(&hall, 0, 10).await.unwrap();
    assert!(left.iter().all(|message| message.is_deleted == (message.writer == "w1")), "{left:?}");
    let banned = catalogue.say(saying(&hall, "w1", "again", NOW + 29_999)).await.unwrap_err();
    assert!(matches!(banned, Error::ChatBanned { until } if until == ban.until), "{banned:?}");
    // Under the name that it has from today on, too.
    let today = Saying { also: "w1".to_owned(), ..saying(&hall, "w1, today", "again", NOW + 29_999) };
    assert!(matches!(catalogue.say(today).await, Err(Error::ChatBanned { .. })));
    catalogue.say(saying(&hall, "w2", "hello", NOW + 29_999)).await.unwrap();
    assert_eq!(catalogue.find_ban(&hall, ban.id.as_str(), UnixMillis(NOW)).await.unwrap(), Some(ban.clone()));
    make(&catalogue, Edit::LiftBan(ban.clone())).await.unwrap();
    catalogue.say(saying(&hall, "w1", "again", NOW + 29_999)).await.unwrap();
    make(&catalogue, Edit::BanWriter(ban)).await.unwrap();
    catalogue.say(saying(&hall, "w1", "over", NOW + 30_000)).await.unwrap();
}
