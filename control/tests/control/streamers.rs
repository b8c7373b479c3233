//! Streamers: guests that seal their own streams, and are told of nothing else.

use catalogue::{Catalogue, KeptKey, Location};
use control::StreamConfig;
use media::{ClusterId, NodeId, SessionId, StreamId};
use messages::{MacForm, Pepper, Role, StreamTable};
use metadata::Scope;
use reqwest::{Client, Method, StatusCode};
use seal::{Delegation, KeyId, Keyring, SealingKey, Signer as _};

use crate::cluster::{Cluster, json};
use crate::metadata::Follower;

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

async fn names(client: &Client, base: &str) -> Vec<String> {
    let (status, table) = json(client, Method::GET, format!("{base}/streams"), None).await;
    assert_eq!(status, StatusCode::OK, "{table}");
    table["streams"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streamer_seals_its_own_streams_which_no_shared_ingest_seals() {
    let cluster = Cluster::start().await;
    let mut config = crate::cluster::config();
    for name in ["choir", "organ"] {
        config.streams.push(StreamConfig { name: stream(name), key: None, pool: None, key_file: None });
    }
    let (base, _) = cluster.control_with(config, cluster.all.clone()).await;
    let admin = cluster.operator();
    let b1 = Follower::start(&cluster, "b1", None).await;
    let shared = cluster.ingest(&base, "i1").await;
    let grant = async |client: &Client, key: &SealingKey| {
        let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let (of_i1, of_anna) = (SealingKey::generate().unwrap(), SealingKey::generate().unwrap());
    assert_eq!(grant(&shared, &of_i1).await.0, StatusCode::OK);

    let certificate = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let add = async |streams: &[&str]| {
        let body = serde_json::json!({ "certificate": certificate, "streams": streams });
        json(&admin, Method::POST, format!("{base}/admin/streamers/anna"), Some(body)).await
    };
    assert_eq!(add(&["nothing"]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(add(&[]).await.0, StatusCode::CONFLICT);
    let (status, said) = add(&["choir", "organ"]).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (_, list) = json(&admin, Method::GET, format!("{base}/admin/streamers"), None).await;
    assert_eq!(list, serde_json::json!([{ "node": "anna", "streams": ["choir", "organ"] }]));

    let anna = cluster.client("anna", Role::Ingest);
    let (status, said) = grant(&anna, &of_anna).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let own = Scope::Streams(vec![stream("choir"), stream("organ")]);
    b1.sees("the grant", |view| view.grant(&of_anna.key_id()).is_some_and(|grant| grant.scope == own)).await;
    assert!(b1.looks(|view| view.member(&NodeId::new("anna").unwrap()).is_some_and(|member| member.is_guest)));
    let may = |node: &str, name: &str| {
        b1.looks(|view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            keyring.may_push(&NodeId::new(node).unwrap(), &stream(name), node::clock::Clock::new().wall())
        })
    };
    for name in ["choir", "organ"] {
        assert!(may("anna", name) && !may("i1", name), "{name}");
    }
    assert!(may("i1", "hall") && !may("anna", "hall"));
    assert_eq!(
        (names(&anna, &base).await, names(&shared, &base).await),
        (vec!["choir".into(), "organ".into()], vec!["hall".to_owned()])
    );

    // Another streamer gets none of them, and a shared ingest becomes no streamer.
    let other = cluster.authority.issue(&NodeId::new("bert").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let body = serde_json::json!({ "certificate": std::fs::read_to_string(other).unwrap(), "streams": ["choir"] });
    let (status, why) = json(&admin, Method::POST, format!("{base}/admin/streamers/bert"), Some(body)).await;
    assert!(status == StatusCode::CONFLICT && why.to_string().contains("that of streamer anna"), "{status}: {why}");

    // What it gives back goes to the shared ingests, and so does all when it is removed.
    assert_eq!(add(&["choir"]).await.0, StatusCode::OK);
    b1.sees("organ is shared again", |view| view.stream(&stream("organ")).is_some_and(|row| row.pool == "default"))
        .await;
    assert!(may("i1", "organ") && !may("anna", "organ") && may("anna", "choir"));
    let (status, _) = json(&admin, Method::POST, format!("{base}/admin/nodes/anna/revoke"), None).await;
    assert_eq!(status, StatusCode::OK);
    b1.sees("choir is shared again", |view| view.stream(&stream("choir")).is_some_and(|row| row.pool == "default"))
        .await;
    assert!(may("i1", "choir") && !may("anna", "choir"));
    assert_eq!(grant(&anna, &of_anna).await.0, StatusCode::FORBIDDEN);
}

/// A streamer's stream is its own, whatever the configuration says of it, until it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn stream_stays_with_its_streamer_when_control_starts_again_and_is_not_its_own_once_deleted() {
    let cluster = Cluster::start().await;
    let configured = || {
        let mut config = crate::cluster::config();
        let pool = Some("music".to_owned());
        config.streams.push(StreamConfig { name: stream("choir"), key: None, pool, key_file: None });
        config
    };
    let end = cluster.all.child_token();
    let (base, task) = cluster.control_with(configured(), end.clone()).await;
    let admin = cluster.operator();
    let b1 = Follower::start(&cluster, "b1", None).await;
    let send = async |method: Method, url: String, body: Option<serde_json::Value>| {
        let (status, said) = json(&admin, method, url, body).await;
        assert!(status.is_success(), "{status}: {said}");
    };
    let make = |name: &str| Some(serde_json::json!({ "name": name }));
    send(Method::POST, format!("{base}/admin/streams"), make("organ")).await;
    let certificate = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap().certificate;
    let certificate = std::fs::read_to_string(certificate).unwrap();
    let both = serde_json::json!({ "certificate": certificate, "streams": ["choir", "organ"] });
    send(Method::POST, format!("{base}/admin/streamers/anna"), Some(both)).await;
    let (anna, key) = (cluster.client("anna", Role::Ingest), SealingKey::generate().unwrap());
    let asked = anna.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    let scope = |view: &metadata::View<'_>| view.grant(&key.key_id()).map(|grant| grant.scope.clone());
    let own = |names: &[&str]| Some(Scope::Streams(names.iter().map(|name| stream(name)).collect()));
    b1.sees("the grant", |view| scope(&view) == own(&["choir", "organ"])).await;
    let pool = |name: &str| b1.looks(|view| view.stream(&stream(name)).map(|row| row.pool.clone()));
    send(Method::POST, format!("{base}/admin/streams"), make("bells")).await;
    b1.sees("another stream", |view| view.stream(&stream("bells")).is_some()).await;
    assert_eq!(pool("choir").as_deref(), Some("streamer/anna"), "another stream was made");
    end.cancel();
    task.await.unwrap().unwrap();

    let (base, _) = cluster.control_with(configured(), cluster.all.clone()).await;
    send(Method::POST, format!("{base}/admin/streams"), make("drums")).await;
    b1.sees("a third", |view| view.stream(&stream("drums")).is_some()).await;
    assert_eq!(pool("choir").as_deref(), Some("streamer/anna"), "control was started again");

    for (name, left) in [("choir", own(&["organ"])), ("organ", None)] {
        send(Method::DELETE, format!("{base}/admin/streams/{name}"), None).await;
        let now = node::clock::Clock::new().wall();
        let in_force = |view: &metadata::View<'_>| scope(view).filter(|_| view.grants(now).next().is_some());
        b1.sees(&format!("the grant without {name}"), |view| in_force(&view) == left).await;
        send(Method::POST, format!("{base}/admin/streams"), make(name)).await;
        let is_new =
            |view: metadata::View<'_>| view.stream(&stream(name)).is_some_and(|row| !row.pool.starts_with("streamer/"));
        b1.sees("the new stream", is_new).await;
        let may = b1.looks(|view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            keyring.may_push(&NodeId::new("anna").unwrap(), &stream(name), now)
        });
        assert!(!may, "anna may seal {name}, which was deleted and made again");
    }
}

/// A streamer with `choir` in a cluster of two shared ingests: `i1`, and `i2`, which serves another pool.
struct Delegating {
    cluster: Cluster,
    base: String,
    b1: Follower,
    anna: Client,
    key: SealingKey,
    i1: (Client, SealingKey),
    i2: (Client, SealingKey),
}

async fn granted(client: &Client, base: &str, key: &SealingKey) {
    let answer = client.post(format!("{base}/grants")).body(key.public_key_bytes()).send().await.unwrap();
    let status = answer.status();
    assert_eq!(status, StatusCode::OK, "{}", answer.text().await.unwrap());
}

impl Delegating {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let mut config = crate::cluster::config();
        for name in ["choir", "organ"] {
            config.streams.push(StreamConfig { name: stream(name), key: None, pool: None, key_file: None });
        }
        config.ingest_pools = [(NodeId::new("i2").unwrap(), vec!["music".to_owned()])].into();
        let (base, _) = cluster.control_with(config, cluster.all.clone()).await;
        let b1 = Follower::start(&cluster, "b1", None).await;
        let ingest = async |name: &str| {
            let (client, key) = (cluster.ingest(&base, name).await, SealingKey::generate().unwrap());
            granted(&client, &base, &key).await;
            (client, key)
        };
        let (i1, i2) = (ingest("i1").await, ingest("i2").await);
        let paths = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap();
        let certificate = std::fs::read_to_string(paths.certificate).unwrap();
        let body = serde_json::json!({ "certificate": certificate, "streams": ["choir"] });
        let url = format!("{base}/admin/streamers/anna");
        let (status, said) = json(&cluster.operator(), Method::POST, url, Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        let (anna, key) = (cluster.client("anna", Role::Ingest), SealingKey::generate().unwrap());
        granted(&anna, &base, &key).await;
        Self { cluster, base, b1, anna, key, i1, i2 }
    }

    /// For an hour, of `choir`, to `i2`.
    fn delegation(&self) -> Delegation {
        let now = node::clock::Clock::new().wall();
        Delegation {
            cluster: ClusterId::new("test").unwrap(),
            stream: stream("choir"),
            session: SessionId(KeyId::of(&SealingKey::generate().unwrap().public_key_bytes()).0),
            key: self.i2.1.key_id(),
            from: now,
            until: now.plus(std::time::Duration::from_secs(3_600)),
        }
    }

    async fn send(&self, client: &Client, raw: Vec<u8>) -> (StatusCode, String) {
        let answer = client.post(format!("{}/delegations", self.base)).body(raw).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn may(&self, node: &str, name: &str) -> bool {
        self.b1.looks(|view| {
            let keyring = Keyring::new(ClusterId::new("test").unwrap()).with(view.rights());
            keyring.may_push(&NodeId::new(node).unwrap(), &stream(name), node::clock::Clock::new().wall())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streamer_delegates_a_session_and_the_ingest_is_told_of_the_stream_until_the_streamer_is_gone() {
    let zone = Delegating::start().await;
    let (status, known) = json(&zone.anna, Method::GET, format!("{}/delegates", zone.base), None).await;
    assert_eq!(status, StatusCode::OK, "{known}");
    let ingests: Vec<&str> =
        known["ingests"].as_array().unwrap().iter().filter_map(|one| one["node"].as_str()).collect();
    assert_eq!(ingests, ["i1", "i2"], "and not the streamer's own");
    assert_eq!(names(&zone.i2.0, &zone.base).await, Vec::<String>::new());
    let signed = zone.delegation().sign(&zone.key).unwrap();
    let (status, said) = zone.send(&zone.anna, signed.raw().to_vec()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let audit = format!("{}/api/v1/audit", zone.base.trim_end_matches("/cluster/v1"));
    let (_, audit) = json(&zone.cluster.operator(), Method::GET, audit, None).await;
    let told = audit["items"].as_array().unwrap().iter().find(|row| row["action"] == "delegations.create");
    let told = told.unwrap_or_else(|| panic!("{audit}"));
    assert_eq!(
        (&told["object"], &told["credential"], &told["result"]),
        (&"choir".into(), &"anna".into(), &"done".into())
    );
    zone.b1.sees("the delegation", |view| view.delegations().any(|known| *known == signed)).await;
    assert!(
        zone.may("i2", "choir") && zone.may("anna", "choir") && !zone.may("i1", "choir") && !zone.may("i2", "hall")
    );
    assert_eq!(names(&zone.i2.0, &zone.base).await, ["choir"]);
    assert_eq!(names(&zone.i1.0, &zone.base).await, ["hall", "organ"]);

    let (status, _) =
        json(&zone.cluster.operator(), Method::POST, format!("{}/admin/nodes/anna/revoke", zone.base), None).await;
    assert_eq!(status, StatusCode::OK);
    zone.b1.sees("she is revoked", |view| view.is_node_revoked(&NodeId::new("anna").unwrap())).await;
    assert!(!zone.may("i2", "choir") && !zone.may("anna", "choir"));
    assert_eq!(names(&zone.i2.0, &zone.base).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn delegation_that_nodes_would_not_believe_is_not_written() {
    let zone = Delegating::start().await;
    let hour = std::time::Duration::from_secs(3_600);
    let of = |change: &dyn Fn(&mut Delegation)| {
        let mut delegation = zone.delegation();
        change(&mut delegation);
        delegation.sign(&zone.key).unwrap().raw().to_vec()
    };
    let mut forged = of(&|_| {});
    *forged.last_mut().unwrap() ^= 1;
    let by_another = zone.delegation().sign(&zone.i2.1).unwrap().raw().to_vec();
    let refused = [
        ("another's stream", &zone.anna, of(&|it| it.stream = stream("organ")), StatusCode::FORBIDDEN),
        ("no stream", &zone.anna, of(&|it| it.stream = stream("nothing")), StatusCode::FORBIDDEN),
        ("no ingest's key", &zone.anna, of(&|it| it.key = KeyId([7; 16])), StatusCode::NOT_FOUND),
        ("its own key", &zone.anna, of(&|it| it.key = zone.key.key_id()), StatusCode::NOT_FOUND),
        (
            "over",
            &zone.anna,
            of(&|it| (it.from, it.until) = (it.from.minus(2 * hour), it.from.minus(hour))),
            StatusCode::BAD_REQUEST,
        ),
        ("not yet", &zone.anna, of(&|it| it.from = it.from.plus(hour / 2)), StatusCode::BAD_REQUEST),
        (
            "another cluster",
            &zone.anna,
            of(&|it| it.cluster = ClusterId::new("other").unwrap()),
            StatusCode::BAD_REQUEST,
        ),
        ("a wrong signature", &zone.anna, forged, StatusCode::FORBIDDEN),
        ("signed by the ingest", &zone.anna, by_another.clone(), StatusCode::FORBIDDEN),
        ("by an ingest that is no streamer", &zone.i2.0, by_another, StatusCode::FORBIDDEN),
        ("somebody else's", &zone.i1.0, of(&|_| {}), StatusCode::FORBIDDEN),
        ("nothing", &zone.anna, Vec::new(), StatusCode::BAD_REQUEST),
    ];
    for (what, client, raw, status) in refused {
        let (answered, why) = zone.send(client, raw).await;
        assert_eq!(answered, status, "{what}: {why}");
    }
    assert_eq!(zone.b1.looks(|view| view.delegations().count()), 0);
    assert!(!zone.may("i2", "choir"));
    // A session is delegated once.
    let once = zone.delegation();
    let (status, said) = zone.send(&zone.anna, once.sign(&zone.key).unwrap().raw().to_vec()).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let again = Delegation { key: zone.i1.1.key_id(), ..once };
    let (status, why) = zone.send(&zone.anna, again.sign(&zone.key).unwrap().raw().to_vec()).await;
    assert!(status == StatusCode::CONFLICT && why.contains("was delegated before"), "{status}: {why}");
    let (status, _) = json(&zone.i1.0, Method::GET, format!("{}/delegates", zone.base), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "only a streamer asks");
}

/// What recognises a stream's key says nothing of the keys of others; what an older version made says something of all.
#[tokio::test(flavor = "multi_thread")]
async fn streamer_is_given_what_recognises_its_own_keys_and_a_key_of_before_is_for_shared_ingests() {
    let zone = Delegating::start().await;
    let admin = zone.cluster.operator();
    let table = async |client: &Client| {
        let text = client.get(format!("{}/streams", zone.base)).send().await.unwrap().text().await.unwrap();
        (serde_json::from_str::<StreamTable>(&text).unwrap(), text)
    };
    let rotated = async |name: &str| {
        let url = format!("{}/admin/streams/{name}/rotate-key", zone.base);
        let (status, said) = json(&admin, Method::POST, url, None).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        said["key"].as_str().unwrap().to_owned()
    };
    let (choir, organ) = (rotated("choir").await, rotated("organ").await);
    let data = zone.cluster.directory.path().join("c1");
    let pepper = Pepper::from_bytes(&std::fs::read(data.join("pepper.key")).unwrap()).unwrap();
    let hex_pepper = hex::encode(pepper.expose());
    let (her, text) = table(&zone.anna).await;
    assert!(her.streams.len() == 1 && her.streams[0].has_key(&choir) && !text.contains(&hex_pepper));
    // She reads the MACs of all streams in the log, and can try no guess at them.
    let mac = zone.b1.looks(|view| view.stream(&stream("organ")).unwrap().key_macs[0]);
    let metadata::StreamKeyMac::OfStream(mac) = mac else { panic!("{mac:?}") };
    assert_ne!(her.streams[0].mac_key.mac(&organ).0, mac.0);
    let (shared, text) = table(&zone.i1.0).await;
    let entry = shared.streams.iter().find(|entry| entry.name == stream("organ")).unwrap();
    assert!(entry.has_key(&organ) && entry.key_mac.0 == mac.0 && !text.contains(&hex_pepper));

    // An older version left the MACs of both under the pepper itself.
    let (catalogue, _) = Catalogue::open(Location::File(&data.join("catalogue.db")), &pepper).await.unwrap();
    for (name, key) in [("choir", "key-of-before-1"), ("organ", "key-of-before-2")] {
        let name = stream(name);
        let mac = pepper.mac_key(MacForm::OfAll, &name).mac(key);
        catalogue.set_key(&name, &KeptKey { mac, form: MacForm::OfAll, hint: String::new() }).await.unwrap();
    }
    let (her, text) = table(&zone.anna).await;
    assert!(her.streams.is_empty() && !text.contains(&hex_pepper), "she would have the pepper");
    let (shared, _) = table(&zone.i1.0).await;
    assert!(shared.streams.iter().any(|entry| entry.name == stream("organ") && entry.has_key("key-of-before-2")));
    let choir = rotated("choir").await;
    let (her, _) = table(&zone.anna).await;
    assert!(her.streams[0].has_key(&choir));
    // A stream with such a key is given to no streamer.
    let certificate = std::fs::read_to_string(zone.cluster.directory.path().join("certs/anna.pem")).unwrap();
    let body = serde_json::json!({ "certificate": certificate, "streams": ["choir", "organ"] });
    let (status, why) = json(&admin, Method::POST, format!("{}/admin/streamers/anna", zone.base), Some(body)).await;
    assert!(status == StatusCode::CONFLICT && why.to_string().contains("rotate-key organ"), "{status}: {why}");
}

/// The configuration says where a stream belongs that is no streamer's any more, without a start of control.
#[tokio::test(flavor = "multi_thread")]
async fn stream_of_a_removed_streamer_is_in_its_configured_pool_at_once() {
    let cluster = Cluster::start().await;
    let mut config = crate::cluster::config();
    let pool = Some("music".to_owned());
    config.streams.push(StreamConfig { name: stream("choir"), key: None, pool, key_file: None });
    let (base, _) = cluster.control_with(config, cluster.all.clone()).await;
    let b1 = Follower::start(&cluster, "b1", None).await;
    let admin = cluster.operator();
    let paths = cluster.authority.issue(&NodeId::new("anna").unwrap(), Role::Ingest, &[]).unwrap();
    let certificate = std::fs::read_to_string(paths.certificate).unwrap();
    let add = async |streams: &[&str]| {
        let body = serde_json::json!({ "certificate": certificate, "streams": streams });
        let (status, said) = json(&admin, Method::POST, format!("{base}/admin/streamers/anna"), Some(body)).await;
        assert_eq!(status, StatusCode::OK, "{said}");
    };
    let pool = |view: &metadata::View<'_>| view.stream(&stream("choir")).map(|row| row.pool.clone());
    b1.sees("the configured stream", |view| pool(&view).is_some()).await;
    add(&["choir"]).await;
    b1.sees("hers", |view| pool(&view).as_deref() == Some("streamer/anna")).await;
    add(&["hall"]).await;
    b1.sees("given back", |view| pool(&view).as_deref() == Some("music")).await;
    add(&["choir"]).await;
    b1.sees("hers again", |view| pool(&view).as_deref() == Some("streamer/anna")).await;
    let (status, _) = json(&admin, Method::POST, format!("{base}/admin/nodes/anna/revoke"), None).await;
    assert_eq!(status, StatusCode::OK);
    b1.sees("of the configured pool", |view| pool(&view).as_deref() == Some("music")).await;
}
