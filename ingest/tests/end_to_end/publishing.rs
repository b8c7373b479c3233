//! Publishers with the right key, and what the ingest seals of their streams.

use std::sync::atomic::Ordering;

use media::Epoch;
use messages::SessionState;
use seal::SealKind;

use crate::cluster::{Cluster, KEY, text};
use crate::log;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_stream_is_sealed_pushed_and_decodes() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 1).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 7);
    let live = cluster.session(SessionState::Live).await;
    assert_eq!((live.epoch, live.ingest.as_str()), (Epoch(1), "i1"));
    let output = publisher.end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster
        .receiver
        .wait_for("the end", |r| {
            let seals = r.seals();
            seals.last().is_some_and(|last| last.body().kind == SealKind::End) && seals.iter().all(|s| r.complete(s))
        })
        .await;
    let seals = log::check(&cluster.receiver);
    let ended = cluster.session(SessionState::Ended).await;
    assert_eq!((ended.epoch, ended.started_at), (live.epoch, live.started_at));
    let renditions = log::renditions(&seals);
    assert!(renditions.iter().any(|name| name.as_str() == "audio") && renditions.len() >= 2, "{renditions:?}");
    for rendition in &renditions {
        let seconds = log::decode(&cluster, &seals, rendition);
        assert!((6.8..7.2).contains(&seconds), "{rendition}: {seconds} s");
    }
    let receiver = &cluster.receiver;
    receiver.wait_for("all seals on the bus", |r| r.bus_seals() == seals.len()).await;
    assert!(receiver.put_seals() >= seals.len());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_within_the_grace_goes_on_with_the_same_log() {
    let mut cluster = Cluster::start(|config| config.reconnect_grace_s = 20).await;
    let url = cluster.url("live", KEY);
    assert!(cluster.publish(&url, 5).end().await.status.success());
    let first = cluster.session(SessionState::Reconnecting).await;
    assert!(cluster.publish(&url, 5).end().await.status.success());
    cluster.receiver.wait_for("epoch 2", |r| r.seals().last().is_some_and(|s| s.body().epoch == Epoch(2))).await;
    let again = cluster.session(SessionState::Reconnecting).await;
    assert_eq!((again.epoch, again.started_at), (Epoch(2), first.started_at));

    // A restart of the ingest within the grace continues the stream, too, because its log was left open.
    let took = cluster.stop_ingest().await;
    assert!(took.as_secs() < 3, "{took:?}");
    cluster.start_ingest().await;
    assert!(cluster.publish(&cluster.url("live", KEY), 4).end().await.status.success());
    cluster
        .receiver
        .wait_for("epoch 3, whole", |r| {
            let seals = r.seals();
            seals.last().is_some_and(|s| s.body().epoch == Epoch(3)) && seals.iter().all(|s| r.complete(s))
        })
        .await;
    cluster.session(SessionState::Reconnecting).await;
    let seals = log::check(&cluster.receiver);
    assert!(seals.iter().all(|sealed| sealed.body().kind == SealKind::Media));
    let numbers: Vec<u64> = log::segments(&seals).into_iter().map(|msn| msn.0).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "segments are numbered on, without a hole");
    let epochs: Vec<_> = seals.chunk_by(|a, b| a.body().epoch == b.body().epoch).collect();
    for (n, epoch) in epochs.iter().enumerate() {
        assert_eq!(epoch[0].body().discontinuity.0, n as u64);
        for rendition in log::renditions(epoch) {
            log::decode(&cluster, epoch, &rendition);
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encoded_ladder_decodes_on_every_rung() {
    let cluster = Cluster::start(|config| {
        config.pipeline.pass_through = ingest::pipeline::PassThrough::Never;
        let rung = |short_side| ingest::pipeline::RungConfig { short_side, kbit_per_second: None };
        config.pipeline.rungs = Some([180, 90].map(rung).into());
        config.pipeline.preset = ingest::pipeline::Preset::Ultrafast;
    })
    .await;
    // OBS's default is a keyframe every 250 frames, too few for pass-through.
    let output = cluster.publish_with(&cluster.url("live", KEY), 6, &["-g", "250"]).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster.session(SessionState::Reconnecting).await;
    cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    let seals = log::check(&cluster.receiver);
    let renditions = log::renditions(&seals);
    let names: Vec<_> = renditions.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["180p", "90p", "audio"]);
    for rendition in &renditions {
        let seconds = log::decode(&cluster, &seals, rendition);
        assert!((5.8..6.2).contains(&seconds), "{rendition}: {seconds} s");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_that_was_away_gets_what_it_missed() {
    let cluster = Cluster::start(|_| {}).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 9);
    cluster.receiver.wait_for("some bytes", |r| r.seals().iter().filter(|s| r.complete(s)).count() >= 2).await;
    cluster.receiver.away.store(true, Ordering::SeqCst);
    let known = cluster.receiver.bus_seals();
    cluster.receiver.wait_for("seals meanwhile", |r| r.bus_seals() >= known + 4).await;
    cluster.receiver.away.store(false, Ordering::SeqCst);
    assert!(publisher.end().await.status.success());
    cluster.session(SessionState::Reconnecting).await;
    cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    log::check(&cluster.receiver);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seal_that_a_node_had_no_room_for_comes_again() {
    let cluster = Cluster::start(|_| {}).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 7);
    cluster.receiver.wait_for("seals over HTTP", |r| r.put_seals() >= 2).await;
    cluster.receiver.seals_busy.store(true, Ordering::SeqCst);
    let known = cluster.receiver.bus_seals();
    cluster.receiver.wait_for("seals meanwhile", |r| r.bus_seals() >= known + 3).await;
    cluster.receiver.seals_busy.store(false, Ordering::SeqCst);
    assert!(publisher.end().await.status.success());
    cluster.session(SessionState::Reconnecting).await;
    cluster.receiver.wait_for("all seals over HTTP", |r| r.put_seals() == r.seals().len()).await;
    log::check(&cluster.receiver);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn next_epoch_builds_on_rows_that_a_slow_node_has_not_taken_yet() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 20).await;
    let url = cluster.url("live", KEY);
    let publisher = cluster.publish(&url, 6);
    let receiver = &cluster.receiver;
    receiver.wait_for("some bytes", |r| r.seals().iter().filter(|s| r.complete(s)).count() >= 2).await;
    receiver.objects_busy.store(true, Ordering::SeqCst);
    assert!(publisher.end().await.status.success());
    cluster.session(SessionState::Reconnecting).await;
    assert!(cluster.publish(&url, 4).end().await.status.success());
    receiver.wait_for("epoch 2", |r| r.seals().last().is_some_and(|s| s.body().epoch == Epoch(2))).await;
    assert!(receiver.seals().iter().any(|s| s.body().epoch == Epoch(1) && !receiver.complete(s)), "it was slow");
    receiver.objects_busy.store(false, Ordering::SeqCst);
    cluster.session_where("reconnecting again", |s| (s.epoch, s.state) == (Epoch(2), SessionState::Reconnecting)).await;
    receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    log::check(receiver);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_node_gets_the_rest_of_a_stream_that_has_ended() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 1).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 5);
    let receiver = &cluster.receiver;
    receiver.wait_for("some bytes", |r| r.seals().iter().filter(|s| r.complete(s)).count() >= 2).await;
    receiver.objects_busy.store(true, Ordering::SeqCst);
    assert!(publisher.end().await.status.success());
    cluster.session(SessionState::Ended).await;
    let busy = receiver.busy();
    receiver.wait_for("more attempts, over some seconds", |r| r.busy() >= busy + 30).await;
    receiver.objects_busy.store(false, Ordering::SeqCst);
    receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    assert_eq!(log::check(receiver).last().map(|last| last.body().kind), Some(SealKind::End));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_replaced_by_an_empty_one_costs_no_seal() {
    let mut cluster = Cluster::start(|_| {}).await;
    let publisher = cluster.publish(&cluster.url("live", KEY), 10);
    cluster.receiver.wait_for("seals", |r| r.bus_seals() >= 3).await;
    cluster.stop_broker().await;
    // The nodes continue without a broker, because seals come over HTTP, too.
    cluster.receiver.wait_for("seals over HTTP alone", |r| r.seals().len() >= r.bus_seals() + 4).await;
    cluster.start_broker().await;
    assert!(publisher.end().await.status.success());
    cluster.session(SessionState::Reconnecting).await;
    // Messages that the empty broker received before its subscribers were back are lost, but only on the bus.
    cluster.receiver.wait_for("the newest seal on the bus", |r| r.bus_has_newest()).await;
    cluster.receiver.wait_for("all bytes", |r| r.seals().iter().all(|s| r.complete(s))).await;
    log::check(&cluster.receiver);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_shows_what_comes_in() {
    let cluster = Cluster::start(|_| {}).await;
    let _publisher = cluster.publish(&cluster.url("live", KEY), 20);
    let demo = cluster.status_where("rates", |demo| demo["input"]["video"]["frame_rate_millihertz"].is_u64()).await;
    let input = &demo["input"];
    let number = |value: &serde_json::Value| value.as_i64().unwrap_or_else(|| panic!("{demo}"));
    assert!((25_000..=35_000).contains(&number(&input["video"]["frame_rate_millihertz"])), "{demo}");
    assert_eq!(number(&input["video"]["announced_frame_rate_millihertz"]), 30_000, "{demo}");
    assert!(number(&input["video_ahead_of_audio_ms"]).abs() < 1_000 && number(&input["bit_rate"]) > 50_000, "{demo}");
    assert!(input["encoder"].as_str().is_some_and(|name| name.starts_with("Lavf")), "{demo}");
    assert!(demo["rungs"].as_array().unwrap().len() >= 2, "{demo}");
    let demo = cluster.status_where("keyframes", |demo| demo["input"]["video"]["keyframe_interval_ms"] == 2_000).await;
    assert_eq!(demo["input"]["warnings"], serde_json::json!([]), "{demo}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamer_is_told_of_pass_through_that_ended_and_has_it_again_with_the_next_connection() {
    let cluster = Cluster::start(|config| {
        config.reconnect_grace_s = 60;
        let rung = |short_side| ingest::pipeline::RungConfig { short_side, kbit_per_second: None };
        config.pipeline.rungs = Some([180, 90].map(rung).to_vec());
    })
    .await;
    let url = cluster.url("live", KEY);
    let pause = ["-g", "60", "-vf", "setpts=PTS+gte(T\\,4)*1.3/TB", "-fps_mode", "passthrough"];
    let publisher = cluster.publish_with(&url, 12, &pause);
    let says = |demo: &serde_json::Value, kind: &str| {
        let warnings = demo["input"]["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().any(|warning| warning["kind"] == kind)
    };
    let demo = cluster.status_where("the warning", |demo| says(demo, "pass_through_ended")).await;
    assert_eq!(demo["input"]["video"]["passed_through"], false, "{demo}");
    assert!(publisher.end().await.status.success());
    let demo = cluster.status_where("an outage", |demo| demo["input"]["away_since"].is_i64()).await;
    assert!(!says(&demo, "pass_through_ended") && demo["input"]["connected_at"].is_null(), "{demo}");

    let _publisher = cluster.publish(&url, 20);
    let demo = cluster.status_where("it again", |demo| demo["input"]["video"]["passed_through"] == true).await;
    assert!(!says(&demo, "pass_through_ended") && demo["input"]["away_since"].is_null(), "{demo}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keyframe_that_is_left_out_costs_one_discontinuity_and_no_connection() {
    let cluster = Cluster::start(|config| config.reconnect_grace_s = 1).await;
    // The keyframe at 8 s, where a segment should end, is missing.
    let keyframes = ["-g", "1000", "-keyint_min", "1000", "-force_key_frames", "0,2,4,6,10,12,14"];
    let output = cluster.publish_with(&cluster.url("live", KEY), 16, &keyframes).end().await;
    assert!(output.status.success(), "{}", text(&output));
    cluster
        .receiver
        .wait_for("the end", |r| {
            let seals = r.seals();
            seals.last().is_some_and(|last| last.body().kind == SealKind::End) && seals.iter().all(|s| r.complete(s))
        })
        .await;
    let seals = log::check(&cluster.receiver);
    let epochs: Vec<_> = seals.chunk_by(|a, b| a.body().epoch == b.body().epoch).collect();
    let places: Vec<_> = epochs.iter().map(|epoch| (epoch[0].body().epoch, epoch[0].body().discontinuity.0)).collect();
    assert_eq!(places, [(Epoch(1), 0), (Epoch(2), 1)]);
    let lengths: Vec<f64> = epochs.iter().map(|epoch| log::decode(&cluster, epoch, &"180p".parse().unwrap())).collect();
    // Nothing is decoded here, so the second epoch begins with a keyframe: the second after the break, which shows that they are regular
    // again.
    assert!((8.0..9.0).contains(&lengths[0]) && (3.9..8.0).contains(&lengths[1]), "{lengths:?}");
    cluster.stop().await;
}
