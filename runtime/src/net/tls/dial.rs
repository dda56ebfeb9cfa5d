//! A node's side: is this the controller, or the node, that is meant, and does it let us in?
//!
//! Invariant: a connection that is given out is one on which the other side has shown its certificate and has said
//! welcome; nothing was said before to anybody else. How long that may take is the dialer's affair.

use std::sync::Arc;

use daffi_proto::id::ProcessName;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::admission::{Word, write_token};
use super::faults::{self, Fault, Whose};
use super::files::{TlsFileError, TlsFiles};
use super::kept::Kept;
use super::nodes::NodeSide;
use super::sides::ClientSide;
use crate::net::link::Connection;

/// Who the node is, and whom it takes for the controller: as its files are now.
#[derive(Clone, Debug)]
pub struct Client(Arc<Kept<ClientSide>>);

/// Who the node is for other nodes, and whom it takes for one: as its files are now.
#[derive(Clone, Debug)]
pub struct NodeClient(Arc<Kept<NodeSide>>);

/// The other side and the node did not come together.
#[derive(Debug)]
pub struct NotLetIn {
    /// What happened, and what to do.
    pub message: String,
    /// Whether the same attempt may go better later: nobody has judged anybody.
    pub passing: bool,
}

impl From<Fault> for NotLetIn {
    fn from(Fault { message, passing }: Fault) -> Self {
        Self { message, passing }
    }
}

impl NotLetIn {
    fn by(whom: Whose) -> impl Fn(std::io::Error) -> Self {
        move |error| faults::for_dialer(&error, whom).into()
    }

    fn judged(message: String) -> Self {
        Self { message, passing: false }
    }
}

impl Client {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(files: TlsFiles) -> Result<Self, TlsFileError> {
        Ok(Self(Kept::open(files, ClientSide::make)?))
    }

    /// Makes a link's connection of one over TCP to this host. Cancel safe: dropping it closes the connection.
    ///
    /// # Errors
    /// [`NotLetIn`]
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<Connection, NotLetIn> {
        let side = self.0.now().await;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| NotLetIn::judged(format!("{host:?} is no name of a host that a certificate can have")))?;
        let mut stream = begin(Arc::clone(&side.config), name, stream, Whose::Controller).await?;
        let mut word = Word::read(&mut stream).await.map_err(NotLetIn::by(Whose::Controller))?;
        if word == Word::TokenWanted {
            word = say_token(&mut stream, &side).await?;
        }
        end(word, stream, Whose::Controller)
    }
}

impl NodeClient {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn open(files: TlsFiles) -> Result<Self, TlsFileError> {
        Ok(Self(Kept::open(files, NodeSide::make)?))
    }

    /// Makes a direct link's connection of one over TCP, if this node is at its other end. Cancel safe: dropping it closes the
    /// connection.
    ///
    /// # Errors
    /// [`NotLetIn`]
    pub async fn connect(&self, node: &ProcessName, stream: TcpStream) -> Result<Connection, NotLetIn> {
        let side = self.0.now().await;
        // Of no meaning: who it is stands in the certificate, and an address is not told to the other side.
        let name = stream.peer_addr().map_err(NotLetIn::by(Whose::Node))?.ip();
        let mut stream = begin(side.config_for(node), ServerName::IpAddress(name.into()), stream, Whose::Node).await?;
        let word = Word::read(&mut stream).await.map_err(NotLetIn::by(Whose::Node))?;
        end(word, stream, Whose::Node)
    }
}

/// The handshake of TLS: then the other side has shown its certificate.
async fn begin(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: TcpStream,
    whom: Whose,
) -> Result<TlsStream<TcpStream>, NotLetIn> {
    stream.set_nodelay(true).map_err(NotLetIn::by(whom))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(NotLetIn::by(whom))?;
    match stream.get_ref().1.alpn_protocol() {
        Some(_) => Ok(stream),
        None => Err(NotLetIn::judged(faults::no_daffi(whom))),
    }
}

/// Says the token, which the controller wants, and hears what it says to that.
async fn say_token(stream: &mut TlsStream<TcpStream>, side: &ClientSide) -> Result<Word, NotLetIn> {
    let Some(token) = &side.token else {
        let why = if side.shows_certificate { "it takes no certificates" } else { "this node shows no certificate" };
        let message = format!("the controller wants a join token, since {why}: give --join-token-file");
        return Err(NotLetIn::judged(message));
    };
    write_token(stream, token).await.map_err(NotLetIn::by(Whose::Controller))?;
    Word::read(stream).await.map_err(NotLetIn::by(Whose::Controller))
}

/// What is left when the other side has said its last word.
fn end(word: Word, stream: TlsStream<TcpStream>, whom: Whose) -> Result<Connection, NotLetIn> {
    let whom = whom.name();
    match word {
        Word::Welcome => {
            let (reader, writer) = tokio::io::split(stream);
            Ok(Connection::new(reader, writer))
        }
        Word::Refused(reason) => Err(NotLetIn::judged(format!("the {whom} does not let this node in: {reason}"))),
        Word::TokenWanted => Err(NotLetIn::judged(format!("the {whom} asks for the join token out of turn"))),
    }
}
