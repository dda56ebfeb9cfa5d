//! Which files of TLS must be there for which endpoints, and which are of no use; and how nodes reach each other.

use std::net::IpAddr;

use super::file::Placed;
use super::{ConfigError, flags, words};
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

/// What decides how other nodes may reach this one.
pub(super) struct Reach<'a> {
    pub connect: Option<&'a Endpoint>,
    pub tls: &'a TlsFiles,
    pub insecure: bool,
    pub around: &'a Surroundings,
}

impl Reach<'_> {
    /// How nodes reach each other, and whether somebody said so.
    pub fn direct_access(
        &self,
        flag: Option<&str>,
        file: Option<Placed<String>>,
    ) -> Result<(DirectAccess, bool), ConfigError> {
        match (flag, file) {
            (Some(text), _) => Ok((self.parse(text).map_err(flags)?, true)),
            (None, Some(text)) => {
                Ok((self.parse(&text.value).map_err(|error| text.error(words::in_keys(&error)))?, true))
            }
            (None, None) => Ok((self.unix(), false)),
        }
    }

    fn unix(&self) -> DirectAccess {
        DirectAccess::Unix { folder: self.around.socket_folder() }
    }

    fn parse(&self, text: &str) -> Result<DirectAccess, String> {
        let endpoint = || Endpoint::parse(text, self.insecure).map_err(|error| error.to_string());
        match text {
            "off" => Ok(DirectAccess::Off),
            "unix" => Ok(self.unix()),
            url if url.starts_with("tcp://") => Ok(DirectAccess::Tcp(endpoint()?)),
            url if url.starts_with("tls://") => self.by_tls(endpoint()?),
            other => Err(format!(
                "direct: {other:?} is neither \"unix\", \"off\", tls://HOST:PORT nor tcp://HOST:PORT, for links between runtimes without the \
                 controller"
            )),
        }
    }

    /// Nodes know each other by the certificates by which the controller knows them.
    fn by_tls(&self, endpoint: Endpoint) -> Result<DirectAccess, String> {
        let TlsFiles { ca, cert, key, .. } = self.tls;
        if !self.connect.is_some_and(Endpoint::is_tls) || ca.is_none() || cert.is_none() || key.is_none() {
            const WHY: &str = "--direct tls://… proves nodes to each other by the certificates by which their controller knows them: give \
                 --connect tls://…, --tls-ca, --tls-cert and --tls-key; of who joins by token, over another socket or in the \
                 controller's own runtime it knows none";
            return Err(WHY.to_owned());
        }
        if let Endpoint::Tls { host, .. } = &endpoint
            && host.parse().is_ok_and(|address: IpAddr| address.is_unspecified())
        {
            return Err(format!(
                "--direct {endpoint} is no address at which others reach this node: name one at which they do"
            ));
        }
        let files = TlsFiles { join_token: None, ..self.tls.clone() };
        Ok(DirectAccess::Tls { endpoint, files })
    }
}
