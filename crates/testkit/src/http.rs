//! HTTPS clients that trust the authority of a test, and whole responses.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, StatusCode};
use rustls::crypto::aws_lc_rs::{self, kx_group};

/// An HTTPS client that trusts one authority.
pub fn client(ca: &Path) -> Client {
    client_of(ca, |builder| builder)
}

/// As [`client`], with a changed builder.
pub fn client_of(ca: &Path, way: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
    let pem = std::fs::read(ca).unwrap_or_else(|error| panic!("{}: {error}", ca.display()));
    let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    ensure_provider();
    way(Client::builder())
        .use_rustls_tls()
        .tls_built_in_root_certs(false)
        .add_root_certificate(ca)
        .timeout(Duration::from_secs(20))
        .build()
        .expect("a client")
}

/// Makes aws-lc-rs the default of rustls, for which reqwest asks. X25519MLKEM768 comes first, as in browsers. A default that the process
/// already has stays.
fn ensure_provider() {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    let _ = rustls::crypto::CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() }.install_default();
}

/// Fetches text; `None` unless 200.
pub async fn get(http: &Client, url: &str) -> Option<String> {
    let answer = http.get(url).send().await.ok()?;
    if answer.status() == StatusCode::OK { answer.text().await.ok() } else { None }
}

/// Fetches bytes; panics unless 200.
pub async fn get_bytes(http: &Client, url: &str) -> Vec<u8> {
    let answer = http.get(url).send().await.unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    answer.bytes().await.unwrap_or_else(|error| panic!("{url}: {error}")).to_vec()
}
