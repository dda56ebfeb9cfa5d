//! The flags of `tls://` endpoints, which a runtime and a client have alike.

use std::path::PathBuf;

use clap::Args;

use crate::net::tls::TlsFiles;

/// The files of TLS.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// For tls://: the authorities that sign the certificates of the other side (PEM)
    ///
    /// A node needs it to know its controller, and other nodes for direct links (--direct tls://…). A controller with it takes nodes that
    /// have a certificate.
    #[arg(long, value_name = "PATH")]
    pub tls_ca: Option<PathBuf>,

    /// For tls://: the certificate that this runtime shows (PEM); `daffi-runtime certs` makes some
    #[arg(long, value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,

    /// For tls://: its private key (PEM), which not everybody may read or change
    #[arg(long, value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// For tls://: a file with the token by which nodes without a certificate join; the same at both sides
    ///
    /// One line of 16 to 512 characters, such as `head -c 32 /dev/urandom | base64` gives; not everybody may read or change it.
    #[arg(long, value_name = "PATH")]
    pub join_token_file: Option<PathBuf>,
}

impl TlsArgs {
    /// The files that were named.
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            ca: self.tls_ca.clone(),
            cert: self.tls_cert.clone(),
            key: self.tls_key.clone(),
            join_token: self.join_token_file.clone(),
        }
    }
}
