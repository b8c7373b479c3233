//! `sealcast streamer …`: identities for ingests that streamers run beside their encoders. Each seals its own streams, and nothing else.

use std::path::{Path, PathBuf};

use ::node::clock::Clock;
use ::node::files;
use ::node::tls::Authority;
use anyhow::{Context as _, bail, ensure};
use media::{NodeId, StreamId};
use messages::Role;
use reqwest::Method;
use serde_json::Value;

use super::{Admin, delegate, field, items, node, table};
use crate::certs;
use crate::cli::{StreamerCommand, StreamerFlags};

/// `sealcast streamer …`
///
/// # Errors
/// When control does not answer, or refuses; or when the authority is not here, or the folder cannot be written.
pub(crate) async fn run(command: StreamerCommand) -> anyhow::Result<()> {
    match command {
        StreamerCommand::Add(flags) => add(&flags).await,
        StreamerCommand::Delegate(flags) => delegate::run(&flags).await,
        StreamerCommand::List { admin } => {
            let admin = Admin::connect(&admin)?;
            let streamers = admin.ask(Method::GET, "/streamers", None).await?;
            admin.print(&streamers, |streamers| {
                let names = |list: &Value| items(list).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
                let row = |one: &Value| vec![field(one, "node").to_owned(), names(&one["streams"])];
                table(&["STREAMER", "STREAMS"], &items(streamers).iter().map(row).collect::<Vec<_>>())
            })
        }
        StreamerCommand::Remove { name, admin } => {
            let admin = Admin::connect(&admin)?;
            let path = format!("/nodes/{}/revoke", NodeId::new(&name)?);
            let known = admin.ask(Method::GET, "/streamers", None).await?;
            let is_one = items(&known).iter().any(|one| field(one, "node") == name);
            ensure!(is_one, "there is no streamer {name}: `sealcast streamer list` shows all");
            let removed = admin.ask(Method::POST, &path, None).await?;
            admin.print(&removed, |removed| {
                format!(
                    "streamer {name} is revoked, and its streams are those of the shared ingests again\n{}\
                     A Mosquitto still lets it log in: remove {name}.* from the folder streamer/, run `sealcast certs cluster`, and send \
                     it SIGHUP\n",
                    node::acknowledged(removed)
                )
            })
        }
    }
}

async fn add(flags: &StreamerFlags) -> anyhow::Result<()> {
    let admin = Admin::connect(&flags.admin)?;
    let (name, streams) = (NodeId::new(&flags.name)?, streams(&flags.streams)?);
    let directory = authority(flags.dir.as_deref(), &admin.data)?;
    let out = flags.out.clone().unwrap_or_else(|| PathBuf::from(format!("streamer-{name}")));
    let control = flags.control.clone().unwrap_or_else(|| admin.control.clone());
    let buses = if flags.bus.is_empty() { admin.bus.clone() } else { flags.bus.clone() };
    ensure!(!buses.is_empty(), "where the broker is cannot be told from here: give --bus URL");

    let is_new = !out.exists();
    let signer = Authority::ensure(&directory, &Clock::new())?;
    let identity = signer.issue_in(&out, &name, Some(Role::Ingest), &[])?;
    Authority::ensure_for_brokers(&directory, &Clock::new())?.share(&out)?;
    let pem = String::from_utf8(files::read_bounded(&identity.certificate)?).context("a certificate is text")?;
    let names: Vec<&str> = streams.iter().map(StreamId::as_str).collect();
    let body = serde_json::json!({ "certificate": pem, "streams": names });
    // Before a broker lets it in: control may refuse.
    let added = match admin.ask(Method::POST, &format!("/streamers/{name}"), Some(body)).await {
        Ok(added) => added,
        // Without an answer, control may have taken it, and no other key counts then.
        Err(refused) if is_new && !refused.chain().any(|cause| cause.is::<reqwest::Error>()) => {
            std::fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
            return Err(refused);
        }
        Err(error) => return Err(error),
    };

    let password = certs::streamer_password(&directory, &admin.data, &name, &streams)?;
    files::atomic_write(&out.join(format!("{name}.password")), password.as_bytes(), files::MODE_SECRET)?;
    let root = admin.root_key.as_deref().context("this data directory is not that of a control node")?;
    let root = files::read_bounded(&root.with_file_name("root.pub"))?;
    files::atomic_write(&out.join("root.pub"), &root, files::MODE_PUBLIC)?;
    let text = configuration(&admin, &name, &control, &buses);
    files::atomic_write(&out.join("sealcast.toml"), text.as_bytes(), files::MODE_PUBLIC)?;
    admin.print(&added, |added| {
        format!(
            "streamer {name} seals {} from now on, and no shared ingest does\n{}\
             Give the streamer the folder {}: there, `sealcast ingest` starts the ingest; OBS publishes to it with the key that \
             `sealcast stream create` showed; `sealcast stream rotate-key` gives another\n",
            names.join(", "),
            node::acknowledged(added),
            out.display()
        )
    })
}

fn streams(names: &[String]) -> anyhow::Result<Vec<StreamId>> {
    let mut streams = names.iter().map(|name| Ok(StreamId::new(name)?)).collect::<anyhow::Result<Vec<_>>>()?;
    streams.sort();
    streams.dedup();
    Ok(streams)
}

/// The directory of the authority that signs the certificates of nodes.
fn authority(given: Option<&Path>, data: &Path) -> anyhow::Result<PathBuf> {
    let candidates = given.map_or_else(|| vec![data.join("certs"), PathBuf::from("certs")], |dir| vec![dir.to_owned()]);
    for directory in &candidates {
        if directory.join("ca.key").exists() {
            return Ok(directory.clone());
        }
    }
    let looked: Vec<String> = candidates.iter().map(|directory| directory.display().to_string()).collect();
    bail!("the authority of the nodes is not in {}: say where it is (--dir DIR)", looked.join(" or "))
}

/// The configuration of a streamer's ingest, with paths that are right in its folder.
fn configuration(admin: &Admin, name: &NodeId, control: &str, buses: &[String]) -> String {
    let buses: Vec<String> = buses.iter().map(|url| format!("{url:?}")).collect();
    format!(
        "# The ingest of streamer {name}. Start it in this folder: sealcast ingest\n\
         cluster = \"{}\"\n\
         data = \"data\"\n\
         root_key = \"root.pub\"\n\
         control = [{control:?}]\n\
         part_target_ms = {}\n\n\
         [node]\n\
         id = \"{name}\"\n\
         certificate = \"{name}.pem\"\n\
         private_key = \"{name}.key\"\n\
         ca = \"ca.pem\"\n\n\
         [bus]\n\
         urls = [{}]\n\
         prefix = {:?}\n\
         ca = \"broker-ca.pem\"\n\
         username = \"{name}\"\n\
         password_file = \"{name}.password\"\n",
        admin.cluster,
        admin.part_target_ms,
        buses.join(", "),
        admin.prefix,
    )
}
