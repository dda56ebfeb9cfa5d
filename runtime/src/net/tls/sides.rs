//! The settings of the two sides, a controller and a node. Those of two nodes are made of the same ([`super::nodes`]).
//!
//! Invariants: TLS 1.3 and nothing older; no session is resumed, so that each link is judged by the files as they are
//! now; nothing is sent before the handshake is over; both sides name our protocol, so that a port that somebody else
//! listens on is noticed, and a node's own port is not taken for a controller's.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

use super::faults::Whose;
use super::files::{JoinToken, OwnIdentity, TlsFileError, TlsFiles, authorities, join_token, own_identity};
use super::said::{Unacceptable, is_for_controller};

/// The name of what is spoken inside TLS with a controller (ALPN).
const PROTOCOL: &[u8] = b"daffi/1";

/// What who listens needs for a handshake.
pub(super) struct ServerSide {
    pub(super) config: Arc<ServerConfig>,
    /// Who listens.
    pub(super) whose: Whose,
    /// Who has no certificate may come in with this.
    pub(super) token: Option<JoinToken>,
    /// Whether certificates are taken at all.
    pub(super) takes_certificates: bool,
}

/// What a node needs for a handshake.
pub(super) struct ClientSide {
    pub(super) config: Arc<ClientConfig>,
    pub(super) token: Option<JoinToken>,
    /// Whether it shows a certificate.
    pub(super) shows_certificate: bool,
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl ServerSide {
    /// With a certificate that nodes can accept, or at least could at another time: then the log says so.
    pub(super) fn of_controller(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let (side, doubt) = Self::with_any(files)?;
        match (doubt, files.cert.as_deref()) {
            (Some(Unacceptable::Ever(why)), Some(cert)) => Err(TlsFileError::wrong("--tls-cert", cert, why)),
            (Some(Unacceptable::Now(why)), Some(cert)) => {
                tracing::error!(
                    "--tls-cert {}: no node is let in with it: {why}; a new file is taken without a restart",
                    cert.display()
                );
                Ok(side)
            }
            _ => Ok(side),
        }
    }

    /// With any certificate, and what keeps all nodes from accepting it.
    pub(super) fn with_any(files: &TlsFiles) -> Result<(Self, Option<Unacceptable>), TlsFileError> {
        const WHY: &str = "a controller that listens on tls:// shows a certificate: give --tls-cert and --tls-key";
        let cert = files.cert.as_deref().ok_or(TlsFileError::Missing { flag: "--tls-cert", why: WHY })?;
        let key = files.key.as_deref().ok_or(TlsFileError::Missing { flag: "--tls-key", why: WHY })?;
        let token = files.join_token.as_deref().map(join_token).transpose()?;
        let whom = files.ca.as_deref().map(|ca| verifier(ca, token.is_some())).transpose()?;
        let shown = own_identity(cert, key)?;
        let doubt = shown.0.first().and_then(|first| is_for_controller(first).err());
        let config = server_config(cert, shown, whom, PROTOCOL)?;
        let whose = Whose::Controller;
        Ok((Self { config, whose, token, takes_certificates: files.ca.is_some() }, doubt))
    }

    /// Whether the other side has said that it speaks what is spoken here. One that names no protocol at all is let through by TLS.
    pub(super) fn speaks_with(&self, connection: &ServerConnection) -> bool {
        connection.alpn_protocol().is_some_and(|said| self.config.alpn_protocols.iter().any(|ours| ours == said))
    }
}

pub(super) fn server_config(
    cert: &Path,
    (chain, secret): OwnIdentity,
    whom: Option<Arc<dyn ClientCertVerifier>>,
    protocol: &[u8],
) -> Result<Arc<ServerConfig>, TlsFileError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| TlsFileError::wrong("--tls-cert", cert, error))?;
    let builder = match whom {
        Some(whom) => builder.with_client_cert_verifier(whom),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, secret).map_err(|error| unusable(cert, &error))?;
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

impl ClientSide {
    pub(super) fn make(files: &TlsFiles) -> Result<Self, TlsFileError> {
        const WHY: &str =
            "without the authority that signed the controller's certificate, anybody could be the controller";
        let ca = files.ca.as_deref().ok_or(TlsFileError::Missing { flag: "--tls-ca", why: WHY })?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))?
            .with_root_certificates(authorities(ca)?);
        let (mut config, shows_certificate) = match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => {
                let (chain, secret) = own_identity(cert, key)?;
                let config = builder.with_client_auth_cert(chain, secret).map_err(|error| unusable(cert, &error))?;
                (config, true)
            }
            _ => (builder.with_no_client_auth(), false),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        let token = files.join_token.as_deref().map(join_token).transpose()?;
        Ok(Self { config: Arc::new(config), token, shows_certificate })
    }
}

/// Checks that an authority has signed a certificate, and that it holds now: what was just made is not to fail later.
///
/// # Errors
/// What is wrong, with the file.
pub fn vouches_for(ca: &Path, certificate_der: &[u8]) -> Result<(), TlsFileError> {
    let checked = verifier(ca, false)?.verify_client_cert(&CertificateDer::from(certificate_der), &[], UnixTime::now());
    checked.map(drop).map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))
}

pub(super) fn verifier(ca: &Path, or_none: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let roots: Arc<RootCertStore> = Arc::new(authorities(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if or_none { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))
}

/// A certificate or its key that rustls does not take.
pub(super) fn unusable(cert: &Path, error: &rustls::Error) -> TlsFileError {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "the key of --tls-key is not this certificate's".to_owned(),
        other => other.to_string(),
    };
    TlsFileError::wrong("--tls-cert", cert, why)
}
