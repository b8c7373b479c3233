//! `sealcast up` with `[acme]`: viewers see a certificate of the ACME server's authority.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

use std::net::SocketAddr;

use testkit::pebble::{NAMES, Server};
use testkit::process::{Process, free_port};
use testkit::sealcast::{self, read_ready};
use testkit::wait::{PATIENCE, eventually_async, within};

/// The program under test.
const SEALCAST: &str = env!("CARGO_BIN_EXE_sealcast");

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_an_acme_name_need_trust_nothing_of_ours() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = Server::start(port).await;
    let toml = format!(
        "[acme]\ndirectory = \"{}\"\nnames = {NAMES:?}\nca = {:?}\n",
        server.url(),
        server.ca().display().to_string()
    );
    std::fs::write(directory.path().join("sealcast.toml"), toml).unwrap();
    let mut command = sealcast::command(SEALCAST);
    command.arg("up").current_dir(directory.path()).args([
        "--no-source",
        "--broadcast",
        "1",
        "--ready-file",
        "ready.json",
    ]);
    for listener in ["--rtmp-listen", "--mqtt-listen", "--ops-listen"] {
        command.args([listener, "127.0.0.1:0"]);
    }
    command.arg("--https-listen").arg(format!("127.0.0.1:{port}"));
    let mut process = Process::spawn("sealcast up", &mut command);
    read_ready(&directory.path().join("ready.json"), &mut process).await;

    let root = reqwest::Certificate::from_pem(&within("the root", server.root()).await).unwrap();
    let viewer = reqwest::Client::builder()
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(root)
        .resolve(NAMES[0], SocketAddr::from(([127, 0, 0, 1], port)))
        .build()
        .unwrap();
    let page = format!("https://{}:{port}/", NAMES[0]);
    let watch = async || viewer.get(&page).send().await.ok().filter(|answer| answer.status().is_success());
    eventually_async("the page under its name", PATIENCE, watch).await;
    assert!(directory.path().join("data/loadbalancer/acme/certificate.pem").exists());
}
