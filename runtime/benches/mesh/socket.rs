//! The sockets of bare frames: unix, TCP, and TLS as runtimes speak it (rustls over ring, TLS 1.3).
//!
//! A [`Place`] is where a bare server listens; a process that is started is told it as JSON.

use std::io::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as Reservation};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What frames go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Unix,
    Tcp,
    Tls,
}

/// Where a bare server listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    Unix(PathBuf),
    Tcp(SocketAddr),
    /// With the folder of the certificates.
    Tls(SocketAddr, PathBuf),
}

/// The two directions of a connected socket.
pub type Ends = (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>);

impl Place {
    /// A place where nobody listens; `name` is a socket's in the folder.
    pub fn free(scheme: Scheme, folder: &Path, name: &str) -> anyhow::Result<Self> {
        Ok(match scheme {
            Scheme::Unix => Self::Unix(folder.join(name)),
            Scheme::Tcp => Self::Tcp(free_address()?),
            Scheme::Tls => Self::Tls(free_address()?, certificates(folder)?),
        })
    }

    /// Listens there, and waits for the one who comes.
    pub async fn accept(&self) -> anyhow::Result<Ends> {
        Ok(match self {
            Self::Unix(path) => ends_of(UnixListener::bind(path)?.accept().await?.0.into_split()),
            Self::Tcp(address) => ends_of(accept_tcp(address).await?.into_split()),
            Self::Tls(address, folder) => {
                let acceptor = TlsAcceptor::from(Arc::new(server_side(folder)?));
                ends_of(split(acceptor.accept(accept_tcp(address).await?).await?))
            }
        })
    }

    /// Connects to a server that may still be starting.
    pub async fn connect(&self) -> anyhow::Result<Ends> {
        Ok(match self {
            Self::Unix(path) => ends_of(connect(path).await?.into_split()),
            Self::Tcp(address) => ends_of(connect_tcp(address).await?.into_split()),
            Self::Tls(address, folder) => {
                let connector = TlsConnector::from(Arc::new(client_side(folder)?));
                let name = ServerName::from(address.ip());
                ends_of(split(connector.connect(name, connect_tcp(address).await?).await?))
            }
        })
    }

    /// Leaves nothing there: the next round listens at the same path.
    pub fn clear(&self) -> Result<()> {
        match self {
            Self::Unix(path) => std::fs::remove_file(path),
            Self::Tcp(_) | Self::Tls(..) => Ok(()),
        }
    }
}

/// Connects to a unix socket whose server may still be starting.
pub async fn connect(socket: &Path) -> Result<UnixStream> {
    patiently(async || UnixStream::connect(socket).await).await
}

async fn connect_tcp(address: &SocketAddr) -> Result<TcpStream> {
    at_once(patiently(async || TcpStream::connect(address).await).await?)
}

async fn accept_tcp(address: &SocketAddr) -> Result<TcpStream> {
    at_once(TcpListener::bind(address).await?.accept().await?.0)
}

/// Frames are coalesced already, as ours are: the system must not wait for more.
fn at_once(stream: TcpStream) -> Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn patiently<T>(connect: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match connect().await {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

fn ends_of(
    (reader, writer): (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static),
) -> Ends {
    (Box::new(reader), Box::new(writer))
}

/// An address that nobody listened at a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Reservation::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The folder of an authority and of the certificates of `mesh`, the controller, and of the nodes `server` and `caller`.
pub fn certificates(folder: &Path) -> anyhow::Result<PathBuf> {
    let made = folder.join("certs");
    if made.exists() {
        return Ok(made);
    }
    let words: [&[&str]; 4] = [
        &["init"],
        &["issue", "mesh", "--controller", "--host", "127.0.0.1"],
        &["issue", "server", "--process", "server"],
        &["issue", "caller", "--process", "caller"],
    ];
    for words in words {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daffi-runtime"));
        let output = command.arg("certs").args(words).arg("--dir").arg(&made).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(made)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_side(folder: &Path) -> Result<ServerConfig> {
    let chain =
        CertificateDer::pem_file_iter(folder.join("mesh.pem")).and_then(Iterator::collect).map_err(Error::other)?;
    let key = PrivateKeyDer::from_pem_file(folder.join("mesh.key")).map_err(Error::other)?;
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(Error::other)
}

fn client_side(folder: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(folder.join("ca.pem")).map_err(Error::other)?;
    roots.add(authority).map_err(Error::other)?;
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    Ok(builder.map_err(Error::other)?.with_root_certificates(roots).with_no_client_auth())
}
