//! Direct links over sockets: a socket of this node's own, and the dialing of those of others.
//!
//! Invariants: a node dials only addresses of the kind that it has itself, and unix sockets in its own folder alone, so that
//! what another node says of its address makes this one knock at no other door; over TLS it dials loopback addresses if it is
//! reached at one itself, and no others then. Who is at the other end of a unix socket is of this user, on both sides; over TLS it is the node
//! that the controller has named ([`super::tls`]), and the node is told whose certificate a visitor has. Who may say what over a link
//! is the node's affair ([`daffi_proto::node`]), by that and by the ticket that the controller gives.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::id::{DirectId, ProcessName};
use daffi_proto::node::{MAX_VISITS, ROAD_PATIENCE, Via};
use daffi_proto::session::PeerIdentity;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::{Target, connect};
use super::endpoint::Endpoint;
use super::link::Connection;
use super::listener::{Accepted, ListenError, Listener, clear_away, is_of_this_machine};
use super::tls::{NodeClient, TlsFiles};
use crate::mesh::attention::Attention;
use crate::mesh::direct::{Arrival, DialOrder, DirectDialing};
use crate::mesh::link::LinkLimits;

/// What the sockets of nodes are called in their folder: this, 16 hexadecimal digits, and the suffix.
const SOCKET_PREFIX: &str = "node-";
const SOCKET_SUFFIX: &str = ".sock";

/// Most look-ups of the names of others' hosts that are under way: each takes a thread, for as long as the system likes.
const MAX_LOOKUPS: usize = 16;

/// How often a name for the socket is made up that nobody has.
const NAMES: usize = 4;

/// How a node is reached by others without the controller, and reaches them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectAccess {
    /// Not at all: all calls between runtimes go by the controller.
    Off,
    /// By a unix socket in this folder, which is private: nodes of one user of one machine.
    Unix {
        /// The folder.
        folder: PathBuf,
    },
    /// By TCP at this address.
    Tcp(Endpoint),
    /// By TLS at this address, among nodes with certificates.
    Tls {
        /// The address.
        endpoint: Endpoint,
        /// The authorities of nodes, this one's certificate, and its key.
        files: TlsFiles,
    },
}

/// How others are dialed.
#[derive(Clone)]
enum Dialer {
    /// As this node is reached itself.
    Plain(DirectAccess),
    /// By TLS.
    Tls {
        client: NodeClient,
        /// Whether this node is reached only from its own machine.
        is_local: bool,
        lookups: Arc<Semaphore>,
    },
}

/// A node's own socket.
pub struct DirectListener {
    listener: Listener,
    dialer: Dialer,
}

impl DirectListener {
    /// Takes the address; none where there is to be none.
    ///
    /// # Errors
    /// [`ListenError`]
    pub async fn bind(access: DirectAccess) -> Result<Option<Self>, ListenError> {
        let listener = match &access {
            DirectAccess::Off => return Ok(None),
            DirectAccess::Tcp(endpoint) => Listener::bind_for_node(endpoint, &TlsFiles::default()).await?,
            DirectAccess::Tls { endpoint, files } => {
                let listener = Listener::bind_for_node(endpoint, files).await?;
                let (client, is_local) = (NodeClient::open(files.clone())?, listener.is_local());
                let dialer = Dialer::Tls { client, is_local, lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) };
                return Ok(Some(Self { listener, dialer }));
            }
            DirectAccess::Unix { folder } => {
                clear_away(folder, SOCKET_PREFIX, SOCKET_SUFFIX);
                in_folder(folder).await?
            }
        };
        Ok(Some(Self { listener, dialer: Dialer::Plain(access) }))
    }

    /// Where other nodes reach it.
    pub fn address(&self) -> String {
        self.listener.endpoint().to_string()
    }

    /// Listens and dials until the driver has ended or it is cancelled.
    pub async fn run(
        self,
        dialing: DirectDialing,
        limits: LinkLimits,
        attention: Attention,
        tasks: TaskTracker,
        cancel: CancellationToken,
    ) {
        let Self { listener, dialer } = self;
        let DirectDialing { mut orders, arrivals } = dialing;
        let (accepted, mut connections) = mpsc::channel::<Accepted>(1);
        tasks.spawn(listener.run(accepted, Arc::new(Semaphore::new(MAX_VISITS)), cancel.clone()));
        let mut last = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    let (arrivals, dialer, tasks_of_link) = (arrivals.clone(), dialer.clone(), tasks.clone());
                    let attention = attention.clone();
                    tasks.spawn(async move {
                        let via = Via::To(order.link);
                        let link = dialer.dial(order).await.map(|connection| connection.into_link(limits, &tasks_of_link));
                        let link = link.map(|link| attention.of(link));
                        let _ = arrivals.send(Arrival { via, link, grants: None }).await;
                    });
                }
                Some(Accepted { connection, identity, place }) = connections.recv() => {
                    last += 1;
                    tracing::debug!("a direct link of {identity}");
                    let via = Via::From(DirectId(last));
                    let link = attention.of(connection.into_link(limits, &tasks)).holding(place);
                    let grants = match identity {
                        PeerIdentity::Certificate { grants, .. } => Some(grants),
                        _ => None,
                    };
                    let _ = arrivals.send(Arrival { via, link: Ok(link), grants }).await;
                }
            }
        }
    }
}

/// A socket of a name that nobody has.
async fn in_folder(folder: &Path) -> Result<Listener, ListenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let number = getrandom::u64().unwrap_or_default();
        let path = folder.join(format!("{SOCKET_PREFIX}{number:016x}{SOCKET_SUFFIX}"));
        let endpoint = Endpoint::private(path)?;
        match Listener::bind_for_node(&endpoint, &TlsFiles::default()).await {
            // Somebody who cleared the folder took it for one that was left.
            Err(ListenError::InUse { .. }) if tries < NAMES => {}
            other => return other,
        }
    }
}

impl Dialer {
    /// Connects to the first of the addresses that can be had. Cancel safe.
    async fn dial(&self, DialOrder { at, identity, .. }: DialOrder) -> Result<Connection, String> {
        let mut why = "it has no address that this node reaches".to_owned();
        let until = tokio::time::Instant::now() + ROAD_PATIENCE;
        for url in &at {
            match tokio::time::timeout_at(until, self.reach(url, identity.as_ref())).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(Some(error))) => why = error,
                // One that is not dialed.
                Ok(Err(None)) => {}
                Err(_) => {
                    why = format!("{url}: nobody answered within {} ms", patience_ms());
                    break;
                }
            }
        }
        tracing::debug!("no direct link: {why}");
        Err(why)
    }

    /// Connects to this address; why not, if it is one that is dialed at all.
    async fn reach(&self, url: &str, identity: Option<&ProcessName>) -> Result<Connection, Option<String>> {
        // It is somebody else's, and stands in the log.
        if url.chars().any(char::is_control) {
            return Err(None);
        }
        match self {
            Self::Plain(access) => {
                let endpoint = allowed(access, url).ok_or(None)?;
                connect(&Target::plain(endpoint)).await.map_err(|error| Some(error.to_string()))
            }
            Self::Tls { client, is_local, lookups } => {
                let Ok(Endpoint::Tls { host, port }) = Endpoint::parse(url, false) else { return Err(None) };
                let Some(node) = identity else {
                    return Err(Some(format!("{url}: the controller knows no certificate of that node")));
                };
                let stream = over_tcp(found(&host, port, lookups).await, *is_local)
                    .await
                    .map_err(|why| Some(format!("{url}: {why}")))?;
                client.connect(node, stream).await.map_err(|error| {
                    let why = format!("{url}: {}", error.message);
                    if !error.passing {
                        tracing::warn!("no direct link to the node {node}: {why}; calls to it go by the controller");
                    }
                    Some(why)
                })
            }
        }
    }
}

/// The addresses of a host. A look-up that nobody waits for any more keeps its place until it ends.
async fn found(host: &str, port: u16, lookups: &Arc<Semaphore>) -> std::io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let place = Arc::clone(lookups).acquire_owned().await.map_err(std::io::Error::other)?;
    let name = (host.to_owned(), port);
    let looking = tokio::task::spawn_blocking(move || {
        let found = name.to_socket_addrs().map(Iterator::collect);
        drop(place);
        found
    });
    looking.await.map_err(std::io::Error::other)?
}

/// Connects to the first of these addresses that answers, of those that are of this machine, or of all others.
async fn over_tcp(found: std::io::Result<Vec<SocketAddr>>, is_local: bool) -> Result<TcpStream, String> {
    let mut why = "it has no address that this node dials".to_owned();
    let found = found.map_err(|error| error.to_string())?.into_iter();
    for address in found.filter(|address| is_of_this_machine(address.ip()) == is_local) {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn patience_ms() -> u128 {
    Duration::as_millis(&ROAD_PATIENCE)
}

/// The address, if it is one that this node dials without TLS.
fn allowed(access: &DirectAccess, url: &str) -> Option<Endpoint> {
    match access {
        DirectAccess::Off | DirectAccess::Tls { .. } => None,
        DirectAccess::Unix { folder } => {
            let path = PathBuf::from(url.strip_prefix("unix://")?);
            let name = path.file_name()?.to_str()?;
            let number = name.strip_prefix(SOCKET_PREFIX)?.strip_suffix(SOCKET_SUFFIX)?;
            let is_name = number.len() == 16 && number.chars().all(|c| c.is_ascii_hexdigit());
            (is_name && path.parent() == Some(folder)).then(|| Endpoint::private(path).ok())?
        }
        DirectAccess::Tcp(own) => {
            // What may be plain was decided for this node's own address: elsewhere only where that is.
            let insecure = matches!(own, Endpoint::Tcp { host, .. } if !super::endpoint::is_loopback(host));
            Endpoint::parse(url, insecure).ok().filter(|endpoint| matches!(endpoint, Endpoint::Tcp { .. }))
        }
    }
}

#[cfg(test)]
#[path = "direct_tests.rs"]
mod tests;
