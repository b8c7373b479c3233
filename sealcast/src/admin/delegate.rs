//! `sealcast streamer delegate`: on the streamer's own machine, in the folder of its identity. Signs a delegation with the streamer's
//! sealing key, which never leaves the folder, and hands it to control.

use std::io::Write as _;
use std::time::Duration;

use ::node::answer;
use ::node::clock::Clock;
use ::node::files;
use ::node::tls::{Identity, IdentityPaths, Server};
use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use media::{ClusterId, SessionId, StreamId, UnixMillis};
use messages::{Delegate, Delegates, Role};
use seal::limits::DELEGATION_LIFE_MAX;
use seal::{Delegation, KeyId, SealingKey};
use serde_json::{Value, json};

use super::node::acknowledged;
use crate::cli::DelegateFlags;
use crate::settings;

/// Longest wait for an answer of control.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest answer of control, in bytes: the shared ingests of a cluster.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// A delegation is valid from this long before it is signed, because clocks differ.
const BACKDATE: Duration = Duration::from_secs(60);

/// Control, as a streamer reaches it.
struct Control {
    http: reqwest::Client,
    urls: Vec<String>,
}

impl Control {
    /// Asks the first control node that answers.
    async fn ask(&self, request: impl Fn(&str) -> reqwest::RequestBuilder) -> anyhow::Result<Bytes> {
        let mut last = None;
        for url in &self.urls {
            let base = format!("{}/cluster/v1", url.trim_end_matches('/'));
            match request(&base).timeout(ANSWER_WAIT_MAX).send().await {
                Err(error) => last = Some(error),
                Ok(answer) => {
                    let status = answer.status();
                    let body = answer::body(answer, ANSWER_BYTES_MAX).await?;
                    if status.is_success() {
                        return Ok(body);
                    }
                    let why: String = String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).collect();
                    bail!("{}", if why.is_empty() { status.to_string() } else { why });
                }
            }
        }
        let last = last.context("the configuration names no control node (control = [\"https://…\"])")?;
        Err(last).with_context(|| format!("control does not answer at {}", self.urls.join(" or ")))
    }
}

/// Runs the command.
///
/// # Errors
/// When the folder is not that of a streamer, control does not answer or refuses, or no ingest is there to delegate to.
pub(super) async fn run(flags: &DelegateFlags) -> anyhow::Result<()> {
    let settings = settings::read(flags.config.as_deref())?;
    let stream = StreamId::new(&flags.stream)?;
    ensure!(!flags.lasts.is_zero() && flags.lasts <= DELEGATION_LIFE_MAX - BACKDATE, "--for: 1m to 11h are possible");
    let missing = "run this in the folder that `sealcast streamer add` made, or name its sealcast.toml (--config FILE)";
    let id = settings.node.id.clone().with_context(|| format!("the configuration names no node: {missing}"))?;
    let identity = IdentityPaths {
        certificate: settings.node.certificate.clone().context(missing)?,
        key: settings.node.private_key.clone().context(missing)?,
        ca: settings.node.ca.clone().context(missing)?,
    };
    let http = Identity::load(&identity)?.http_client(Server::Any(Role::Control))?;
    let control = Control { http, urls: settings.control.clone() };
    let data = settings.data.join(id.as_str());
    files::create_directory(&data)?;
    let key = ingest::sealing_key_in(&data)?;

    control.ask(|base| control.http.post(format!("{base}/grants")).body(key.public_key_bytes())).await?;
    let answer = control.ask(|base| control.http.get(format!("{base}/delegates"))).await?;
    let known: Delegates = serde_json::from_slice(&answer).context("control's answer on whom to delegate to")?;
    let ingest = chosen(&known.ingests, flags.to.as_deref())?;
    let to = key_of(ingest)?;
    let signed = sign((&settings.cluster, &stream), (&key, to), flags.lasts, known.granted_until)?;
    let raw = signed.raw().clone();
    let taken = control.ask(|base| control.http.post(format!("{base}/delegations")).body(raw.clone())).await?;
    let taken: Value = serde_json::from_slice(&taken).context("control's answer is not JSON")?;
    print(flags, ingest, signed.delegation(), &taken)
}

/// The ingest that was named, or the only one.
fn chosen<'d>(ingests: &'d [Delegate], name: Option<&str>) -> anyhow::Result<&'d Delegate> {
    let names: Vec<&str> = ingests.iter().map(|one| one.node.as_str()).collect();
    let of_name = ingests.iter().filter(|one| name.is_none_or(|name| one.node.as_str() == name));
    match (of_name.collect::<Vec<_>>().as_slice(), name) {
        ([one], _) => Ok(one),
        ([], Some(name)) => bail!("there is no shared ingest {name} with a grant; there are: {}", names.join(", ")),
        ([], None) => bail!("no shared ingest has a grant now: start one, or run an ingest of your own"),
        ([newest, ..], Some(_)) => Ok(newest),
        (_, None) => {
            bail!("there are several shared ingests, say to which one to delegate: --to {}", names.join(" or --to "))
        }
    }
}

fn key_of(ingest: &Delegate) -> anyhow::Result<KeyId> {
    let mut key = KeyId([0; 16]);
    hex::decode_to_slice(&ingest.key, &mut key.0).with_context(|| format!("{:?} is no key", ingest.key))?;
    Ok(key)
}

fn sign(
    (cluster, stream): (&ClusterId, &StreamId),
    (key, to): (&SealingKey, KeyId),
    lasts: Duration,
    granted_until: UnixMillis,
) -> anyhow::Result<seal::SignedDelegation> {
    let now = Clock::new().wall();
    let delegation = Delegation {
        cluster: cluster.clone(),
        stream: stream.clone(),
        session: SessionId(rand::random()),
        key: to,
        from: now.minus(BACKDATE),
        until: now.plus(lasts).min(granted_until),
    };
    delegation.sign(key).context("the delegation cannot be signed")
}

fn print(flags: &DelegateFlags, ingest: &Delegate, delegation: &Delegation, taken: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Delegation { stream, session, until, .. } = delegation;
    let Delegate { node, key } = ingest;
    if flags.json {
        let said = json!({
            "stream": stream, "session": session, "ingest": node, "key": key, "until": until,
            "acknowledged": taken["acknowledged"], "missing": taken["missing"],
        });
        writeln!(out, "{}", serde_json::to_string_pretty(&said)?)?;
        return Ok(());
    }
    writeln!(out, "key {key} of {node} may seal one session of {stream} until {until}: session {session}")?;
    write!(out, "{}", acknowledged(taken))?;
    writeln!(out, "publish to that ingest with the key of the stream; when the stream has ended, delegate again")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ingest_is_taken_and_of_several_the_one_that_is_named() {
        let one = |node: &str, key: &str| Delegate { node: node.parse().unwrap(), key: key.to_owned() };
        let all = [one("i1", "01"), one("i2", "02"), one("i2", "03")];
        assert_eq!(chosen(&all[..1], None).unwrap(), &all[0]);
        assert_eq!(chosen(&all, Some("i1")).unwrap(), &all[0]);
        assert_eq!(chosen(&all, Some("i2")).unwrap(), &all[1], "of two keys, one");
        let said = |chosen: anyhow::Result<&Delegate>| chosen.unwrap_err().to_string();
        assert!(said(chosen(&all, None)).contains("--to i1 or --to i2"));
        assert!(said(chosen(&all, Some("i3"))).contains("there are: i1, i2"));
        assert!(said(chosen(&[], None)).contains("no shared ingest"));
    }
}
