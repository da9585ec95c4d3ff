//! Ports: those of the contract, and free ones that stay the same from run to run.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
};

use rand::RngExt as _;

use crate::{
    error::{Error, Result},
    layout::Layout,
    roles::Role,
};

/// Below the ports that systems hand out to outgoing connections, so that none is lost between choosing and binding.
const RANDOM: std::ops::Range<u16> = 20_000..32_000;

/// The published ports and how the others are chosen.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where the balancer listens; everything else is on loopback.
    pub address: IpAddr,
    pub published: BTreeMap<Role, u16>,
    /// Any free port for everything, for tests.
    pub free: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            published: BTreeMap::new(),
            free: false,
        }
    }
}

/// Hands out ports and remembers them in the lab's folder.
#[derive(Debug)]
pub struct Ports {
    wanted: Wanted,
    path: PathBuf,
    remembered: BTreeMap<String, u16>,
    /// Handed out in this run, whether bound by now or not.
    taken: BTreeMap<u16, Reservation>,
}

impl Ports {
    #[must_use]
    pub fn load(layout: &Layout, wanted: Wanted) -> Self {
        let path = layout.ports();
        let remembered = fs::read(&path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        Self {
            wanted,
            path,
            remembered,
            taken: BTreeMap::new(),
        }
    }

    /// The two addresses of an instance; a published port that is taken is an error, any other is replaced.
    pub fn of_instance(&mut self, role: Role, number: usize) -> Result<(SocketAddr, SocketAddr)> {
        let name = format!("{role}-{number}");
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listen = match role.published().filter(|_| number == 1) {
            Some((usual, flag))
                if !self.wanted.free || self.wanted.published.contains_key(&role) =>
            {
                let address = if role == Role::Balancer {
                    self.wanted.address
                } else {
                    loopback
                };
                let port = self.wanted.published.get(&role).copied().unwrap_or(usual);
                let reservation = Reservation::of(port);
                let (true, Some(reservation)) =
                    (is_free(SocketAddr::new(address, port))?, reservation)
                else {
                    return Err(Error::PortTaken { port, flag });
                };
                self.taken.insert(port, reservation);
                SocketAddr::new(address, port)
            }
            _ => SocketAddr::new(loopback, self.any(&name, Some(8101))?),
        };
        let admin = SocketAddr::new(loopback, self.any(&format!("{name} admin"), Some(9101))?);
        Ok((listen, admin))
    }

    /// A loopback port that is free now: the one this name had before, else the next from `start` on, else a
    /// random one.
    pub fn any(&mut self, name: &str, start: Option<u16>) -> Result<u16> {
        let remembered = self.remembered.get(name).copied();
        let orderly = start
            .filter(|_| !self.wanted.free)
            .map_or(0..0, |start| start..start + 90);
        let random = std::iter::repeat_with(|| rand::rng().random_range(RANDOM)).take(2_000);
        for port in remembered.into_iter().chain(orderly).chain(random) {
            let reserved_elsewhere =
                Some(port) != remembered && self.remembered.values().any(|other| *other == port);
            if reserved_elsewhere || self.taken.contains_key(&port) || is_published(port) {
                continue;
            }
            let Some(reservation) = Reservation::of(port) else {
                continue;
            };
            if is_free(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))? {
                self.taken.insert(port, reservation);
                self.remembered.insert(name.to_owned(), port);
                return Ok(port);
            }
        }
        Err(Error::Invalid(
            "no free loopback port was found; stop some programs that listen".to_owned(),
        ))
    }

    /// Gives ports back that nothing will listen on any more; they stay remembered.
    pub fn release(&mut self, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            self.taken.remove(&port);
        }
    }

    pub fn save(&self) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(&self.remembered).expect("names and numbers serialise");
        fs::write(&self.path, text).map_err(|source| Error::on_path(&self.path, source))
    }
}

/// Keeps other labs on this machine from handing out a port that nobody listens on yet: a name that only one process can have,
/// and that is free again when that process is gone, however it went.
#[derive(Debug)]
struct Reservation {
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixListener,
}

impl Reservation {
    /// `None` when another lab has it.
    #[cfg(target_os = "linux")]
    fn of(port: u16) -> Option<Self> {
        use std::os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener},
        };
        let name = SocketAddr::from_abstract_name(format!("recarga-port-{port}")).ok()?;
        let listener = UnixListener::bind_addr(&name).ok()?;
        Some(Self { _name: listener })
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_port: u16) -> Option<Self> {
        Some(Self {})
    }
}

fn is_published(port: u16) -> bool {
    Role::ALL
        .into_iter()
        .filter_map(Role::published)
        .any(|(published, _)| published == port)
}

/// Whether nothing listens there; asked by listening for a moment.
pub(crate) fn is_free(address: SocketAddr) -> Result<bool> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Error::Invalid(format!(
                "port {} needs privileges this user does not have; choose one above 1023",
                address.port()
            )))
        }
        Err(error) => Err(Error::doing(format!("listening on {address}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (tempfile::TempDir, Layout) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(folder.path()).unwrap();
        (folder, layout)
    }

    fn free() -> Wanted {
        Wanted {
            free: true,
            ..Wanted::default()
        }
    }

    #[test]
    fn names_keep_their_ports_from_run_to_run() {
        let (_folder, layout) = layout();
        let mut first = Ports::load(&layout, free());
        let gateway = first.of_instance(Role::Gateway, 1).unwrap();
        let other = first.of_instance(Role::Gateway, 2).unwrap();
        assert_ne!(gateway, other);
        first.save().unwrap();
        drop(first);
        let mut second = Ports::load(&layout, free());
        for (number, (public, admin)) in [(2, other), (1, gateway)] {
            let again = second.of_instance(Role::Gateway, number).unwrap();
            for (had, has) in [(public, again.0), (admin, again.1)] {
                // Between two runs somebody else may have taken it: then, and only then, it is another.
                let taken = || Reservation::of(had.port()).is_none() || !is_free(had).unwrap();
                assert!(had == has || taken(), "{had} became {has}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn two_labs_that_start_at_once_get_different_ports() {
        let (_folder, layout) = layout();
        let mut first = Ports::load(&layout, free());
        let port = first.any("postgres", None).unwrap();
        first.save().unwrap();
        // Nobody listens there yet.
        let mut second = Ports::load(&layout, free());
        assert_ne!(second.any("postgres", None).unwrap(), port);
    }

    #[test]
    fn usual_ports_are_orderly_and_stores_get_real_ones() {
        let (_folder, layout) = layout();
        let mut ports = Ports::load(&layout, Wanted::default());
        assert!(RANDOM.contains(&ports.any("postgres", None).unwrap()));
        let (listen, admin) = ports.of_instance(Role::Gateway, 1).unwrap();
        assert!(listen.port() >= 8101 && admin.port() >= 9101);
    }

    #[test]
    fn a_taken_published_port_names_its_flag() {
        let (_folder, layout) = layout();
        let occupied = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = occupied.local_addr().unwrap().port();
        let mut wanted = Wanted::default();
        wanted.published.insert(Role::Balancer, port);
        let error = Ports::load(&layout, wanted)
            .of_instance(Role::Balancer, 1)
            .unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("port {port} is taken")), "{text}");
        assert!(text.contains("--port"), "{text}");
    }

    #[test]
    fn a_taken_private_port_is_replaced() {
        let (_folder, layout) = layout();
        let mut first = Ports::load(&layout, free());
        let port = first.any("postgres", None).unwrap();
        first.save().unwrap();
        drop(first);
        let _occupied = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let mut second = Ports::load(&layout, free());
        assert_ne!(second.any("postgres", None).unwrap(), port);
    }
}
