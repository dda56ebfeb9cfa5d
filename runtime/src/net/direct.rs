//! Direct links over sockets: a socket of this node's own, and the dialing of those of others.
//!
//! Invariants: a node dials only addresses of the kind that it has itself, and unix sockets in its own folder alone, so that
//! what another node says of its address makes this one knock at no other door; who is at the other end of a unix socket is of
//! this user, on both sides. Who may say what over a link is the node's affair ([`daffi_proto::node`]), by the ticket that the
//! controller gives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::id::DirectId;
use daffi_proto::node::{MAX_VISITS, ROAD_PATIENCE, Via};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dial::{Target, connect};
use super::endpoint::Endpoint;
use super::listener::{Accepted, ListenError, Listener, clear_away};
use super::tls::TlsFiles;
use crate::mesh::attention::Attention;
use crate::mesh::direct::{Arrival, DialOrder, DirectDialing};
use crate::mesh::link::LinkLimits;

/// What the sockets of nodes are called in their folder: this, 16 hexadecimal digits, and the suffix.
const SOCKET_PREFIX: &str = "node-";
const SOCKET_SUFFIX: &str = ".sock";

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
}

/// A node's own socket.
pub struct DirectListener {
    listener: Listener,
    access: DirectAccess,
}

impl DirectListener {
    /// Takes the address; none where there is to be none.
    ///
    /// # Errors
    /// [`ListenError`]
    pub async fn bind(access: DirectAccess) -> Result<Option<Self>, ListenError> {
        let listener = match &access {
            DirectAccess::Off => return Ok(None),
            DirectAccess::Tcp(endpoint) => Listener::bind(endpoint, &TlsFiles::default()).await?,
            DirectAccess::Unix { folder } => {
                clear_away(folder, SOCKET_PREFIX, SOCKET_SUFFIX);
                in_folder(folder).await?
            }
        };
        Ok(Some(Self { listener, access }))
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
        let Self { listener, access } = self;
        let DirectDialing { mut orders, arrivals } = dialing;
        let (accepted, mut connections) = mpsc::channel::<Accepted>(1);
        tasks.spawn(listener.run(accepted, Arc::new(Semaphore::new(MAX_VISITS)), cancel.clone()));
        let mut last = 0;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    let (arrivals, access, tasks_of_link) = (arrivals.clone(), access.clone(), tasks.clone());
                    let attention = attention.clone();
                    tasks.spawn(async move {
                        let via = Via::To(order.link);
                        let link = dial(&access, order, limits, &tasks_of_link).await.map(|link| attention.of(link));
                        let _ = arrivals.send(Arrival { via, link, grants: None }).await;
                    });
                }
                Some(Accepted { connection, identity, place }) = connections.recv() => {
                    last += 1;
                    tracing::debug!("a direct link of {identity}");
                    let via = Via::From(DirectId(last));
                    let link = attention.of(connection.into_link(limits, &tasks)).holding(place);
                    let _ = arrivals.send(Arrival { via, link: Ok(link), grants: None }).await;
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
        match Listener::bind(&endpoint, &TlsFiles::default()).await {
            // Somebody who cleared the folder took it for one that was left.
            Err(ListenError::InUse { .. }) if tries < NAMES => {}
            other => return other,
        }
    }
}

/// Connects to the first of the addresses that can be had.
async fn dial(
    access: &DirectAccess,
    order: DialOrder,
    limits: LinkLimits,
    tasks: &TaskTracker,
) -> Result<crate::mesh::link::Link, String> {
    let mut why = "it has no address that this node reaches".to_owned();
    let until = tokio::time::Instant::now() + ROAD_PATIENCE;
    for url in &order.at {
        let Some(endpoint) = allowed(access, url) else { continue };
        let target = Target::plain(endpoint);
        match tokio::time::timeout_at(until, connect(&target)).await {
            Ok(Ok(connection)) => return Ok(connection.into_link(limits, tasks)),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => return Err(format!("{url}: nobody answered within {} ms", patience_ms())),
        }
    }
    Err(why)
}

fn patience_ms() -> u128 {
    Duration::as_millis(&ROAD_PATIENCE)
}

/// The address, if it is one that this node dials.
fn allowed(access: &DirectAccess, url: &str) -> Option<Endpoint> {
    match access {
        DirectAccess::Off => None,
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
