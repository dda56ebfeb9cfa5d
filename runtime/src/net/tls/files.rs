//! The files of TLS: what each must be, and what is wrong with one that is not.
//!
//! Invariants: a key or a token that everybody on the machine can read is refused; a token is never shown, not by `Debug`
//! either; a file is read up to [`MAX_FILE_BYTES`].

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use subtle::ConstantTimeEq;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Shortest and longest join token, in bytes: one that is shorter can be guessed.
const TOKEN_BYTES: (usize, usize) = (16, 512);

/// Which files there are. Which of them a side needs is checked with the flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// `--tls-ca`: the authorities that sign the other side's certificates.
    pub ca: Option<PathBuf>,
    /// `--tls-cert`: our certificate, and those between it and the authority.
    pub cert: Option<PathBuf>,
    /// `--tls-key`: its key.
    pub key: Option<PathBuf>,
    /// `--join-token-file`
    pub join_token: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All that there are.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        [&self.ca, &self.cert, &self.key, &self.join_token].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read.
    #[error("{flag} {}: cannot be read: {source}", path.display())]
    Unreadable { flag: &'static str, path: PathBuf, source: io::Error },
    /// It is not what it should be.
    #[error("{flag} {}: {why}", path.display())]
    Wrong { flag: &'static str, path: PathBuf, why: String },
    /// Others can read what they must not know.
    #[error(
        "{flag} {}: everybody on this machine can read or change it (mode {mode:04o}): close it with `chmod 600`",
        path.display()
    )]
    OpenToOthers { flag: &'static str, path: PathBuf, mode: u32 },
    /// It is needed.
    #[error("{flag} is missing: {why}")]
    Missing { flag: &'static str, why: &'static str },
}

impl TlsFileError {
    pub(super) fn wrong(flag: &'static str, path: &Path, why: impl ToString) -> Self {
        Self::Wrong { flag, path: path.to_owned(), why: why.to_string() }
    }
}

/// What all nodes know who may join without a certificate.
pub(super) struct JoinToken(Vec<u8>);

impl JoinToken {
    /// Whether the other side has said the same. Takes as long for any token of the same length.
    pub(super) fn is(&self, said: &[u8]) -> bool {
        self.0.ct_eq(said).into()
    }

    /// To be sent to a controller, and nowhere else.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) const MAX_BYTES: usize = TOKEN_BYTES.1;
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

/// A certificate with those between it and its authority, and its key.
pub(super) type OwnIdentity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The authorities of `--tls-ca`.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    const FLAG: &str = "--tls-ca";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(FLAG, path)? {
        roots.add(certificate).map_err(|error| TlsFileError::wrong(FLAG, path, error))?;
    }
    Ok(roots)
}

/// What we show of ourselves: `--tls-cert` and `--tls-key`.
pub(super) fn own_identity(cert: &Path, key: &Path) -> Result<OwnIdentity, TlsFileError> {
    const KEY: &str = "--tls-key";
    let chain = certificates("--tls-cert", cert)?;
    let pem = read_secret(KEY, key)?;
    let secret = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| TlsFileError::wrong(KEY, key, format!("there is no private key in it as PEM ({error})")))?;
    Ok((chain, secret))
}

/// `--join-token-file`: one line.
pub(super) fn join_token(path: &Path) -> Result<JoinToken, TlsFileError> {
    const FLAG: &str = "--join-token-file";
    let bytes = read_secret(FLAG, path)?;
    let token = bytes.trim_ascii();
    let (least, most) = TOKEN_BYTES;
    if !(least..=most).contains(&token.len()) || !token.iter().all(u8::is_ascii_graphic) {
        let why = format!(
            "a token is {least} to {most} visible ASCII characters on one line, hard to guess: make one with \
             `head -c 32 /dev/urandom | base64`"
        );
        return Err(TlsFileError::wrong(FLAG, path, why));
    }
    Ok(JoinToken(token.to_vec()))
}

pub(super) fn certificates(flag: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let pem = read(flag, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TlsFileError::wrong(flag, path, "there is no certificate in it as PEM")),
        Err(error) => Err(TlsFileError::wrong(flag, path, format!("it is no PEM: {error}"))),
    }
}

fn read_secret(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |source| TlsFileError::Unreadable { flag, path: path.to_owned(), source };
    let mode = std::fs::metadata(path).map_err(unreadable)?.mode() & 0o7777;
    // A group may have been given it on purpose, as containers do.
    if mode & 0o007 != 0 {
        return Err(TlsFileError::OpenToOthers { flag, path: path.to_owned(), mode });
    }
    read(flag, path)
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |source| TlsFileError::Unreadable { flag, path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsFileError::wrong(flag, path, format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
