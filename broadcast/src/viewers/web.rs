//! The web app, embedded in the binary when that is built (`build.rs`).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use http::HeaderValue;

use gate::Rendered;
use media::StreamId;

/// The content security policy of the viewers' page; the development server of the web app reads the same file.
static VIEWER_POLICY: &str = include_str!("../../../web/csp.txt");
/// The same of the studio, and of the page that signs in: no WebAssembly, and no text becomes a script.
static STUDIO_POLICY: &str = include_str!("../../../web/csp-studio.txt");
/// Files below it have a hash of their contents in their names.
const HASHED: &str = "assets/";
/// What follows the name of a file in that of its Brotli form, which the build of the app makes. No file is served under it.
const BROTLI: &str = ".br";

/// A page of the app: a file with an entry script of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// Home and player.
    Viewer,
    Studio,
    /// Signing in, and setting up.
    SignIn,
}

impl Page {
    const ALL: [Self; 3] = [Self::Viewer, Self::Studio, Self::SignIn];

    const fn file_name(self) -> &'static str {
        match self {
            Self::Viewer => "index.html",
            Self::Studio => "studio.html",
            Self::SignIn => "sign-in.html",
        }
    }

    const fn policy(self) -> &'static str {
        match self {
            Self::Viewer => VIEWER_POLICY.trim_ascii(),
            Self::Studio | Self::SignIn => STUDIO_POLICY.trim_ascii(),
        }
    }

    /// The page itself.
    pub(super) fn file(self) -> &'static File {
        file(self.file_name()).expect("the build does not end without its pages")
    }
}

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
    /// Content security policy: of a page its own, of other files that of the viewers' page, whose worker obeys it.
    pub(super) policy: &'static str,
}

static FILES: LazyLock<HashMap<String, File>> =
    LazyLock::new(|| Built::iter().filter(|path| !path.ends_with(BROTLI)).filter_map(|path| read(&path)).collect());

fn read(path: &str) -> Option<(String, File)> {
    let brotli = Built::get(&format!("{path}{BROTLI}")).map(|file| file.data.into_owned().into());
    let rendered = Rendered::with_brotli(Built::get(path)?.data.into_owned(), brotli);
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let has_charset = kind.type_() == mime_guess::mime::TEXT || kind.subtype() == mime_guess::mime::JAVASCRIPT;
    let charset = if has_charset { "; charset=utf-8" } else { "" };
    let content_type = HeaderValue::try_from(format!("{}{charset}", kind.essence_str())).ok()?;
    let page = Page::ALL.into_iter().find(|page| page.file_name() == path);
    let policy = page.unwrap_or(Page::Viewer).policy();
    Some((path.to_owned(), File { rendered, content_type, is_hashed: path.starts_with(HASHED), policy }))
}

/// A file by its path, without a leading slash. It is looked up among the embedded files, so no path leads anywhere else.
pub(super) fn file(path: &str) -> Option<&'static File> {
    FILES.get(path)
}

/// The paths of all files.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FILES.keys().map(String::as_str)
}

/// Streams whose pages are kept; the compressed page is what takes time to make.
const KEPT_MAX: usize = 64;

/// The pages that were made last, by stream: viewers who come between two parts share one, with its compressed form.
#[derive(Default)]
pub(super) struct MadePages(Mutex<HashMap<StreamId, Rendered>>);

impl MadePages {
    /// The page, or the one that was made of the same text.
    pub(super) fn shared(&self, stream: &StreamId, text: String) -> Rendered {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = kept.get(stream).filter(|page| page.identity() == text.as_bytes()) {
            return page.clone();
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let page = Rendered::new(text);
        kept.insert(stream.clone(), page.clone());
        page
    }
}
