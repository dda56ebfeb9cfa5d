//! What a certificate says for itself, whoever signed it: whose it is, what it may, which hosts it has, when it ends.
//!
//! Invariant: what is asked here judges nobody who connects; it is for files of our own, which are to be found wanting when
//! they are given, and not by the first who comes. Fields that rustls has no accessor for are learned from its errors: it looks at
//! times and purposes before it looks for an authority, and there is none to be found.

use std::path::Path;
use std::time::Duration;

use daffi_proto::grants::NodeGrants;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

use super::faults;
use super::files::{TlsFileError, certificates};

/// How a file is called that no flag names.
const FLAG: &str = "certificate";

/// The purpose of a TLS server in DER: an object identifier, 1.3.6.1.5.5.7.3.1.
const SERVER_PURPOSE: &[u8] = &[0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];

/// A host that nobody has (RFC 2606).
const NO_HOST: &str = "host.invalid";

/// What a certificate in a file says.
pub struct Said {
    /// Of its node.
    pub grants: NodeGrants,
    /// Whether it may be a controller.
    pub is_controller: bool,
    /// The hosts by which that is reached.
    pub hosts: Vec<String>,
}

/// Reads what the first certificate of a file says, whoever signed it and whenever it holds.
///
/// # Errors
/// What is wrong, with the file.
pub fn said_in(cert: &Path) -> Result<Said, TlsFileError> {
    let first = first_of(cert)?;
    let grants = grants(&first).map_err(|why| TlsFileError::wrong(FLAG, cert, why))?;
    // A purpose stands in it as its number, which stands there for nothing else.
    let is_controller = first.windows(SERVER_PURPOSE.len()).any(|bytes| bytes == SERVER_PURPOSE);
    Ok(Said { grants, is_controller, hosts: hosts(&first) })
}

/// When the first certificate of a file ends, counted from 1970.
///
/// # Errors
/// What is wrong, with the file.
pub fn ends_at(cert: &Path) -> Result<Duration, TlsFileError> {
    let end_of_time = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match for_itself(&first_of(cert)?, end_of_time) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(Duration::from_secs(not_after.as_secs()))
        }
        Err(error) => Err(TlsFileError::wrong(FLAG, cert, error)),
        Ok(()) => Err(TlsFileError::wrong(FLAG, cert, "it does not say when it ends")),
    }
}

fn first_of(cert: &Path) -> Result<CertificateDer<'static>, TlsFileError> {
    let found = certificates(FLAG, cert)?;
    found.into_iter().next().ok_or_else(|| TlsFileError::wrong(FLAG, cert, "there is none in it"))
}

/// What a certificate says of its node.
///
/// # Errors
/// Why it says nothing that can be used.
pub(super) fn grants(certificate: &CertificateDer<'_>) -> Result<NodeGrants, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    NodeGrants::from_uris(parsed.valid_uri_names()).map_err(|error| error.to_string())
}

/// What keeps every node from accepting this certificate of a controller.
pub(super) enum Unacceptable {
    /// For good.
    Ever(String),
    /// As the clock is now.
    Now(String),
}

/// Whether there are nodes that could accept this certificate of a controller: those whose authority has signed it.
///
/// # Errors
/// Why there are none.
pub(super) fn is_for_controller(certificate: &CertificateDer<'_>) -> Result<(), Unacceptable> {
    const ADVICE: &str = "make one with `daffi-runtime certs issue NAME --controller --host HOST`";
    match for_itself(certificate, UnixTime::now()) {
        Ok(()) if hosts(certificate).is_empty() => {
            Err(Unacceptable::Ever(format!("it names no host, and no node would accept it of a controller: {ADVICE}")))
        }
        Ok(()) => Ok(()),
        Err(Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => Err(Unacceptable::Now(faults::of_certificate(&error, faults::Whose::Controller))),
        Err(Error::InvalidCertificate(
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
        )) => Err(Unacceptable::Ever(format!(
            "it is for a node and not for a controller, and no node would accept it of one: {ADVICE}"
        ))),
        Err(error) => Err(Unacceptable::Ever(format!("no node would accept it of a controller ({error}): {ADVICE}"))),
    }
}

/// Checks what stands in the certificate of a TLS server at this time, but not who signed it.
fn for_itself(certificate: &CertificateDer<'_>, at: UnixTime) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    match verify_server_cert_signed_by_trust_anchor(&parsed, &RootCertStore::empty(), &[], at, &[]) {
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Ok(()),
        other => other,
    }
}

/// The hosts of a certificate: names and addresses.
fn hosts(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(nobody) = ServerName::try_from(NO_HOST) else { return Vec::new() };
    let asked = ParsedCertificate::try_from(certificate).and_then(|parsed| verify_server_name(&parsed, &nobody));
    match asked {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            hosts_among(&presented)
        }
        _ => Vec::new(),
    }
}

/// The hosts among the names of a certificate as webpki shows them: `DnsName("a.example")`, `IpAddress(10.0.0.1)`.
pub(super) fn hosts_among(presented: &[String]) -> Vec<String> {
    let host = |name: &String| {
        let name = name.strip_suffix(')')?;
        let host = name.strip_prefix("DnsName(").or_else(|| name.strip_prefix("IpAddress("))?;
        Some(host.trim_matches('"').to_owned())
    };
    presented.iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_as_people_write_them_and_other_names_are_none() {
        let presented = [
            "UniformResourceIdentifier(\"daffi:node/mesh\")",
            "DnsName(\"mesh.example.org\")",
            "IpAddress(10.0.0.1)",
            "IpAddress(fd00::1)",
            "DirectoryName",
        ];
        let presented = presented.map(str::to_owned);
        assert_eq!(hosts_among(&presented), ["mesh.example.org", "10.0.0.1", "fd00::1"]);
    }
}
