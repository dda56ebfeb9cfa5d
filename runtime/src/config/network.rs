//! Which files of TLS must be there for which endpoints, and which are of no use; and how nodes reach each other.

use super::file::Placed;
use super::{ConfigError, flags};
use crate::net::direct::DirectAccess;
use crate::net::endpoint::{Endpoint, Surroundings};
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

/// How nodes reach each other, and whether somebody said so.
pub(super) fn direct_access(
    flag: Option<&str>,
    file: Option<Placed<String>>,
    insecure: bool,
    around: &Surroundings,
) -> Result<(DirectAccess, bool), ConfigError> {
    let unix = || DirectAccess::Unix { folder: around.socket_folder() };
    let parse = |text: &str| match text {
        "off" => Ok(DirectAccess::Off),
        "unix" => Ok(unix()),
        url if url.starts_with("tcp://") => {
            Ok(DirectAccess::Tcp(Endpoint::parse(url, insecure).map_err(|error| error.to_string())?))
        }
        other => Err(format!(
            "direct: {other:?} is neither \"unix\", \"off\" nor tcp://HOST:PORT, for links between runtimes without the controller"
        )),
    };
    match (flag, file) {
        (Some(text), _) => Ok((parse(text).map_err(flags)?, true)),
        (None, Some(text)) => Ok((parse(&text.value).map_err(|error| text.error(error))?, true)),
        (None, None) => Ok((unix(), false)),
    }
}
