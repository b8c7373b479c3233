//! Compiles the definitions of the gRPC services. No `protoc` is needed: `protox` reads them.

use std::path::PathBuf;

use anyhow::Context as _;
use prost::Message as _;

const FILES: [&str; 2] = ["sealcast/v1/catalogue.proto", "sealcast/v1/cluster.proto"];
/// Messages that are read out of what the HTTP API answers: their fields have its names.
const ANSWERS: [&str; 9] =
    ["Stream", "Chat", "StreamKey", "Live", "Node", "NodeLoad", "Policy", "NodePolicy", "ListNodesResponse"];

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo says where files go")?);
    std::fs::write(out.join("sealcast.v1.bin"), descriptors.encode_to_vec())?;
    // The client is for the tests, and for other programs in Rust as an example.
    let mut builder = tonic_prost_build::configure().build_transport(false);
    for message in ANSWERS {
        let path = format!(".sealcast.v1.{message}");
        builder = builder.type_attribute(&path, "#[derive(serde::Serialize, serde::Deserialize)]\n#[serde(default)]");
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}
