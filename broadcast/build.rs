//! Builds the web app when it is missing or older than its sources, and puts it where the crate embeds it from.
//!
//! Cargo runs this again only when a source of the web app changed, because only sources are named below: not `dist`, which
//! this may write itself.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

/// Sources of the app, within `web`. A directory stands for all in it.
const SOURCES: [&str; 11] = [
    "src",
    "verify/src",
    // Built from `crates/verify` by `npm run build`, which builds it anew when its sources are newer.
    "verify/verify.wasm",
    "public",
    "index.html",
    "studio.html",
    "sign-in.html",
    "package.json",
    "package-lock.json",
    "vite.config.ts",
    "tsconfig.json",
];
/// Pages of the app.
const PAGES: [&str; 3] = ["index.html", "studio.html", "sign-in.html"];
/// Set by cargo for this script; Node's tools read them as something else.
const NOT_FOR_NODE: [&str; 3] = ["DEBUG", "HOST", "TARGET"];

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error=web app: {error}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<()> {
    let web = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../web");
    let embedded = Path::new(&variable("OUT_DIR")?).join("web");
    let sources: Vec<PathBuf> = SOURCES.iter().map(|name| web.join(name)).filter(|path| path.exists()).collect();
    for source in &sources {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    // Two builds at once, such as a check and a test, would write the same files. The lock goes with the file.
    let manifest = web.join("package.json");
    let lock = File::open(&manifest).map_err(|error| format!("cannot read {}: {error}", manifest.display()))?;
    lock.lock().map_err(|error| format!("cannot lock {}: {error}", manifest.display()))?;
    let dist = web.join("dist");
    if is_stale(&dist.join("index.html"), &sources)? {
        if !web.join("node_modules").exists() {
            npm(&web, &["ci", "--no-audit", "--no-fund"])?;
        }
        npm(&web, &["run", "--silent", "build"])?;
    }
    if embedded.exists() {
        fs::remove_dir_all(&embedded).map_err(|error| format!("cannot clear {}: {error}", embedded.display()))?;
    }
    copy(&dist, &embedded)?;
    check(&embedded)
}

fn variable(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// Whether `product` is missing or older than a source.
fn is_stale(product: &Path, sources: &[PathBuf]) -> Result<bool> {
    let Ok(built) = modified(product) else { return Ok(true) };
    for source in sources {
        if newest(source)? > built {
            return Ok(true);
        }
    }
    Ok(false)
}

fn modified(path: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(path).and_then(|metadata| metadata.modified());
    metadata.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// When a file, or the newest thing in a directory, was changed.
fn newest(path: &Path) -> Result<SystemTime> {
    let mut latest = modified(path)?;
    for entry in entries(path)? {
        latest = latest.max(newest(&entry)?);
    }
    Ok(latest)
}

/// What is in a directory; nothing for a file.
fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(path) {
        Ok(listed) => listed.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    listed.map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn npm(web: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("npm");
    command.args(arguments).current_dir(web);
    for name in NOT_FOR_NODE {
        command.env_remove(name);
    }
    let what = format!("`npm {}` in {}", arguments.join(" "), web.display());
    let output = command.output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "npm is not installed, and the app has to be built: install Node 20 or newer, or put a built app at web/dist".into()
        }
        _ => format!("{what} does not start: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    // What a tool printed goes where cargo shows it; the error itself stays one line.
    eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{what} failed ({}); what it printed stands below", output.status))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|error| format!("cannot make {}: {error}", to.display()))?;
    for path in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target).map_err(|error| format!("cannot copy {}: {error}", path.display()))?;
        }
    }
    Ok(())
}

/// Checks that the pages and every script and style that they name are there: a build that was cut off is not embedded.
fn check(embedded: &Path) -> Result<()> {
    for name in PAGES {
        let path = embedded.join(name);
        let page = fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        for named in page.split('"').filter_map(|text| text.strip_prefix("/assets/")) {
            if !embedded.join("assets").join(named).is_file() {
                return Err(format!("{name} names assets/{named}, which is not there: run `npm run build` in web"));
            }
        }
    }
    Ok(())
}
