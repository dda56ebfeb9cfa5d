//! Which files of TLS must be there for which endpoints, and which are of no use.

use crate::net::endpoint::Endpoint;
use crate::net::tls::TlsFiles;

/// Checks that the endpoints have the files that they need, and that there are none for nothing.
///
/// # Errors
/// What is missing, or should be left out.
pub fn check(listen: &[Endpoint], connect: Option<&Endpoint>, files: &TlsFiles) -> Result<(), &'static str> {
    let (listens, connects) = (listen.iter().any(Endpoint::is_tls), connect.is_some_and(Endpoint::is_tls));
    let (ca, token) = (files.ca.is_some(), files.join_token.is_some());
    let certificate = match (&files.cert, &files.key) {
        (Some(_), Some(_)) => true,
        (None, None) => false,
        (Some(_), None) => return Err("--tls-cert needs its key: give --tls-key"),
        (None, Some(_)) => return Err("--tls-key needs its certificate: give --tls-cert"),
    };
    if !listens && !connects && !files.is_empty() {
        return Err(
            "--tls-ca, --tls-cert, --tls-key and --join-token-file are for tls:// endpoints, and there is none: write tls:// in \
             --listen or --connect, or leave them out",
        );
    }
    if listens && !certificate {
        return Err("--listen tls://… shows a certificate to nodes: give --tls-cert and --tls-key");
    }
    if listens && !ca && !token {
        return Err(
            "--listen tls://… must know whom to let in: give --tls-ca (nodes with a certificate), --join-token-file (nodes with \
             a token), or both (nodes with either)",
        );
    }
    if connects && !ca {
        return Err("--connect tls://… must know its controller: give --tls-ca, the authority of its certificate");
    }
    if connects && !certificate && !token {
        return Err("--connect tls://… must prove itself: give --tls-cert and --tls-key, or --join-token-file");
    }
    Ok(())
}
