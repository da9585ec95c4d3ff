//! nginx and HAProxy: their configurations for a fair race, and the command that installs what is missing.
//!
//! Both are tuned for it: connections to clients and upstreams are kept and reused (2,048 of them), nothing is logged, bodies stay in memory,
//! there are no health checks. `+h` variants add X-Forwarded-For and X-Request-Id to each request, as a balancer must.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use host::install::Manager;

/// Idle connections to upstreams that are kept.
const POOL: usize = 2048;
/// The longest body that nginx can hold in its configuration; longer ones are files.
const INLINE: u32 = 1024;

/// Another product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    Haproxy,
}

/// What a proxy is to do.
#[derive(Clone, Debug)]
pub struct Job<'a> {
    pub listen: SocketAddr,
    pub upstreams: &'a [SocketAddr],
    pub workers: u16,
    /// Whether it adds the headers that a balancer must.
    pub headers: bool,
}

impl Peer {
    pub fn program(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Writes the configuration of a proxy; the command that runs it in the foreground.
    pub fn proxy(
        self,
        program: PathBuf,
        folder: &Path,
        name: &str,
        job: &Job<'_>,
    ) -> Result<Vec<OsString>> {
        match self {
            Self::Nginx => nginx(program, folder, name, &nginx_proxy(folder, name, job)),
            Self::Haproxy => {
                let file = folder.join(format!("{name}.cfg"));
                write(&file, haproxy(job).as_bytes())?;
                let words: [OsString; 4] = [program.into(), "-db".into(), "-f".into(), file.into()];
                Ok(words.into())
            }
        }
    }

    /// What a person would type to install it.
    pub fn installed_by(self) -> String {
        let package = self.program();
        let install = match Manager::detect() {
            Some(Manager::Apt) => "apt-get install -y",
            Some(Manager::Dnf) => "dnf install -y",
            Some(Manager::Pacman) => "pacman -S --needed",
            Some(Manager::Apk) => "apk add",
            Some(Manager::Zypper) => "zypper install",
            Some(Manager::Brew) => return format!("brew install {package}"),
            None => return format!("your package manager, as {package}"),
        };
        let root = rustix::process::geteuid().is_root();
        format!("{}{install} {package}", if root { "" } else { "sudo " })
    }
}

/// Writes the configuration of nginx as upstream: `/N` has N bytes, `/health` says that all is well.
pub fn nginx_upstream(
    program: PathBuf,
    folder: &Path,
    listen: &[SocketAddr],
    bodies: &[u32],
) -> Result<Vec<OsString>> {
    let files = folder.join("bodies");
    fs::create_dir_all(&files).with_context(|| format!("making {}", files.display()))?;
    for body in bodies.iter().filter(|body| **body > INLINE) {
        write(&files.join(body.to_string()), &vec![b'x'; *body as usize])?;
    }
    let mut text = nginx_head(folder, "upstream", 1);
    let _ = write!(
        text,
        "    sendfile on; tcp_nopush on; default_type text/plain;
    open_file_cache max=100 inactive=1h; open_file_cache_valid 1h;
"
    );
    for address in listen {
        let _ = write!(
            text,
            "    server {{
        listen {address} backlog=4096;
        root {};
        location = /health {{ default_type application/json; return 200 '{{\"status\":\"up\"}}'; }}
",
            files.display()
        );
        for body in bodies.iter().filter(|body| **body <= INLINE) {
            let _ = writeln!(
                text,
                "        location = /{body} {{ return 200 {}; }}",
                "x".repeat(*body as usize)
            );
        }
        text.push_str("    }\n");
    }
    text.push_str("}\n");
    nginx(program, folder, "upstream", &text)
}

fn nginx(program: PathBuf, folder: &Path, name: &str, text: &str) -> Result<Vec<OsString>> {
    let file = folder.join(format!("{name}.conf"));
    write(&file, text.as_bytes())?;
    // The prefix, so that nothing of an installed nginx is touched; and where errors go before the file is read.
    let mut words: Vec<OsString> = vec![program.into(), "-e".into(), "stderr".into()];
    words.extend(["-p".into(), folder.into(), "-c".into(), file.into()]);
    Ok(words)
}

fn nginx_head(folder: &Path, name: &str, workers: u16) -> String {
    // As root it would else become another account, which may not enter the folder.
    let user = if rustix::process::geteuid().is_root() {
        "user root root;\n"
    } else {
        ""
    };
    let folder = folder.display();
    let mut text = format!(
        "{user}daemon off;
worker_processes {workers};
pid {folder}/{name}.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    tcp_nodelay on;
"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "    {kind}_temp_path {folder}/{name}.{kind};");
    }
    text
}

fn nginx_proxy(folder: &Path, name: &str, job: &Job<'_>) -> String {
    let mut text = nginx_head(folder, name, job.workers);
    text.push_str("    upstream behind {\n");
    for upstream in job.upstreams {
        let _ = writeln!(text, "        server {upstream};");
    }
    // Without it the workers' shares depend on who wakes first.
    let reuse = if job.workers > 1 { " reuseport" } else { "" };
    let headers = if job.headers {
        "            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Request-Id $request_id;
"
    } else {
        ""
    };
    let _ = write!(
        text,
        "        keepalive {POOL}; keepalive_requests 1000000000; keepalive_timeout 1h;
    }}
    server {{
        listen {} backlog=4096{reuse};
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
{headers}            proxy_buffer_size 8k; proxy_buffers 16 16k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0;
        }}
    }}
}}
",
        job.listen
    );
    text
}

fn haproxy(job: &Job<'_>) -> String {
    let workers = job.workers;
    // One listening socket per thread, as nginx has one per worker.
    let shards = if workers > 1 { " shards by-thread" } else { "" };
    let headers = if job.headers {
        "    option forwardfor
    unique-id-format %{+X}o\\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
    unique-id-header X-Request-Id
"
    } else {
        ""
    };
    let mut text = format!(
        "global
    nbthread {workers}
    maxconn 5000
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    http-reuse always
frontend front
    bind {}{shards} backlog 4096
{headers}    default_backend behind
backend behind
    balance roundrobin
",
        job.listen
    );
    for (number, upstream) in job.upstreams.iter().enumerate() {
        let _ = writeln!(
            text,
            "    server s{number} {upstream} pool-max-conn {POOL} pool-purge-delay 1h"
        );
    }
    text
}

fn write(file: &Path, content: &[u8]) -> Result<()> {
    fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::commands::bench::process::{find, free_addresses};

    /// Lets the program itself judge, where it is installed.
    fn accepted(command: &[OsString], check: &str) {
        let output = Command::new(&command[0])
            .args(&command[1..])
            .arg(check)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {said}");
        assert!(!said.contains("warn"), "{command:?}: {said}");
    }

    #[test]
    fn the_programs_accept_their_configurations() {
        let folder = tempfile::tempdir().unwrap();
        let addresses = free_addresses(3).unwrap();
        for (peer, check) in [(Peer::Nginx, "-t"), (Peer::Haproxy, "-c")] {
            let Some(program) = find(peer.program()) else {
                continue;
            };
            for (workers, headers) in [(1, false), (1, true), (2, false), (2, true)] {
                let job = Job {
                    listen: addresses[0],
                    upstreams: &addresses[1..],
                    workers,
                    headers,
                };
                let command = peer.proxy(program.clone(), folder.path(), "proxy", &job);
                accepted(&command.unwrap(), check);
            }
        }
        if let Some(program) = find("nginx") {
            let bodies = [200, 65_536];
            let command = nginx_upstream(program, folder.path(), &addresses, &bodies).unwrap();
            accepted(&command, "-t");
            let large = fs::metadata(folder.path().join("bodies/65536")).unwrap();
            assert_eq!(large.len(), 65_536);
        }
    }

    #[test]
    fn headers_are_added_where_they_are_asked_for() {
        let address = "127.0.0.1:80".parse().unwrap();
        for headers in [false, true] {
            let job = Job {
                listen: address,
                upstreams: &[address],
                workers: 2,
                headers,
            };
            for text in [nginx_proxy(Path::new("/x"), "n", &job), haproxy(&job)] {
                assert_eq!(text.contains("X-Request-Id"), headers, "{text}");
            }
        }
    }

    #[test]
    fn what_is_missing_has_a_command() {
        for peer in [Peer::Nginx, Peer::Haproxy] {
            assert!(peer.installed_by().ends_with(peer.program()));
        }
    }
}
