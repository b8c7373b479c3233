//! What an HTTP server answers, read within a limit: a server that is broken or hostile must not fill the memory.

use anyhow::{Result, ensure};
use bytes::{Bytes, BytesMut};

/// The body of an answer of any status.
///
/// # Errors
/// When the connection ends early, or the body is longer than `bytes_max`.
pub async fn body(mut answer: reqwest::Response, bytes_max: usize) -> Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        let length = body.len().saturating_add(piece.len());
        ensure!(length <= bytes_max, "{} answers with more than {bytes_max} bytes", answer.url());
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
