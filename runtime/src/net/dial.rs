//! A node's side of sockets: connect to the controller, and connect again with backoff.
//!
//! Invariants: the first attempt is made at once, the next ones after pauses that grow ([`Backoff`]) until a link has
//! been of use. A missing controller is mentioned once, and then now and then ([`Reminder`]). A controller that runs as
//! another user is never talked to, nor one that cannot prove itself where TLS is wanted. A node that a controller does
//! not let in gives up, as does one that finds something else than a controller, unless it has been in: then it goes on, since
//! certificates are renewed.

use std::io;
use std::time::{Duration, Instant};

use daffi_proto::session::Backoff;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoint::{Endpoint, EndpointError, check_private_folder};
use super::link::Connection;
use super::stranger::Stranger;
use super::tls::dial::NotLetIn;
use super::tls::{Client, TlsFileError, TlsFiles};
use crate::mesh::attention::Attention;
use crate::mesh::link::LinkLimits;
use crate::mesh::news::Reminder;
use crate::mesh::uplink::{Dialing, Order};

/// How long one attempt may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the controller is, and what is needed to get in.
#[derive(Clone, Debug)]
pub struct Target {
    endpoint: Endpoint,
    tls: Option<Client>,
}

impl Target {
    /// The files are those for `tls://`; they are read.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub fn new(endpoint: Endpoint, files: &TlsFiles) -> Result<Self, TlsFileError> {
        let tls = endpoint.is_tls().then(|| Client::open(files.clone())).transpose()?;
        Ok(Self { endpoint, tls })
    }

    /// The address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// One without TLS.
    pub(crate) fn plain(endpoint: Endpoint) -> Self {
        Self { endpoint, tls: None }
    }
}

/// An attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody listens there (yet).
    #[error("no controller at {endpoint} ({source})")]
    NoController {
        /// Where.
        endpoint: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody listens there whom we do not trust.
    #[error(
        "the controller at {endpoint} runs as uid {theirs}, and we are uid {ours}: a unix socket joins processes of one user only; \
         use another address"
    )]
    AnotherUser {
        /// Where.
        endpoint: String,
        /// The controller's user.
        theirs: u32,
        /// This process's user.
        ours: u32,
    },
    /// Whoever listens there cannot prove that it is the controller, or does not take us for one of its nodes.
    #[error("{endpoint}: {reason}")]
    NotLetIn {
        /// Where.
        endpoint: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The endpoint is not acceptable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl DialError {
    /// Whether a later attempt may go better.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::NoController { .. })
    }

    /// Whether the two sides have met, and at least one does not want the other.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NotLetIn { .. })
    }
}

/// Connects once. Cancel safe.
///
/// # Errors
/// [`DialError`]
pub async fn connect(target: &Target) -> Result<Connection, DialError> {
    let endpoint = &target.endpoint;
    let failed = |source| DialError::NoController { endpoint: endpoint.to_string(), source };
    let attempt = async {
        match endpoint {
            Endpoint::Unix { path, private_folder } => {
                let ours = rustix::process::getuid().as_raw();
                if let (true, Some(folder)) = (*private_folder, path.parent()) {
                    check_private_folder(folder, ours)?;
                }
                let stream = UnixStream::connect(path).await.map_err(failed)?;
                let theirs = stream.peer_cred().map_err(failed)?.uid();
                if theirs != ours {
                    return Err(DialError::AnotherUser { endpoint: endpoint.to_string(), theirs, ours });
                }
                Connection::unix(stream).map_err(failed)
            }
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                Connection::tcp(stream).map_err(failed)
            }
            Endpoint::Tls { host, port } => {
                let missing = || failed(io::Error::other("no files for TLS were given"));
                let client = target.tls.as_ref().ok_or_else(missing)?;
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
                client.connect(host, stream).await.map_err(|error| match error {
                    NotLetIn { message, passing: true } => failed(io::Error::other(message)),
                    NotLetIn { message: reason, .. } => DialError::NotLetIn { endpoint: endpoint.to_string(), reason },
                })
            }
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(result) => result,
        Err(_) => Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it did not answer in time"))),
    }
}

/// Connects whenever the node's driver orders it, until the driver ends or it is cancelled.
pub async fn run(
    target: Target,
    limits: LinkLimits,
    attention: Attention,
    seed: u64,
    mut dialing: Dialing,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    let mut backoff = Backoff::new(seed);
    let mut reminder = Reminder::default();
    let mut first = true;
    let mut has_been_in = false;
    let mut last = Stranger::default();
    loop {
        let order = tokio::select! {
            () = cancel.cancelled() => return,
            order = dialing.order() => order,
        };
        match order {
            None => return,
            Some(Order::LinkWasGood) => {
                backoff.reset();
                has_been_in = true;
                reminder = Reminder::default();
            }
            Some(Order::Dial) if !has_been_in && last.told().is_some() => {
                let error = DialError::NotLetIn {
                    endpoint: target.endpoint.to_string(),
                    reason: last.told().unwrap_or_default().to_owned(),
                };
                dialing.refused(error.to_string()).await;
            }
            Some(Order::Dial) => {
                let pause = if std::mem::take(&mut first) { Duration::ZERO } else { backoff.pause() };
                let connected = tokio::select! {
                    () = cancel.cancelled() => return,
                    connected = keep_trying(&target, has_been_in, pause, &mut backoff, &mut reminder, &dialing) => connected,
                };
                match connected {
                    Ok(connection) => {
                        let link;
                        (link, last) = Stranger::watch(attention.of(connection.into_link(limits, &tasks)));
                        dialing.connected(link).await;
                    }
                    Err(error) => dialing.refused(error.to_string()).await,
                }
            }
        }
    }
}

async fn keep_trying(
    target: &Target,
    has_been_in: bool,
    mut pause: Duration,
    backoff: &mut Backoff,
    reminder: &mut Reminder,
    dialing: &Dialing,
) -> Result<Connection, DialError> {
    let mut refused = false;
    loop {
        tokio::time::sleep(pause).await;
        match connect(target).await {
            Err(error) if error.is_passing() || (has_been_in && error.is_refusal()) => {
                if error.is_refusal() != refused {
                    // That is news, however short ago the other was told.
                    refused = !refused;
                    *reminder = Reminder::default();
                }
                if reminder.is_due(Instant::now()) {
                    match error.is_refusal() {
                        true => tracing::warn!("{error}; trying again until it goes well"),
                        false => tracing::warn!("{error} yet; trying again until there is one"),
                    }
                }
                pause = backoff.pause();
                tracing::debug!("{error}; next attempt in {pause:?}");
                dialing.not_yet(error.to_string());
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_no_controller() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::Unix { path: folder.path().join("none.sock"), private_folder: false };
        let error = connect(&Target::plain(endpoint)).await.err().unwrap();
        assert!(error.is_passing());
        assert!(error.to_string().starts_with("no controller at unix:///"), "{error}");
    }
}
