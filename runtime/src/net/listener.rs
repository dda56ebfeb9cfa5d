//! The side of sockets of who listens, a controller or a node that others reach directly: take the address, accept, and say who connected.
//!
//! Invariants: a unix socket is guarded by a lock file beside it, so two controllers never share an address and what
//! a killed one left is replaced; the socket has mode 0600, a peer with another uid is turned away, and the files go
//! when the listener does. At most [`MAX_CONNECTIONS`] connections are open; the next ones wait in the backlog.
//! It reads and writes nothing on the connections, but what [`super::tls`] does in handshakes.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::session::PeerIdentity;
use rustix::fs::FlockOperation;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::endpoint::{Endpoint, EndpointError, check_named_folder, check_private_folder, is_loopback};
use super::link::Connection;
use super::tls::accept::Handshakes;
use super::tls::{Server, TlsFileError, TlsFiles};

/// Most connections that a controller holds open at once, over all its addresses.
pub const MAX_CONNECTIONS: usize = 4096;

/// The waits after a failed accept (out of file descriptors): from the first to the longest.
const ACCEPT_BACKOFF: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// An address could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The endpoint itself is not acceptable.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Somebody has it.
    #[error(
        "{endpoint} is in use: where another controller listens there, join it by leaving --controller out (`controller` in a \
         config file); else choose another address with --listen (`listen`)"
    )]
    InUse { endpoint: String },
    /// The path is taken by something that is no socket.
    #[error("{} exists and is no socket: remove it, or choose another address with --listen", path.display())]
    NotASocket { path: PathBuf },
    /// A file that TLS needs.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// Anything else.
    #[error("cannot listen on {endpoint}: {what}: {source}; choose another address with --listen")]
    Io { endpoint: String, what: String, source: io::Error },
}

/// A connection that was let in.
pub struct Accepted {
    /// The two directions.
    pub connection: Connection,
    /// Who it is, as far as the system or TLS knows.
    pub identity: PeerIdentity,
    /// Its place among the [`MAX_CONNECTIONS`]; to be held as long as the connection.
    pub place: OwnedSemaphorePermit,
}

/// An address that was taken. Dropping it gives the address back.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    endpoint: Endpoint,
    uid: u32,
}

#[derive(Debug)]
enum Socket {
    Unix {
        listener: UnixListener,
        /// Held for its Drop.
        _files: SocketFiles,
    },
    Tcp(TcpListener),
    Tls {
        listener: TcpListener,
        handshakes: Handshakes,
    },
}

impl Listener {
    /// Takes the address, for a controller. The files are those for `tls://`.
    ///
    /// # Errors
    /// [`ListenError`] when it is taken, or not ours to take, or TLS is wanted and a file cannot be used.
    pub async fn bind(endpoint: &Endpoint, tls: &TlsFiles) -> Result<Self, ListenError> {
        Self::bind_as(endpoint, || Server::of_controller(tls.clone())).await
    }

    /// Takes the address, for a node to which others come directly. The files are those for `tls://`.
    ///
    /// # Errors
    /// [`ListenError`], as of [`Listener::bind`].
    pub async fn bind_for_node(endpoint: &Endpoint, tls: &TlsFiles) -> Result<Self, ListenError> {
        Self::bind_as(endpoint, || Server::of_node(tls.clone())).await
    }

    async fn bind_as(
        endpoint: &Endpoint,
        server: impl FnOnce() -> Result<Server, TlsFileError>,
    ) -> Result<Self, ListenError> {
        let uid = rustix::process::getuid().as_raw();
        match endpoint {
            Endpoint::Unix { path, private_folder } => {
                let files = SocketFiles::take(endpoint, path, *private_folder, uid)?;
                let fail = |what: &str| io_error(endpoint, what);
                let listener = UnixListener::bind(path).map_err(fail("the socket cannot be made"))?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
                    .map_err(fail("the socket's mode cannot be set"))?;
                Ok(Self { socket: Socket::Unix { listener, _files: files }, endpoint: endpoint.clone(), uid })
            }
            Endpoint::Tcp { host, port } => {
                let (listener, port) = take_port(endpoint, host, *port).await?;
                let endpoint = Endpoint::Tcp { host: host.clone(), port };
                Ok(Self { socket: Socket::Tcp(listener), endpoint, uid })
            }
            Endpoint::Tls { host, port } => {
                let server = server()?;
                let (listener, port) = take_port(endpoint, host, *port).await?;
                let endpoint = Endpoint::Tls { host: host.clone(), port };
                let handshakes = Handshakes::new(server, &endpoint.to_string());
                Ok(Self { socket: Socket::Tls { listener, handshakes }, endpoint, uid })
            }
        }
    }

    /// The address, with the port that the system chose where 0 was asked for.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match &self.socket {
            Socket::Unix { .. } => true,
            Socket::Tcp(listener) | Socket::Tls { listener, .. } => {
                listener.local_addr().is_ok_and(|address| is_of_this_machine(address.ip()))
            }
        }
    }

    /// Accepts connections and passes them on until it is cancelled or nobody takes them any more.
    pub async fn run(mut self, accepted: mpsc::Sender<Accepted>, places: Arc<Semaphore>, cancel: CancellationToken) {
        let mut backoff = ACCEPT_BACKOFF[0];
        loop {
            let next = tokio::select! {
                () = cancel.cancelled() => return,
                next = self.next(&places, &accepted) => next,
            };
            match next {
                Ok(Some(connection)) => {
                    backoff = ACCEPT_BACKOFF[0];
                    if accepted.send(connection).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!("{}: a connection could not be accepted: {error}; trying again", self.endpoint);
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(ACCEPT_BACKOFF[1]);
                }
            }
        }
    }

    /// The next connection that is let in; `None` when one was turned away, or has a handshake before it, after which it
    /// is passed on. Cancel safe.
    async fn next(
        &mut self,
        places: &Arc<Semaphore>,
        accepted: &mpsc::Sender<Accepted>,
    ) -> io::Result<Option<Accepted>> {
        if let Socket::Tls { listener, handshakes } = &mut self.socket {
            // Without a place: who proves nothing takes none.
            let (stream, address) = listener.accept().await?;
            handshakes.begin(stream, address, Arc::clone(places), accepted.clone());
            return Ok(None);
        }
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        Ok(match &self.socket {
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                self.admit_unix(stream, place)
            }
            Socket::Tls { .. } => None,
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                let identity = PeerIdentity::Tcp { address };
                admit_tcp(stream).map(|connection| Accepted { connection, identity, place })
            }
        })
    }

    fn admit_unix(&self, stream: UnixStream, place: OwnedSemaphorePermit) -> Option<Accepted> {
        let credentials = match stream.peer_cred() {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::warn!("{}: a connection without credentials was closed: {error}", self.endpoint);
                return None;
            }
        };
        let uid = credentials.uid();
        if uid != self.uid {
            tracing::warn!("{}: a connection of uid {uid} was closed: only uid {} may join", self.endpoint, self.uid);
            return None;
        }
        let identity = PeerIdentity::Unix { uid, pid: credentials.pid().and_then(|pid| u32::try_from(pid).ok()) };
        match Connection::unix(stream) {
            Ok(connection) => Some(Accepted { connection, identity, place }),
            Err(error) => {
                tracing::warn!("{}: a connection was closed: {error}", self.endpoint);
                None
            }
        }
    }
}

/// Takes a port, and tells which it is.
async fn take_port(endpoint: &Endpoint, host: &str, port: u16) -> Result<(TcpListener, u16), ListenError> {
    let listener = match TcpListener::bind((host, port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            return Err(ListenError::InUse { endpoint: endpoint.to_string() });
        }
        other => other.map_err(io_error(endpoint, "the port cannot be taken"))?,
    };
    let port = listener.local_addr().map_err(io_error(endpoint, "the port is unknown"))?.port();
    Ok((listener, port))
}

/// Whether an address leads back to this machine, wherever it is asked.
pub fn is_of_this_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// A TCP connection that broke before it was taken up is no failure of accepting.
fn admit_tcp(stream: TcpStream) -> Option<Connection> {
    match Connection::tcp(stream) {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::debug!("a connection broke at once: {error}");
            None
        }
    }
}

fn io_error(endpoint: &Endpoint, what: &str) -> impl FnOnce(io::Error) -> ListenError + use<> {
    let (endpoint, what) = (endpoint.to_string(), what.to_owned());
    move |source| ListenError::Io { endpoint, what, source }
}

/// The socket's path and the lock beside it; both files go when this is dropped.
#[derive(Debug)]
struct SocketFiles {
    socket: PathBuf,
    lock_path: PathBuf,
    /// The lock lives as long as the file is open.
    _lock: std::fs::File,
}

impl SocketFiles {
    /// Takes the lock and clears away what an ended controller left.
    fn take(endpoint: &Endpoint, socket: &Path, private_folder: bool, uid: u32) -> Result<Self, ListenError> {
        let folder = socket.parent().unwrap_or(Path::new("/"));
        if !private_folder {
            check_named_folder(folder)?;
        } else if !check_private_folder(folder, uid)? {
            make_private_folder(folder).map_err(io_error(endpoint, "its folder cannot be made"))?;
            check_private_folder(folder, uid)?;
        }
        let mut lock_path = socket.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = lock_file(endpoint, &lock_path)?;
        let files = Self { socket: socket.to_owned(), lock_path, _lock: lock };
        match std::fs::symlink_metadata(socket) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(endpoint, "the socket's path cannot be looked at")(error)),
            Ok(file) if !file.file_type().is_socket() => {
                files.keep_socket();
                return Err(ListenError::NotASocket { path: socket.to_owned() });
            }
            // We have the lock, so no controller of ours is there; another program may be, and has no lock.
            Ok(_) if std::os::unix::net::UnixStream::connect(socket).is_ok() => {
                files.keep_socket();
                return Err(ListenError::InUse { endpoint: endpoint.to_string() });
            }
            Ok(_) => {
                std::fs::remove_file(socket).map_err(io_error(endpoint, "an old socket cannot be removed"))?;
                tracing::debug!("{endpoint}: replaced the socket of a controller that has ended");
            }
        }
        Ok(files)
    }

    /// Lets go of the lock, but not of the socket, which is not ours.
    fn keep_socket(mut self) {
        self.socket = PathBuf::new();
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        // Socket first and lock last: whoever gets the lock after us finds the path free.
        if !self.socket.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.socket);
        }
        let _ = std::fs::remove_file(&self.lock_path);
    }
}

/// Makes the folder and, for `$XDG_RUNTIME_DIR/daffi` under a missing parent, fails: parents are not ours to make.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Opens and locks the lock file. An ending controller removes it, so what was locked must still be what is there.
fn lock_file(endpoint: &Endpoint, path: &Path) -> Result<std::fs::File, ListenError> {
    loop {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(io_error(endpoint, &format!("the lock file {} cannot be opened", path.display())))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(ListenError::InUse { endpoint: endpoint.to_string() });
            }
            Err(error) => return Err(io_error(endpoint, "the lock cannot be taken")(error.into())),
        }
        let locked = file.metadata().map_err(io_error(endpoint, "the lock cannot be looked at"))?;
        if std::fs::metadata(path).is_ok_and(|now| now.ino() == locked.ino() && now.dev() == locked.dev()) {
            return Ok(file);
        }
    }
}

/// Removes the sockets of such names that nobody has any more: their nodes were killed. What cannot be removed stays.
pub fn clear_away(folder: &Path, prefix: &str, suffix: &str) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for lock_path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let name = lock_path.file_name().and_then(std::ffi::OsStr::to_str);
        let of_socket = name.and_then(|name| name.strip_suffix(".lock"));
        let Some(socket) = of_socket.filter(|name| name.starts_with(prefix) && name.ends_with(suffix)) else {
            continue;
        };
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let Ok(lock) = std::fs::OpenOptions::new().read(true).custom_flags(no_follow).open(&lock_path) else {
            continue;
        };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // Socket first and lock last, as where they are given back.
            let _ = std::fs::remove_file(folder.join(socket));
            let _ = std::fs::remove_file(&lock_path);
        }
    }
}

/// Whether listening there needs a word about who can reach it.
pub fn is_open_to_others(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Tcp { host, .. } if !is_loopback(host))
}

#[cfg(test)]
#[path = "listener_tests.rs"]
mod tests;
