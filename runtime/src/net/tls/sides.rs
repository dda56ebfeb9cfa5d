//! The settings of the two sides, and what the certificate of a node says.
//!
//! Invariants: TLS 1.3 and nothing older; no session is resumed, so that each link is judged by the files as they are
//! now; nothing is sent before the handshake is over; both sides name our protocol, so that a port that somebody else
//! listens on is noticed.

use std::path::Path;
use std::sync::Arc;

use daffi_proto::grants::NodeGrants;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::files::{JoinToken, TlsFileError, TlsFiles, authorities, certificates, join_token, own_identity};

/// The name of what is spoken inside TLS (ALPN).
const PROTOCOL: &[u8] = b"daffi/1";

/// The purpose of a TLS server in DER: an object identifier, 1.3.6.1.5.5.7.3.1.
const SERVER_PURPOSE: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

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
    pub(super) fn make(files: &TlsFiles) -> Result<Self, TlsFileError> {
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
        let mut config = builder.with_single_cert(chain, secret).map_err(|error| unusable(cert, &error))?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { config: Arc::new(config), token, takes_certificates: files.ca.is_some() })
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

/// What a certificate in a file says.
pub struct Said {
    /// Of its node.
    pub grants: NodeGrants,
    /// Whether it may be a controller.
    pub is_controller: bool,
}

/// Reads what the first certificate of a file says, whoever signed it and whenever it holds.
///
/// # Errors
/// What is wrong, with the file.
pub fn said_in(cert: &Path) -> Result<Said, TlsFileError> {
    const FLAG: &str = "certificate";
    let found = certificates(FLAG, cert)?;
    let first = found.first().ok_or_else(|| TlsFileError::wrong(FLAG, cert, "there is none in it"))?;
    let grants = grants(first).map_err(|why| TlsFileError::wrong(FLAG, cert, why))?;
    // A purpose stands in it as its number, which stands there for nothing else.
    let is_controller = first.windows(SERVER_PURPOSE.len()).any(|bytes| bytes == SERVER_PURPOSE);
    Ok(Said { grants, is_controller })
}

fn verifier(ca: &Path, or_none: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
    let roots: Arc<RootCertStore> = Arc::new(authorities(ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if or_none { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))
}

/// What a certificate that was verified says of its node.
///
/// # Errors
/// Why it says nothing that can be used.
pub(super) fn grants(certificate: &CertificateDer<'_>) -> Result<NodeGrants, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    NodeGrants::from_uris(parsed.valid_uri_names()).map_err(|error| error.to_string())
}

/// A certificate or its key that rustls does not take.
fn unusable(cert: &Path, error: &rustls::Error) -> TlsFileError {
    let why = match error {
        rustls::Error::InconsistentKeys(_) => "the key of --tls-key is not this certificate's".to_owned(),
        other => other.to_string(),
    };
    TlsFileError::wrong("--tls-cert", cert, why)
}
