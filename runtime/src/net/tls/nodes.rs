//! The settings of two nodes, for a direct link between them.
//!
//! A controller is known by its host, as servers of TLS are. A node is where it says that it is, and may move: it is known by the
//! name in its certificate, as in SPIFFE, on both sides of a link. Its certificate is that of a client, of its controller, so it is
//! judged as such also where the node is the server: chain, times, purpose and signature by the same code of rustls as where it comes.
//!
//! Invariants: who opens a link says nothing, not whose certificate it has either, to anybody but the node that the controller named;
//! who is visited lets nobody in without a certificate, and tells its node whose it was.

use std::path::Path;
use std::sync::Arc;

use daffi_proto::id::ProcessName;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, OtherError, SignatureScheme, WantsVerifier,
};

use super::faults::{Whose, of_certificate};
use super::files::{TlsFileError, TlsFiles, own_identity};
use super::said::grants;
use super::sides::{ServerSide, provider, server_config, unusable, verifier};

/// The name of what is spoken inside TLS between nodes (ALPN).
const PROTOCOL: &[u8] = b"daffi-direct/1";

/// What a node needs for a handshake with another node, which it opens.
pub(super) struct NodeSide {
    /// Settings that lack whom it is to be with.
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    nodes: Arc<dyn ClientCertVerifier>,
    shown: Arc<SingleCertAndKey>,
}

impl ServerSide {
    /// With a certificate that other nodes can accept, or at least could at another time: then the log says so. Who shows none of
    /// an authority is not let in.
    pub(super) fn of_node(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let (ca, cert, key) = files_of_node(files)?;
        let nodes = verifier(ca, false)?;
        let shown = own_identity(cert, key)?;
        check_own(nodes.as_ref(), cert, &shown.0)?;
        let config = server_config(cert, shown, Some(nodes), PROTOCOL)?;
        Ok(Self { config, whose: Whose::Node, token: None, takes_certificates: true })
    }
}

impl NodeSide {
    pub(super) fn make(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let (ca, cert, key) = files_of_node(files)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| TlsFileError::wrong("--tls-ca", ca, error))?;
        let (chain, secret) = own_identity(cert, key)?;
        let shown = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| unusable(cert, &error))?;
        Ok(Self { builder, nodes: verifier(ca, false)?, shown: Arc::new(SingleCertAndKey::from(shown)) })
    }

    /// The settings for a handshake with this node and no other.
    pub(super) fn config_for(&self, node: &ProcessName) -> Arc<ClientConfig> {
        let only = OnlyNode { nodes: Arc::clone(&self.nodes), node: node.clone() };
        let builder = self.builder.clone().dangerous().with_custom_certificate_verifier(Arc::new(only));
        let mut config = builder.with_client_cert_resolver(Arc::<SingleCertAndKey>::clone(&self.shown));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Arc::new(config)
    }
}

/// Takes the certificate of one node. A node is a client of TLS, of its controller, and its certificate is for that: so it is judged as
/// that of a client also where it is the server, and then by the name in it.
#[derive(Debug)]
struct OnlyNode {
    nodes: Arc<dyn ClientCertVerifier>,
    node: ProcessName,
}

/// Why a certificate that holds is not taken.
#[derive(Debug, thiserror::Error)]
enum NotThisNode {
    #[error("{0}")]
    Nobody(String),
    #[error("it is of the node {shown:?}, and the controller says that the node {meant:?} is there")]
    Other { shown: String, meant: String },
}

impl From<NotThisNode> for rustls::Error {
    fn from(why: NotThisNode) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

impl ServerCertVerifier for OnlyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.nodes.verify_client_cert(end_entity, intermediates, now)?;
        let grants = grants(end_entity).map_err(NotThisNode::Nobody)?;
        if *grants.node() != self.node {
            let (shown, meant) = (grants.node().to_string(), self.node.to_string());
            return Err(NotThisNode::Other { shown, meant }.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.nodes.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.nodes.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.supported_verify_schemes()
    }
}

fn files_of_node(files: &TlsFiles) -> Result<(&Path, &Path, &Path), TlsFileError> {
    const WHY: &str =
        "nodes that reach each other over tls:// show and check certificates: give --tls-ca, --tls-cert and --tls-key";
    let Some(ca) = &files.ca else { return Err(TlsFileError::Missing { flag: "--tls-ca", why: WHY }) };
    let Some(cert) = &files.cert else { return Err(TlsFileError::Missing { flag: "--tls-cert", why: WHY }) };
    let Some(key) = &files.key else { return Err(TlsFileError::Missing { flag: "--tls-key", why: WHY }) };
    Ok((ca, cert, key))
}

/// Checks a node's own certificate as other nodes will that have the same authorities.
fn check_own(nodes: &dyn ClientCertVerifier, cert: &Path, chain: &[CertificateDer<'_>]) -> Result<(), TlsFileError> {
    let wrong = |why: String| TlsFileError::wrong("--tls-cert", cert, why);
    let (first, rest) = chain.split_first().ok_or_else(|| wrong("there is no certificate in it".to_owned()))?;
    grants(first).map_err(wrong)?;
    match nodes.verify_client_cert(first, rest, UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        )) => Err(wrong(Whose::Node.other_purpose().to_owned())),
        Err(error) => {
            let why = match &error {
                rustls::Error::InvalidCertificate(error) => of_certificate(error, Whose::Node),
                other => other.to_string(),
            };
            tracing::error!(
                "--tls-cert {}: no node with the same --tls-ca has a direct link with this one: {why}; a new file is taken without a \
                 restart",
                cert.display()
            );
            Ok(())
        }
    }
}
