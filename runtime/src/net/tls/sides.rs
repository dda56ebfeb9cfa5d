//! The settings of the two sides.
//!
//! Invariants: TLS 1.3 and nothing older; no session is resumed, so that each link is judged by the files as they are
//! now; nothing is sent before the handshake is over; both sides name our protocol, so that a port that somebody else
//! listens on is noticed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{JoinToken, TlsFileError, TlsFiles, authorities, join_token, own_identity};
use super::said::{Unacceptable, is_for_controller};

/// The name of what is spoken inside TLS (ALPN).
const PROTOCOL: &[u8] = b"daffi/1";

/// What a controller needs for a handshake.
pub(super) struct ServerSide {
    pub(super) config: Arc<ServerConfig>,
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

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl ServerSide {
    /// With a certificate that nodes can accept, or at least could at another time: then the log says so.
    pub(super) fn make(files: &TlsFiles) -> Result<Self, TlsFileError> {
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
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsFileError::wrong("--tls-cert", cert, error))?;
        let builder = match &files.ca {
            Some(ca) => builder.with_client_cert_verifier(verifier(ca, token.is_some())?),
            None => builder.with_no_client_auth(),
        };
        let (chain, secret) = own_identity(cert, key)?;
        let doubt = chain.first().and_then(|first| is_for_controller(first).err());
        let mut config = builder.with_single_cert(chain, secret).map_err(|error| unusable(cert, &error))?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok((Self { config: Arc::new(config), token, takes_certificates: files.ca.is_some() }, doubt))
    }
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

fn verifier(ca: &Path, or_none: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let roots: Arc<RootCertStore> = Arc::new(authorities(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if or_none { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))
}

/// A certificate or its key that rustls does not take.
fn unusable(cert: &Path, error: &rustls::Error) -> TlsFileError {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "the key of --tls-key is not this certificate's".to_owned(),
        other => other.to_string(),
    };
    TlsFileError::wrong("--tls-cert", cert, why)
}
