//! The web app, embedded in the binary when that is built (`build.rs`).

use std::collections::HashMap;
use std::sync::LazyLock;

use http::HeaderValue;

use gate::Rendered;

/// The content security policy of the page; the development server of the web app reads the same file.
pub(super) static CONTENT_SECURITY_POLICY: &str = include_str!("../../../web/csp.txt");
/// Files below it have a hash of their contents in their names.
const HASHED: &str = "assets/";
const INDEX: &str = "index.html";

#[derive(rust_embed::Embed)]
#[folder = "$OUT_DIR/web"]
struct Built;

/// One file of the web app.
#[derive(Debug)]
pub(super) struct File {
    pub(super) rendered: Rendered,
    pub(super) content_type: HeaderValue,
    /// Its name has a hash of its contents, so it never changes.
    pub(super) is_hashed: bool,
}

static FILES: LazyLock<HashMap<String, File>> =
    LazyLock::new(|| Built::iter().filter_map(|path| read(&path)).collect());

fn read(path: &str) -> Option<(String, File)> {
    let rendered = Rendered::new(Built::get(path)?.data.into_owned());
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let has_charset = kind.type_() == mime_guess::mime::TEXT || kind.subtype() == mime_guess::mime::JAVASCRIPT;
    let charset = if has_charset { "; charset=utf-8" } else { "" };
    let content_type = HeaderValue::try_from(format!("{}{charset}", kind.essence_str())).ok()?;
    Some((path.to_owned(), File { rendered, content_type, is_hashed: path.starts_with(HASHED) }))
}

/// The page that all of the app's URLs answer with.
pub(super) fn index() -> &'static File {
    file(INDEX).expect("the build does not end without an index page")
}

/// A file by its path, without a leading slash. It is looked up among the embedded files, so no path leads anywhere else.
pub(super) fn file(path: &str) -> Option<&'static File> {
    FILES.get(path)
}
