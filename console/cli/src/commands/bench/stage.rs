//! What is measured, set up: upstreams, our balancer and the peers before them.

use std::{ffi::OsString, fmt::Write as _, io::Read as _, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use super::{
    peers::{self, Job, Peer},
    process::{Bench, Process, find, free_addresses},
};
use crate::{arguments::Arguments, terminal::tell};

/// The servers behind the proxies.
pub struct Upstreams {
    pub process: Process,
    pub addresses: Vec<SocketAddr>,
    pub kind: &'static str,
}

/// A proxy that answers.
pub struct Proxy {
    pub process: Process,
    pub address: SocketAddr,
}

/// Our balancer, and how to talk to its admin port.
pub struct Balancer {
    pub proxy: Proxy,
    pub admin: SocketAddr,
    pub operator_token: String,
}

/// How the built-in upstreams serve.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub time: Duration,
    pub at_a_time: Option<u16>,
}

/// A path and the length of what is under it, to see that something answers.
pub type Probe<'a> = (&'a str, Option<u64>);

impl Bench {
    /// nginx with one worker where it is installed, otherwise our own server: two ports, the same on both.
    pub async fn upstreams(&self, bodies: &[u32], built_in: bool) -> Result<Upstreams> {
        if let Some(program) = find("nginx").filter(|_| !built_in) {
            let addresses = free_addresses(2)?;
            let command = peers::nginx_upstream(program, self.folder(), &addresses, bodies)?;
            let process = self.guarded("upstream", &command)?;
            match self.answering(process, &addresses, bodies).await {
                Ok(process) => {
                    let kind = "nginx, one worker";
                    return Ok(Upstreams {
                        process,
                        addresses,
                        kind,
                    });
                }
                Err(error) => tell(format_args!(
                    "nginx as upstream: {error:#}; the built-in one takes its place"
                )),
            }
        }
        let service = Service {
            time: Duration::ZERO,
            at_a_time: None,
        };
        self.built_in_upstreams(2, bodies, service).await
    }

    pub async fn built_in_upstreams(
        &self,
        count: usize,
        bodies: &[u32],
        service: Service,
    ) -> Result<Upstreams> {
        let addresses = free_addresses(count)?;
        let list = |numbers: &mut dyn Iterator<Item = u32>| {
            numbers.map(|n| n.to_string()).collect::<Vec<_>>().join(",")
        };
        let mut arguments = vec![
            "bench-upstream".to_owned(),
            "--ports".to_owned(),
            list(&mut addresses.iter().map(|address| address.port().into())),
            "--bodies".to_owned(),
            list(&mut bodies.iter().copied()),
            "--service-time".to_owned(),
            format!("{}ms", service.time.as_millis()),
        ];
        if let Some(at_a_time) = service.at_a_time {
            arguments.extend(["--at-a-time".to_owned(), at_a_time.to_string()]);
        }
        let process = self.ours("upstream", &arguments, &[])?;
        let process = self.answering(process, &addresses, bodies).await?;
        Ok(Upstreams {
            process,
            addresses,
            kind: "built in, one thread",
        })
    }

    async fn answering(
        &self,
        mut process: Process,
        addresses: &[SocketAddr],
        bodies: &[u32],
    ) -> Result<Process> {
        for address in addresses {
            for body in bodies {
                let path = format!("/{body}");
                self.until_it_answers(&mut process, *address, &path, Some(u64::from(*body)))
                    .await?;
            }
        }
        Ok(process)
    }

    /// `serve balancer` of this very program, with everything on as in a lab: metrics, logs, health checks.
    pub async fn balancer(
        &self,
        upstreams: &[SocketAddr],
        workers: Option<u16>,
        probe: Probe<'_>,
    ) -> Result<Balancer> {
        let addresses = free_addresses(2)?;
        let (address, admin) = (addresses[0], addresses[1]);
        let gateways: Vec<String> = upstreams.iter().map(ToString::to_string).collect();
        let words = ["serve", "balancer", "--instance", "balancer-1"].map(str::to_owned);
        let mut arguments = words.to_vec();
        for (flag, value) in [
            ("--listen", address.to_string()),
            ("--admin-listen", admin.to_string()),
            ("--gateways", gateways.join(",")),
            ("--log-dir", self.folder().display().to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        let operator_token = random_token()?;
        let mut environment = vec![("RECARGA_OPERATOR_TOKEN", operator_token.clone())];
        if let Some(workers) = workers {
            if balancer_takes("workers") {
                arguments.extend(["--workers".to_owned(), workers.to_string()]);
            } else {
                environment.push(("TOKIO_WORKER_THREADS", workers.to_string()));
            }
        }
        let mut process = self
            .ours("balancer", &arguments, &environment)
            .context("our balancer")?;
        self.until_it_answers(&mut process, address, probe.0, probe.1)
            .await
            .context("our balancer")?;
        Ok(Balancer {
            proxy: Proxy { process, address },
            admin,
            operator_token,
        })
    }

    /// Another product as proxy; an error says why it cannot take part.
    pub async fn peer(
        &self,
        peer: Peer,
        headers: bool,
        upstreams: &[SocketAddr],
        workers: u16,
        probe: Probe<'_>,
    ) -> Result<Proxy, String> {
        let Some(program) = find(peer.program()) else {
            return Err(format!(
                "not installed; `{}` installs it",
                peer.installed_by()
            ));
        };
        let start = async {
            let address = free_addresses(1)?[0];
            let job = Job {
                listen: address,
                upstreams,
                workers,
                headers,
            };
            let name = format!("{}{}", peer.program(), if headers { "-h" } else { "" });
            let command: Vec<OsString> = peer.proxy(program, self.folder(), &name, &job)?;
            let mut process = self.guarded(&name, &command)?;
            self.until_it_answers(&mut process, address, probe.0, probe.1)
                .await?;
            anyhow::Ok(Proxy { process, address })
        };
        start.await.map_err(|error| format!("{error:#}"))
    }
}

/// Whether `serve balancer` has this flag.
pub fn balancer_takes(flag: &str) -> bool {
    let mut command = Arguments::command();
    // Subcommands are described when they are asked for.
    command.build();
    command
        .find_subcommand("serve")
        .and_then(|serve| serve.find_subcommand("balancer"))
        .is_some_and(|balancer| {
            let mut flags = balancer.get_arguments();
            flags.any(|argument| argument.get_long() == Some(flag))
        })
}

pub fn random_token() -> Result<String> {
    let mut bytes = [0; 20];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("reading /dev/urandom for an operator token")?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balancers_flags_are_known() {
        assert!(balancer_takes("gateways"));
        assert!(!balancer_takes("no-such-flag"));
    }

    #[test]
    fn tokens_are_good_secrets() {
        let token = random_token().unwrap();
        assert!(kit::config::secret(&token).is_ok());
        assert_ne!(token, random_token().unwrap());
    }
}
