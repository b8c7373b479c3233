//! nginx as Debian ships it, set up for static files as in its documentation, with as many workers as there are cores.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use node::tls::IdentityPaths;

use super::Server;
use crate::origin::{free_port, wait_until};

/// nginx's master process. On drop it gets the command to stop, so that its workers stop, too.
struct Master {
    child: Child,
    stop: Command,
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.stop.status();
        let _ = self.child.wait();
    }
}

/// Serves the files of `root`.
pub(super) fn start(directory: &Path, root: &Path, identity: &IdentityPaths) -> anyhow::Result<Server> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let config = directory.join("nginx.conf");
    std::fs::write(&config, conf(directory, root, identity, address))?;
    let nginx = || {
        let binary = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let mut command = Command::new(binary);
        command.arg("-p").arg(directory).arg("-e").arg(directory.join("error.log")).arg("-c").arg(&config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let child = nginx().spawn().context("nginx is missing: scripts/setup.sh test")?;
    let mut stop = nginx();
    stop.args(["-s", "stop"]);
    let pid = child.id();
    let master = Master { child, stop };
    wait_until("nginx to listen", || TcpStream::connect(address).is_ok())?;
    let mut processes = Vec::new();
    let cores = std::thread::available_parallelism()?.get();
    wait_until("nginx's workers", || {
        processes = workers(pid);
        processes.len() == cores
    })?;
    Ok(Server { name: "nginx", address, processes, _running: Box::new(master) })
}

/// Process ids of the children of a process.
fn workers(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// nginx's configuration. It has no cache of open files, because a live playlist is a new file every half second.
fn conf(directory: &Path, root: &Path, identity: &IdentityPaths, address: SocketAddr) -> String {
    let (dir, root) = (directory.display(), root.display());
    let (certificate, key) = (identity.certificate.display(), identity.key.display());
    format!(
        "daemon off;
user root;
worker_processes auto;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 65;
    keepalive_requests 10000000;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s; }}
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen {address} ssl http2;
        root {root};
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:SSL:10m;
        ssl_session_timeout 10m;
        location ~ \\.m3u8$ {{ add_header Cache-Control \"public, max-age=2\"; }}
        location ~ \\.m4s$ {{ add_header Cache-Control \"public, max-age=31536000, immutable\"; }}
    }}
}}
"
    )
}
