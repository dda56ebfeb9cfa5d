//! The side of who listens, a controller or a node: handshakes with strangers, many at a time.
//!
//! Invariants: a handshake holds nobody up: each is a task of its own, has [`HANDSHAKE_TIMEOUT`], and takes a link's place
//! only when it is over; of more than [`MAX_HANDSHAKES`] under way the oldest is dropped, since an honest one takes
//! milliseconds. Whoever is turned away is told why, and so is the log, if it was for a reason and not for noise.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use daffi_proto::session::PeerIdentity;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::HANDSHAKE_TIMEOUT;
use super::admission::{Word, read_token};
use super::faults::{self, Fault};
use super::files::{TlsFileError, TlsFiles};
use super::kept::Kept;
use super::said::grants;
use super::sides::ServerSide;
use crate::net::link::Connection;
use crate::net::listener::Accepted;

/// Most handshakes that are under way on one address.
pub const MAX_HANDSHAKES: usize = 256;

/// How long somebody who is turned away may take to hear why.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes that are read, and thrown away, of somebody who is turned away.
const MAX_UNHEARD_BYTES: u64 = 64 * 1024;

/// Who listens, and whom it lets in: as its files are now.
#[derive(Clone, Debug)]
pub struct Server(Arc<Kept<ServerSide>>);

impl Server {
    /// A controller, to which nodes come. Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_controller(files: TlsFiles) -> Result<Self, TlsFileError> {
        Ok(Self(Kept::open(files, ServerSide::of_controller)?))
    }

    /// A node, to which other nodes come. Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of_node(files: TlsFiles) -> Result<Self, TlsFileError> {
        Ok(Self(Kept::open(files, ServerSide::of_node)?))
    }
}

/// The handshakes of one address. Dropping it ends them.
#[derive(Debug)]
pub struct Handshakes {
    server: Server,
    endpoint: Arc<str>,
    tasks: JoinSet<()>,
    /// Those that are under way, oldest first, among them some that have ended.
    order: VecDeque<AbortHandle>,
}

impl Handshakes {
    /// None yet. The endpoint is for the log.
    pub fn new(server: Server, endpoint: &str) -> Self {
        Self { server, endpoint: endpoint.into(), tasks: JoinSet::new(), order: VecDeque::new() }
    }

    /// Begins one. Who is let in is sent to `accepted`, with a place of `places`.
    pub fn begin(
        &mut self,
        stream: TcpStream,
        address: SocketAddr,
        places: Arc<Semaphore>,
        accepted: mpsc::Sender<Accepted>,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|handshake| !handshake.is_finished());
        while self.order.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            tracing::debug!("{}: too many handshakes at a time: the oldest is dropped", self.endpoint);
            oldest.abort();
        }
        let newcomer = Newcomer { server: self.server.clone(), endpoint: Arc::clone(&self.endpoint), address, places };
        self.order.push_back(self.tasks.spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, newcomer.shake_hands(stream)).await {
                // Nobody takes it any more when the runtime ends.
                Ok(Some(let_in)) => _ = accepted.send(let_in).await,
                Ok(None) => {}
                Err(_) => tracing::debug!("{address}: it did not complete the handshake within {HANDSHAKE_TIMEOUT:?}"),
            }
        }));
    }
}

/// Somebody who has connected, and has proved nothing yet.
struct Newcomer {
    server: Server,
    endpoint: Arc<str>,
    address: SocketAddr,
    places: Arc<Semaphore>,
}

impl Newcomer {
    /// The whole handshake; `None` when it was turned away.
    async fn shake_hands(self, stream: TcpStream) -> Option<Accepted> {
        // Without it all works, only slower.
        let _ = stream.set_nodelay(true);
        let side = self.server.0.now().await;
        let mut stream = match TlsAcceptor::from(Arc::clone(&side.config)).accept(stream).into_fallible().await {
            Ok(stream) => stream,
            Err((error, stream)) => {
                self.log(&faults::for_acceptor(&error, side.whose));
                hear_out(stream).await;
                return None;
            }
        };
        let identity = match self.judge(&mut stream, &side).await {
            Ok(identity) => identity,
            Err(Turned::Gone(error)) => {
                self.log(&faults::for_acceptor(&error, side.whose));
                return None;
            }
            Err(Turned::Away(reason)) => {
                self.log(&Fault { message: reason.clone(), passing: false });
                let _ = Word::Refused(reason).write(&mut stream).await;
                hear_out(stream).await;
                return None;
            }
        };
        // A node that finds no place waits for one, as in the backlog of another socket, for as long as handshakes may take.
        let place = self.places.clone().acquire_owned().await.ok()?;
        if let Err(error) = Word::Welcome.write(&mut stream).await {
            self.log(&faults::for_acceptor(&error, side.whose));
            return None;
        }
        let (reader, writer) = tokio::io::split(stream);
        Some(Accepted { connection: Connection::new(reader, writer), identity, place })
    }

    /// Who it is: by the certificate that it has shown, or else by the token.
    async fn judge(&self, stream: &mut TlsStream<TcpStream>, side: &ServerSide) -> Result<PeerIdentity, Turned> {
        let address = self.address;
        if !side.speaks_with(stream.get_ref().1) {
            return Err(Turned::Away("this node does not say that it speaks daffi inside TLS".to_owned()));
        }
        if let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
            let grants =
                grants(certificate).map_err(|why| Turned::Away(format!("the certificate of this node: {why}")))?;
            return Ok(PeerIdentity::Certificate { grants: Arc::new(grants), address });
        }
        let Some(token) = &side.token else {
            // TLS sees to that, but whoever changes that must not open a door here.
            return Err(Turned::Away("this node has shown no certificate".to_owned()));
        };
        Word::TokenWanted.write(stream).await?;
        if token.is(&read_token(stream).await?) {
            return Ok(PeerIdentity::Token { address });
        }
        let or = if side.takes_certificates { ", or give --tls-cert and --tls-key" } else { "" };
        Err(Turned::Away(format!(
            "the join token is not that of the controller: compare the files of --join-token-file{or}"
        )))
    }

    fn log(&self, Fault { message, passing }: &Fault) {
        let Self { endpoint, address, .. } = self;
        if *passing {
            tracing::debug!("{endpoint}: {address} came to nothing: {message}");
        } else {
            tracing::warn!("{endpoint}: {address} was turned away: {message}");
        }
    }
}

/// Why somebody is not let in.
enum Turned {
    /// He is told this.
    Away(String),
    /// He cannot be told anything any more.
    Gone(std::io::Error),
}

impl From<std::io::Error> for Turned {
    fn from(error: std::io::Error) -> Self {
        Self::Gone(error)
    }
}

/// Lets the last word arrive: closing a socket with something unread on it would take the word back.
async fn hear_out(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let heard = async {
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(MAX_UNHEARD_BYTES), &mut tokio::io::sink()).await;
    };
    let _ = tokio::time::timeout(LAST_WORD_TIMEOUT, heard).await;
}
