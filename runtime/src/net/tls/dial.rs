//! A node's side: is this the controller, and does it let us in?
//!
//! Invariant: a connection that is given out is one on which the controller has shown its certificate and has said
//! welcome. How long that may take is the dialer's affair.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::admission::{Word, write_token};
use super::faults::{self, Fault};
use super::files::{TlsFileError, TlsFiles};
use super::kept::Kept;
use super::sides::ClientSide;
use crate::net::link::Connection;

/// Who the node is, and whom it takes for the controller: as its files are now.
#[derive(Clone, Debug)]
pub struct Client(Arc<Kept<ClientSide>>);

/// The controller and the node did not come together.
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

impl From<std::io::Error> for NotLetIn {
    fn from(error: std::io::Error) -> Self {
        faults::for_node(&error).into()
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
        let name = ServerName::try_from(host.to_owned()).map_err(|_| NotLetIn {
            message: format!("{host:?} is no name of a host that a certificate can have"),
            passing: false,
        })?;
        stream.set_nodelay(true)?;
        let mut stream = TlsConnector::from(Arc::clone(&side.config)).connect(name, stream).await?;
        be_let_in(&mut stream, &side).await?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Connection::new(reader, writer))
    }
}

async fn be_let_in(stream: &mut TlsStream<TcpStream>, side: &ClientSide) -> Result<(), NotLetIn> {
    let judged = |message: String| NotLetIn { message, passing: false };
    let mut word = Word::read(stream).await?;
    if word == Word::TokenWanted {
        let Some(token) = &side.token else {
            let why =
                if side.shows_certificate { "it takes no certificates" } else { "this node shows no certificate" };
            return Err(judged(format!("the controller wants a join token, since {why}: give --join-token-file")));
        };
        write_token(stream, token).await?;
        word = Word::read(stream).await?;
    }
    match word {
        Word::Welcome => Ok(()),
        Word::Refused(reason) => Err(judged(format!("the controller does not let this node in: {reason}"))),
        Word::TokenWanted => Err(judged("the controller asks for the join token twice".to_owned())),
    }
}
