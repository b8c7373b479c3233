//! The part of a control node that grants keys, for tests of roles and for `bench`: it writes a real metadata log, and serves it.

use std::sync::Arc;

use anyhow::Result;
use media::{NodeId, StreamId, UnixMillis};
use metadata::{Body, Edit, Grant, Revocation, Revoked, RowId, Scope};
use node::{CancellationToken, Context, http, presence};
use replica::{ControlIdentity, Log, Writer};
use seal::{RootKey, SealingKey};

/// It writes what it is told, whatever a control node would say of it.
pub struct Granter {
    writer: Arc<Writer>,
    shutdown: CancellationToken,
}

impl Granter {
    /// Begins a log in the data directory of `control`, and says where it stands until `shutdown`.
    pub async fn open(control: &Context, root: &RootKey, shutdown: &CancellationToken) -> Result<Self> {
        let log = Log::open(&control.data.join("metadata.db"), control, root.public_key()?).await?;
        let identity = ControlIdentity { key_file: &control.data.join("metadata.key"), root: Some(root), ledger: None };
        let writer = Arc::new(Writer::open(log, control, identity).await?);
        let (running, until) = (Arc::clone(&writer), shutdown.clone());
        tokio::spawn(async move { running.run(&until).await });
        Ok(Self { writer, shutdown: shutdown.clone() })
    }

    /// As [`Granter::open`], and serves the log where the presence of `control` says.
    pub async fn start(control: &Context, root: &RootKey, shutdown: &CancellationToken) -> Result<Self> {
        let this = Self::open(control, root, shutdown).await?;
        let listener = acceptor::bind(([127, 0, 0, 1], 0).into(), "data_listen").await?;
        let data = format!("https://{}", listener.local_addr()?);
        let parts = move || presence::PresenceParts { data: Some(data.clone()), ..Default::default() };
        presence::spawn(control, parts, shutdown.clone());
        let (tls, routes) = (control.identity.server_mutual(), replica::router(Arc::clone(this.log())));
        tokio::spawn(http::serve_tls(listener, tls, routes, http::Limits::default(), shutdown.clone()));
        Ok(this)
    }

    pub fn log(&self) -> &Arc<Log> {
        self.writer.log()
    }

    /// A grant of these streams, from an hour before `now` for a day.
    pub fn statement(node: &NodeId, key: &SealingKey, streams: Vec<StreamId>, now: UnixMillis) -> Grant {
        Grant {
            public_key: key.public_key_bytes(),
            node: node.clone(),
            scope: Scope::Streams(streams),
            may_delegate: false,
            from: UnixMillis(now.0 - 3_600_000),
            until: UnixMillis(now.0 + 86_400_000),
        }
    }

    /// Writes a row in place of the one with its name.
    pub async fn write(&self, body: Body) -> Result<()> {
        let edits = |view: metadata::View<'_>| {
            let (kind, name) = (body.kind(), body.name().unwrap_or_default());
            let id = view.row_id(kind, &name).unwrap_or_else(|| RowId(random()));
            vec![Edit { id, kind, body: Some(body), salt: random() }]
        };
        self.writer.write(edits).await.map(drop)
    }

    /// Removes the row of a kind with a name.
    ///
    /// # Errors
    /// When the log cannot be written.
    pub async fn remove(&self, kind: u64, name: &str) -> Result<()> {
        let edits = |view: metadata::View<'_>| {
            let id = view.row_id(kind, name);
            id.map(|id| Edit { id, kind, body: None, salt: [0; 16] }).into_iter().collect()
        };
        self.writer.write(edits).await.map(drop)
    }

    pub async fn grant(&self, grant: Grant) -> Result<()> {
        self.write(Body::Grant(grant)).await
    }

    pub async fn revoke(&self, subject: Revoked) -> Result<()> {
        // What it signed before stays.
        let since = UnixMillis(i64::MAX);
        self.write(Body::Revocation(Revocation { subject, since, reason: String::new() })).await
    }

    /// Closes the file; nothing can be written after that.
    pub async fn close(&self) {
        self.shutdown.cancel();
        self.writer.log().close().await;
    }
}

fn random() -> [u8; 16] {
    rand::random()
}
