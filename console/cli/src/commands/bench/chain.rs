//! `recarga bench chain`: what each layer of a running lab costs, beside nginx as a plain proxy in the same rounds.
//!
//! The service's `GET /process` answers at once while this runs (its delay is set to zero and put back afterwards). Each layer adds one
//! thing to the one before: a balancer of our own before the services; the lab's balancer and gateways; a token; and then, for the
//! same caller, the cached `GET /data` in place of the service.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, bail};
use host::{Layout, Secrets};
use kit::{Shutdown, Topology};
use load::raw::{Expected, Request};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    machine::Machine,
    peers::Peer,
    process::{Bench, raise_open_files},
    race::{Contender, Figures, Settings, race},
    report::{Report, errors, explanations, row},
    table::{Table, decimal, whole},
};
use crate::{arguments::bench::Chain, exit, terminal::tell};

/// The body of nginx's answers, in bytes: about that of the lab's.
const BODY: u32 = 200;
const BALANCER: &str = "balancer";
const GATEWAY: &str = "gateway";
const SERVICE: &str = "service";
const CACHE: &str = "cache";
const REDIS: &str = "redis";
/// In the order of a request's way.
const ROLES: [&str; 5] = [BALANCER, GATEWAY, SERVICE, CACHE, REDIS];

/// What was measured of the chain.
#[derive(Debug, Serialize)]
pub struct Layers {
    pub connections: usize,
    pub layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
pub struct Layer {
    pub name: String,
    /// The way of its requests.
    pub way: &'static str,
    pub figures: Option<Figures>,
    /// Processor time of all processes on the way, beyond that of the layer before; microseconds for a request.
    pub adds_us: Option<f64>,
    pub absent: Option<String>,
}

pub async fn run(directory: &Path, arguments: &Chain, shutdown: &Shutdown) -> Result<u8> {
    raise_open_files();
    let topology = host::running_topology(directory)?;
    let settings = Settings::new(&arguments.method, arguments.connections);
    let layers = measure(directory, &topology, settings, shutdown).await?;
    let report = Report {
        machine: Machine::look(),
        tables: vec![table(&layers)],
        notes: notes(&layers),
        document: json!({"chain": layers}),
    };
    let method = &arguments.method;
    report.publish(method.json, method.output.as_deref())?;
    Ok(exit::SUCCESS)
}

/// Measures all layers of the lab; its delay of `/process` is zero meanwhile.
pub async fn measure(
    directory: &Path,
    topology: &Topology,
    settings: Settings,
    shutdown: &Shutdown,
) -> Result<Layers> {
    let bench = Bench::new()?;
    let lab = Lab {
        topology,
        bench: &bench,
        operator_token: Secrets::load(&Layout::existing(directory)?)?.operator_token,
    };
    let delays = lab.without_delays().await?;
    let result = tokio::select! {
        result = lab.measure(settings) => result,
        () = shutdown.requested() => Err(host::Error::Interrupted.into()),
    };
    lab.put_back(delays).await?;
    result
}

struct Lab<'a> {
    topology: &'a Topology,
    bench: &'a Bench,
    operator_token: String,
}

impl Lab<'_> {
    fn listen(&self, role: &str) -> Vec<SocketAddr> {
        let local = |mut address: SocketAddr| {
            if address.ip().is_unspecified() {
                address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            address
        };
        let instances = self.topology.of_role(role);
        instances.map(|instance| local(instance.listen)).collect()
    }

    fn pids(&self, role: &'static str) -> (&'static str, Vec<u32>) {
        if role == REDIS {
            let stores = self.topology.stores.iter();
            let redis = stores.filter(|store| store.kind == REDIS);
            return (role, redis.filter_map(|store| store.pid).collect());
        }
        let name = if role == SERVICE { "exercise" } else { role };
        let instances = self.topology.of_role(name);
        let pids = instances.filter_map(|instance| instance.pid).collect();
        (role, pids)
    }

    async fn measure(&self, settings: Settings) -> Result<Layers> {
        let services = self.listen("exercise");
        let fronts = self.listen(BALANCER);
        let (Some(service), Some(front)) = (services.first().copied(), fronts.first().copied())
        else {
            bail!("the lab has no exercise service or no balancer: `recarga scale exercise=3`");
        };
        let token = self.token().await?;
        // The first read is the one that fills the cache.
        self.get_ok("data").await?;

        let upstreams = self.bench.upstreams(&[BODY], false).await?;
        let path = format!("/{BODY}");
        let probe = (&path[..], Some(u64::from(BODY)));
        let nginx = self
            .bench
            .peer(Peer::Nginx, false, &upstreams.addresses, 1, probe)
            .await;
        let balancer = self
            .bench
            .balancer(&services, None, ("/process", None))
            .await?
            .proxy;

        let bearer = format!("Bearer {token}");
        let signed = [("Authorization", bearer.as_str())];
        let own = (BALANCER, balancer.process.pids());
        let roles = |names: &[&'static str]| names.iter().map(|name| self.pids(name)).collect();
        let uncached = [BALANCER, GATEWAY, SERVICE];
        let cached = [BALANCER, GATEWAY, CACHE, REDIS];
        let mut plans = vec![
            (
                "service",
                "service",
                service,
                "/process",
                &[][..],
                roles(&[SERVICE]),
            ),
            (
                "+ balancer",
                "balancer, service",
                balancer.address,
                "/process",
                &[],
                vec![own, self.pids(SERVICE)],
            ),
            (
                "+ gateway",
                "balancer, gateway, service",
                front,
                "/process",
                &[],
                roles(&uncached),
            ),
            (
                "+ auth",
                "the same with a token",
                front,
                "/process",
                &signed,
                roles(&uncached),
            ),
            (
                "+ cache",
                "GET /data: balancer, gateway, cache",
                front,
                "/data",
                &signed,
                roles(&cached),
            ),
            (
                "cached, without a token",
                "GET /data: balancer, gateway, cache",
                front,
                "/data",
                &[],
                roles(&cached),
            ),
        ];
        if let Ok(nginx) = &nginx {
            let pids = vec![("nginx", nginx.process.pids())];
            let way = "nginx, upstream of 200 bytes";
            plans.insert(
                0,
                ("nginx, plain proxy", way, nginx.address, &path, &[], pids),
            );
        }
        let mut contenders = Vec::new();
        for (_, _, target, path, headers, roles) in &plans {
            contenders.push(Contender {
                target: *target,
                request: Request::get(target, path, headers)?,
                expected: Expected::ok(None),
                roles: roles.clone(),
            });
        }
        let takes = settings.takes(contenders.len()).as_secs();
        let results = race(&contenders, nginx.is_ok().then_some(0), settings, |round| {
            tell(format_args!(
                "the chain: {} connections: round {round} of {} (the table takes {takes} s)",
                settings.connections, settings.rounds
            ));
        })
        .await?;
        let mut running = vec![upstreams.process, balancer.process];
        let mut layers = Vec::new();
        match nginx {
            Ok(nginx) => running.push(nginx.process),
            Err(words) => layers.push(Layer {
                name: "nginx, plain proxy".to_owned(),
                way: "",
                figures: None,
                adds_us: None,
                absent: Some(words),
            }),
        }
        layers.extend(plans.iter().zip(results).map(|(plan, result)| Layer {
            name: plan.0.to_owned(),
            way: plan.1,
            absent: result.as_ref().err().cloned(),
            figures: result.ok(),
            adds_us: None,
        }));
        add_up(&mut layers);
        for process in running {
            process.stop().await;
        }
        Ok(Layers {
            connections: settings.connections,
            layers,
        })
    }

    /// The demo token of the lab.
    async fn token(&self) -> Result<String> {
        let answer: Value = serde_json::from_slice(&self.get_ok("token").await?)?;
        let token = answer["token"].as_str();
        Ok(token.context("the answer holds no token")?.to_owned())
    }

    async fn get_ok(&self, path: &str) -> Result<Vec<u8>> {
        let url = format!("{}/{path}", self.topology.public_url);
        let answer = self.bench.http().get(&url).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.with_context(|| format!("asking the lab for {url}"))?;
        Ok(answer.bytes().await?.into())
    }

    /// Sets the delay of each service's `/process` to zero; what it was.
    async fn without_delays(&self) -> Result<Vec<(SocketAddr, Value)>> {
        let mut before = Vec::new();
        for instance in self.topology.of_role("exercise") {
            let now = self.delays(instance.admin, None).await?;
            before.push((instance.admin, json!({"process_ms": now["process_ms"]})));
            self.delays(instance.admin, Some(&json!({"process_ms": 0})))
                .await?;
        }
        Ok(before)
    }

    async fn put_back(&self, delays: Vec<(SocketAddr, Value)>) -> Result<()> {
        for (admin, delay) in delays {
            self.delays(admin, Some(&delay)).await?;
        }
        Ok(())
    }

    async fn delays(&self, admin: SocketAddr, wanted: Option<&Value>) -> Result<Value> {
        let url = format!("http://{admin}/admin/delays");
        let http = self.bench.http();
        let request = match wanted {
            Some(wanted) => http.put(&url).json(wanted),
            None => http.get(&url),
        };
        let answer = request.bearer_auth(&self.operator_token).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.with_context(|| format!("setting the delays of a service at {url}"))?;
        Ok(answer.json().await?)
    }
}

/// Fills in what each layer of our own costs beyond the one before.
fn add_up(layers: &mut [Layer]) {
    let mut before: Option<f64> = None;
    for layer in layers {
        let total = layer.figures.as_ref().and_then(Figures::cpu);
        let total = total.map(|cpu| cpu.total);
        if layer.name.starts_with('+') {
            layer.adds_us = total.zip(before).map(|(now, before)| now - before);
        }
        before = total;
    }
}

pub fn table(layers: &Layers) -> Table {
    let mut header = vec![
        "layer",
        "requests/s",
        "of nginx",
        "p50 ms",
        "p99 ms",
        "CPU µs/request",
        "adds",
    ];
    header.extend(ROLES);
    header.push("errors");
    let rows = layers.layers.iter().map(|layer| {
        let result = match (&layer.figures, &layer.absent) {
            (Some(figures), _) => Ok(figures.clone()),
            (None, words) => Err(words.clone().unwrap_or_default()),
        };
        row(&layer.name, &result, |figures| {
            let mut cells = vec![
                whole(figures.rate),
                decimal(figures.of_reference, 2),
                decimal(Some(figures.p50_us / 1000.0), 2),
                decimal(Some(figures.p99_us / 1000.0), 2),
                decimal(figures.cpu().map(|cpu| cpu.total), 1),
                layer
                    .adds_us
                    .map_or_else(String::new, |adds| format!("{adds:+.1}")),
            ];
            cells.extend(ROLES.map(|role| {
                let of_role = figures.cpu_us.get(role);
                of_role.map_or_else(String::new, |cpu| format!("{:.1}", cpu.total))
            }));
            cells.push(errors(figures));
            cells
        })
    });
    Table {
        title: format!(
            "The chain of a running lab, {} connections; CPU µs a request of each role, all its instances together",
            layers.connections
        ),
        rows: rows.collect(),
        header,
    }
}

pub fn notes(layers: &Layers) -> Vec<String> {
    let mut notes = vec![
        "service = GET /process of one exercise instance, whose delay is zero meanwhile; + balancer = a balancer of its own before all of them; + gateway = the lab's balancer and gateways; + auth = with a token; + cache = GET /data, a hit, with a token. `adds` is beyond the layer above.".to_owned(),
    ];
    let results: Vec<_> = layers
        .layers
        .iter()
        .map(|layer| layer.figures.clone().ok_or_else(String::new))
        .collect();
    let names = layers.layers.iter().map(|layer| &layer.name[..]);
    notes.extend(explanations(names.zip(&results)));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::race::CpuFigure;

    fn layer(name: &str, cpu: &[(&'static str, f64)]) -> Layer {
        let figures = Figures {
            rate: 10_000.0,
            of_reference: Some(0.25),
            p50_us: 1500.0,
            p99_us: 4000.0,
            cpu_us: cpu
                .iter()
                .map(|&(role, total)| (role, CpuFigure { total, user: 1.0 }))
                .collect(),
            memory_bytes: None,
            generator_us: None,
            errors: 0,
            first_error: None,
        };
        Layer {
            name: name.to_owned(),
            way: "",
            figures: (!cpu.is_empty()).then_some(figures),
            adds_us: None,
            absent: cpu.is_empty().then(|| "not installed".to_owned()),
        }
    }

    #[test]
    fn each_layer_is_compared_with_the_one_before() {
        let mut layers = vec![
            layer("nginx, plain proxy", &[]),
            layer("service", &[(SERVICE, 20.0)]),
            layer("+ balancer", &[(BALANCER, 9.0), (SERVICE, 21.0)]),
            layer("+ cache", &[(BALANCER, 9.0), (CACHE, 8.5), (REDIS, 2.5)]),
        ];
        add_up(&mut layers);
        let expected = "\
The chain of a running lab, 8 connections; CPU µs a request of each role, all its instances together
layer               requests/s  of nginx  p50 ms  p99 ms  CPU µs/request   adds  balancer  gateway  service  cache  redis  errors
nginx, plain proxy  not installed
service                 10,000      0.25    1.50    4.00            20.0                               20.0                     0
+ balancer              10,000      0.25    1.50    4.00            30.0  +10.0       9.0              21.0                     0
+ cache                 10,000      0.25    1.50    4.00            20.0  -10.0       9.0                      8.5    2.5       0
";
        let layers = Layers {
            connections: 8,
            layers,
        };
        assert_eq!(table(&layers).text(), expected);
    }
}
