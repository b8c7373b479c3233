//! npm's certified OpenID provider (`oidc-provider`) in a process of its own, and a browser that follows it. Installed by `make test`, below
//! `control/tests/oidc-provider`.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use reqwest::{StatusCode, header};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Most redirects of one way.
const REDIRECTS_MAX: usize = 10;

/// The provider; ends with this.
pub struct Provider {
    /// `iss` of its tokens.
    pub url: String,
    directory: TempDir,
    _process: Child,
    _input: ChildStdin,
}

impl Provider {
    /// Starts it for one client.
    ///
    /// # Panics
    /// When it is not installed, or does not start.
    pub async fn start(client_id: &str, secret: &str, redirect_uri: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../control/tests/oidc-provider");
        assert!(folder.join("node_modules").exists(), "npm --prefix control/tests/oidc-provider ci");
        let directory = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).unwrap();
        let [ca, key] = ["ca.pem", "key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&ca, own.cert.pem()).unwrap();
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let mut process = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .args([&ca, &key])
            .args([client_id, secret, redirect_uri])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let line = BufReader::new(output).lines().next_line().await.unwrap();
        Self { url: line.expect("the provider says its URL"), directory, _process: process, _input: input }
    }

    /// The authority of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A browser goes to this URL, and follows the provider until that sends it elsewhere: returns where.
    ///
    /// # Panics
    /// When the provider answers with a page.
    pub async fn follow(&self, url: &str) -> String {
        let client = crate::http::client_of(&self.ca(), |builder| builder.redirect(reqwest::redirect::Policy::none()));
        let (mut url, mut cookies) = (url.to_owned(), std::collections::BTreeMap::new());
        for _ in 0..REDIRECTS_MAX {
            if !url.starts_with(&self.url) {
                return url;
            }
            let jar: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = client.get(&url).header(header::COOKIE, jar.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all(header::SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                cookies.insert(name.to_owned(), value.to_owned());
            }
            let status = answer.status();
            let location = answer.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
            let text = answer.text().await.unwrap();
            assert_eq!(status, StatusCode::SEE_OTHER, "{url}: {text}");
            let location = location.unwrap();
            url = if location.starts_with('/') { format!("{}{location}", self.url) } else { location };
        }
        panic!("it leads around in circles: {url}");
    }
}
