//! The flags of `certs`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use daffi_proto::id::{ProcessName, TenantName};

use crate::config::bounds;

/// The folder of the authority, unless another is said.
pub const DEFAULT_DIR: &str = "certs";

/// What `certs` can do.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make an authority that signs certificates: ca.pem for everybody, ca.key for nobody
    Init(CertsInitArgs),
    /// Make a certificate for a controller or a node, signed by that authority
    Issue(CertsIssueArgs),
}

/// `certs init`
#[derive(Debug, Args)]
#[command(after_help = INIT_HELP)]
pub struct CertsInitArgs {
    /// The folder, which is made (mode 0700) if it is not there
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DIR)]
    pub dir: PathBuf,
    /// For how many days the authority holds
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, 36_500>, allow_hyphen_values = true, default_value = "3650")]
    pub days: u32,
}

const INIT_HELP: &str = "\
ca.pem goes to all machines (--tls-ca). Whoever has ca.key can make a certificate for anything: it stays in the folder, and \
the folder best on a machine that runs neither controller nor nodes.

Example:
  daffi-runtime certs init --dir certs";

/// `certs issue`
#[derive(Debug, Args)]
#[command(after_help = ISSUE_HELP)]
pub struct CertsIssueArgs {
    /// Who has the certificate; a renewed one of the same name is the same node
    #[arg(value_name = "NAME")]
    pub name: ProcessName,
    /// Names of processes that the node may register, with * for any run of characters, and in which tenant; can be repeated.
    /// Without it the node can only look and call
    #[arg(long, value_name = "[TENANT::]PATTERN")]
    pub process: Vec<String>,
    /// The tenant of patterns that name none, and that of a node without any
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<TenantName>,
    /// It may be a controller
    #[arg(long, requires = "host")]
    pub controller: bool,
    /// A name or an address by which nodes reach that controller, as in their --connect; can be repeated
    #[arg(long, value_name = "HOST", value_parser = parse_host, requires = "controller")]
    pub host: Vec<Host>,
    /// For how many days it holds, no longer than its authority
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, 36_500>, allow_hyphen_values = true, default_value = "365")]
    pub days: u32,
    /// Replace the certificate and the key that are there; without --process and --tenant what it may stays as it was
    #[arg(long)]
    pub renew: bool,
    /// The folder of the authority
    #[arg(long, value_name = "PATH", default_value = DEFAULT_DIR)]
    pub dir: PathBuf,
}

const ISSUE_HELP: &str = "\
NAME.pem and NAME.key are put beside ca.pem, and go to the machine that shows them (--tls-cert, --tls-key). A runtime that \
has them takes renewed ones without a restart.

Examples:
  daffi-runtime certs issue controller --controller --host mesh.example.org --host 10.0.0.1
  daffi-runtime certs issue edge-7 --process 'sensor-*' --process edge-7
  daffi-runtime certs issue edge-8 --process acme::log --process 'globex::sensor-*'
  daffi-runtime certs issue alice --tenant acme
  daffi-runtime certs issue edge-7 --renew";

/// A host in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// By address.
    Address(IpAddr),
    /// By name.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn parse_host(text: &str) -> Result<Host, String> {
    if let Ok(address) = text.trim_matches(['[', ']']).parse() {
        return Ok(Host::Address(address));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "-._*".contains(c);
    if text.is_empty() || text.len() > 253 || !text.chars().all(good) {
        return Err("write a host's name or an address, without scheme and port".to_owned());
    }
    Ok(Host::Name(text.to_owned()))
}
