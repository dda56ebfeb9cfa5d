//! `certs`: an authority and certificates for small set-ups, without another tool.
//!
//! ```text
//!   DIR/ca.pem     the authority, for --tls-ca of everybody
//!   DIR/ca.key     its key: signs, and stays here
//!   DIR/NAME.pem   a certificate: who it is, what it may
//!   DIR/NAME.key   its key
//! ```
//!
//! What a certificate says is in [`daffi_proto::grants`]; whether it may be a controller is the usual purpose of a server's
//! certificate, and its hosts the usual names, so that certificates of any other authority can say the same. Invariants:
//! the folder is closed to others (0700), and so are keys (0600); nothing is replaced but by `--renew`, and then each file
//! as a whole, and what the certificate may is kept unless something else is said; a certificate that was made has been checked
//! against the authority, and ends with it at the latest.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daffi_proto::grants::{GrantError, NodeGrants, ProcessGrant};
use daffi_proto::id::TenantName;
use daffi_proto::name::{BadCallbackName, split_tenant};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use super::args::{CertsCommand, CertsInitArgs, CertsIssueArgs, DEFAULT_DIR, Host};
use crate::exit::Failure;
use crate::net::tls::{Said, TlsFileError, ends_at, said_in, vouches_for};

/// How the authority's name in its certificates begins; its key's number follows, so that no two have the same name.
const AUTHORITY: &str = "daffi-runtime certs";

/// How much of the key's number.
const KEY_NUMBER_BYTES: usize = 8;

/// The files of the authority.
const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// Certificates hold from a little before now, since clocks differ.
const HOLDS_SINCE: Duration = Duration::from_secs(3600);

/// No certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// The folder or a file in it.
    #[error("{}: {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    /// The folder is not closed.
    #[error("{}: others can enter it (mode {mode:04o}), and keys are in it: close it with `chmod 700`", path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    /// There is an authority already.
    #[error("{} is there already: an authority is not replaced, since all its certificates would end; choose another --dir", path.display())]
    Authority { path: PathBuf },
    /// There is a certificate of that name already.
    #[error(
        "{} is there already, and {may}: to replace certificate and key say `{command}`, with what it shall be allowed; or choose \
         another name", path.display()
    )]
    Exists { path: PathBuf, may: String, command: String },
    /// There is one that cannot be read, or a key without a certificate.
    #[error("{} is there already: remove it, or choose another name", path.display())]
    Remains { path: PathBuf },
    /// There is none to renew.
    #[error("{} is not there, so there is nothing to renew: say the name or the --dir of one that is, or leave --renew out", path.display())]
    NothingToRenew { path: PathBuf },
    /// There is no authority.
    #[error("there is no authority in {}: make one with `daffi-runtime certs init --dir {}`", path.display(), path.display())]
    NoAuthority { path: PathBuf },
    /// The name is the authority's.
    #[error("the name \"ca\" is that of the authority's own files: choose another")]
    Reserved,
    /// What the certificate is to say.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The tenant of a pattern.
    #[error("--process: {0}")]
    Tenant(#[from] BadCallbackName),
    /// The certificate that is to be renewed says what cannot be read, or more than is known.
    #[error("what it says cannot be kept: {0}; remove it and its key, and leave --renew out")]
    Former(TlsFileError),
    /// It is a controller's.
    #[error("{} is a controller's: say `{command}`, or remove it first", path.display())]
    WasController { path: PathBuf, command: String },
    /// The authority's time is over.
    #[error("{}: the authority has expired and signs nothing more: make another one with `daffi-runtime certs init` in another --dir", path.display())]
    AuthorityExpired { path: PathBuf },
    /// The authority's files do not belong together.
    #[error("the authority cannot sign: {0}")]
    Authoritative(#[from] TlsFileError),
    /// The library that makes certificates.
    #[error("the certificate cannot be made: {0}")]
    Making(#[from] rcgen::Error),
}

/// Runs `certs`, and gives what to print.
///
/// # Errors
/// [`CertsError`] as a mistake of use.
pub fn run(command: &CertsCommand) -> Result<String, Failure> {
    match command {
        CertsCommand::Init(args) => init(args),
        CertsCommand::Issue(args) => issue(args),
    }
    .map_err(Failure::usage)
}

/// Makes an authority.
///
/// # Errors
/// [`CertsError`]
pub fn init(args: &CertsInitArgs) -> Result<String, CertsError> {
    let dir = &args.dir;
    private_folder(dir)?;
    let (cert, key) = (dir.join(CA_CERT), dir.join(CA_KEY));
    for path in [&cert, &key] {
        if is_there(path)? {
            return Err(CertsError::Authority { path: path.clone() });
        }
    }
    let pair = KeyPair::generate()?;
    let mut params = authority(&pair);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    holds_for(&mut params, args.days);
    let made = params.self_signed(&pair)?;
    // The key first: without it the certificate is of no use.
    put(&key, pair.serialize_pem().as_bytes(), 0o600, Replace::Never)?;
    put(&cert, made.pem().as_bytes(), 0o644, Replace::Never)?;
    Ok(format!(
        "made {}: the authority, for --tls-ca of the controller and all nodes\nmade {}: its key; keep it here, and secret\n",
        cert.display(),
        key.display()
    ))
}

/// Makes a certificate.
///
/// # Errors
/// [`CertsError`]
pub fn issue(args: &CertsIssueArgs) -> Result<String, CertsError> {
    let (dir, name) = (&args.dir, args.name.as_str());
    if name == "ca" {
        return Err(CertsError::Reserved);
    }
    let (ca_cert, ca_key) = (dir.join(CA_CERT), dir.join(CA_KEY));
    if !is_there(&ca_key)? {
        return Err(CertsError::NoAuthority { path: dir.clone() });
    }
    private_folder(dir)?;
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let former = former(args, &cert, &key)?;
    let grants = granted(args, &cert, former.as_ref())?;
    let holds = Holds::within(&ca_cert, args.days)?;
    let (made, pair) = signed(args, &grants, holds, &ca_key)?;
    vouches_for(&ca_cert, made.der())?;
    let replace = if args.renew { Replace::Whole } else { Replace::Never };
    put(&key, pair.serialize_pem().as_bytes(), 0o600, replace)?;
    put(&cert, made.pem().as_bytes(), 0o644, replace)?;
    Ok(told(args, &grants, holds, &cert, &key) + &lost(args, &grants, former.as_ref()))
}

/// What the certificate that is to be replaced says; none where there is none and none was meant.
fn former(args: &CertsIssueArgs, cert: &Path, key: &Path) -> Result<Option<Said>, CertsError> {
    match (args.renew, is_there(cert)?) {
        (true, true) => said_in(cert).map(Some).map_err(CertsError::Former),
        (true, false) => Err(CertsError::NothingToRenew { path: cert.to_owned() }),
        (false, true) => Err(match said_in(cert) {
            Ok(said) => CertsError::Exists {
                path: cert.to_owned(),
                may: format!("may register {}", said.grants),
                command: command(args, &said, &wanted(args)?),
            },
            Err(_) => CertsError::Remains { path: cert.to_owned() },
        }),
        (false, false) if is_there(key)? => Err(CertsError::Remains { path: key.to_owned() }),
        (false, false) => Ok(None),
    }
}

/// What the certificate says: what was asked for, or the former one where nothing was.
fn granted(args: &CertsIssueArgs, cert: &Path, former: Option<&Said>) -> Result<NodeGrants, CertsError> {
    if let Some(said) = former {
        if said.is_controller && !args.controller {
            return Err(CertsError::WasController {
                path: cert.to_owned(),
                command: command(args, said, &wanted(args)?),
            });
        }
        if args.process.is_empty() && args.tenant.is_none() {
            return Ok(said.grants.clone());
        }
    }
    wanted(args)
}

/// What the flags say.
fn wanted(args: &CertsIssueArgs) -> Result<NodeGrants, CertsError> {
    let tenant = args.tenant.clone().unwrap_or_default();
    let process = |text: &String| {
        let (named, pattern) = split_tenant(text)?;
        Ok::<_, CertsError>(ProcessGrant::new(named.unwrap_or_else(|| tenant.clone()), pattern)?)
    };
    let processes = args.process.iter().map(process).collect::<Result<Vec<_>, _>>()?;
    let only = (processes.is_empty() && tenant != TenantName::default()).then_some(tenant.clone());
    Ok(NodeGrants::new(args.name.clone(), processes, only.into_iter().collect())?)
}

/// The command that renews a certificate, with all that it says and that is wanted of a new one.
fn command(args: &CertsIssueArgs, said: &Said, wanted: &NodeGrants) -> String {
    let mut words = format!("daffi-runtime certs issue {} --renew", args.name);
    if said.is_controller || args.controller {
        words.push_str(" --controller");
        let asked = args.host.iter().map(Host::to_string).filter(|host| !said.hosts.contains(host));
        for host in said.hosts.iter().cloned().chain(asked) {
            words.push_str(&format!(" --host {host}"));
        }
    }
    let former = said.grants.flags();
    let asked = wanted.flags().into_iter().filter(|flag| !former.contains(flag));
    for (flag, value) in former.iter().cloned().chain(asked) {
        words.push_str(&format!(" {flag} '{value}'"));
    }
    if args.dir != Path::new(DEFAULT_DIR) {
        words.push_str(&format!(" --dir {}", args.dir.display()));
    }
    words
}

/// What a renewed certificate says no more; nothing where it says all that the former one did.
fn lost(args: &CertsIssueArgs, grants: &NodeGrants, former: Option<&Said>) -> String {
    let Some(said) = former else { return String::new() };
    let now = grants.flags();
    let gone = said.grants.flags().into_iter().filter(|flag| !now.contains(flag));
    let mut gone: Vec<String> = gone.map(|(flag, value)| format!("{flag} '{value}'")).collect();
    let hosts: Vec<String> = args.host.iter().map(Host::to_string).collect();
    gone.extend(said.hosts.iter().filter(|host| !hosts.contains(host)).map(|host| format!("--host {host}")));
    if gone.is_empty() {
        String::new()
    } else {
        format!("what the former one had and this one has not: {}\n", gone.join(" "))
    }
}

/// Until when a certificate holds.
#[derive(Clone, Copy)]
struct Holds {
    until: OffsetDateTime,
    days: u32,
    /// Whether it ends with its authority, and not when it was to.
    is_cut: bool,
}

impl Holds {
    /// For so many days, but no longer than the authority.
    fn within(ca_cert: &Path, days: u32) -> Result<Self, CertsError> {
        let now = OffsetDateTime::now_utc();
        let end = OffsetDateTime::UNIX_EPOCH.saturating_add(to_time(ends_at(ca_cert)?));
        if end <= now {
            return Err(CertsError::AuthorityExpired { path: ca_cert.to_owned() });
        }
        let until = now + days_long(days);
        if until <= end {
            return Ok(Self { until, days, is_cut: false });
        }
        Ok(Self { until: end, days: u32::try_from((end - now).whole_days()).unwrap_or(days), is_cut: true })
    }
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it holds for {} days", self.days)?;
        if self.is_cut { f.write_str(", until its authority ends, and no longer") } else { Ok(()) }
    }
}

/// The certificate and its key.
fn signed(
    args: &CertsIssueArgs,
    grants: &NodeGrants,
    holds: Holds,
    ca_key: &Path,
) -> Result<(Certificate, KeyPair), CertsError> {
    let pem = std::fs::read_to_string(ca_key).map_err(failed(ca_key, "cannot be read"))?;
    let pair = KeyPair::from_pem(&pem)?;
    let issuer = Issuer::new(authority(&pair), pair);
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(args.name.as_str());
    for uri in grants.uris() {
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
    }
    for host in &args.host {
        params.subject_alt_names.push(match host {
            Host::Address(address) => SanType::IpAddress(*address),
            Host::Name(name) => SanType::DnsName(name.clone().try_into()?),
        });
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if args.controller {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (OffsetDateTime::now_utc() - HOLDS_SINCE, holds.until);
    let pair = KeyPair::generate()?;
    Ok((params.signed_by(&pair, &issuer)?, pair))
}

/// What the user is told.
fn told(args: &CertsIssueArgs, grants: &NodeGrants, holds: Holds, cert: &Path, key: &Path) -> String {
    let mut may = format!("it may register {grants}");
    if args.controller {
        may = format!("it may be a controller; {may}");
    }
    format!(
        "made {}: for --tls-cert of {}\nmade {}: its key, for --tls-key\n{may}; {holds}\n",
        cert.display(),
        grants.node(),
        key.display(),
    )
}

/// What of the authority stands in all that it signs.
fn authority(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let number = params.key_identifier(key);
    let number: String = number.iter().take(KEY_NUMBER_BYTES).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = common_name(&format!("{AUTHORITY} {number}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut all = DistinguishedName::new();
    all.push(DnType::CommonName, name);
    all
}

fn holds_for(params: &mut CertificateParams, days: u32) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - HOLDS_SINCE;
    params.not_after = now + days_long(days);
}

fn days_long(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * 24 * 3600)
}

/// A time that is too long for that is a longer one than any here.
fn to_time(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

/// Makes the folder, or checks that nobody else can enter it.
fn private_folder(dir: &Path) -> Result<(), CertsError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(dir, "the folder cannot be made")(error)),
    }
    let folder = std::fs::metadata(dir).map_err(failed(dir, "cannot be looked at"))?;
    if !folder.is_dir() {
        return Err(failed(dir, "cannot be used")(io::ErrorKind::NotADirectory.into()));
    }
    match folder.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(CertsError::OpenToOthers { path: dir.to_owned(), mode }),
        _ => Ok(()),
    }
}

fn is_there(path: &Path) -> Result<bool, CertsError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(path, "cannot be looked at")(error)),
    }
}

/// Whether a file that is there is replaced.
#[derive(Clone, Copy)]
enum Replace {
    Never,
    Whole,
}

/// Writes a file beside its place, and then puts it there as a whole.
fn put(path: &Path, content: &[u8], mode: u32, replace: Replace) -> Result<(), CertsError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || {
        // What a run that was ended has left.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        match replace {
            Replace::Whole => std::fs::rename(&new, path)?,
            // A link is not made over a file that came meanwhile.
            Replace::Never => {
                std::fs::hard_link(&new, path)?;
                std::fs::remove_file(&new)?;
            }
        }
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(failed(path, "cannot be written"))
}

fn failed(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> CertsError + use<> {
    let path = path.to_owned();
    move |source| CertsError::Io { path, what, source }
}

#[cfg(test)]
#[path = "certs_tests.rs"]
mod tests;
