//! The URL of a controller: parsing it, the default socket, and which addresses are allowed.
//!
//! Invariants: an [`Endpoint`] that exists is one that this version can listen on or dial; plain TCP off loopback
//! exists only where `--insecure` was said; the path of a unix socket is absolute and fits the kernel's address.
//! It opens nothing: see [`super::listener`] and [`super::dial`].

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

/// The longest path of a unix socket, in bytes: the kernel's 108 less the closing zero.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The default socket's file name in its folder.
const SOCKET_FILE: &str = "controller.sock";

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path`
    Unix {
        /// The absolute path.
        path: PathBuf,
        /// Whether the folder must be private (0700) and ours: so for the default socket. That of a socket that the user
        /// names others may look into, since the socket's own mode and the peer's uid guard it; see [`check_named_folder`].
        private_folder: bool,
    },
    /// `tcp://host:port`
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The port; 0 lets the system choose one, when listening.
        port: u16,
    },
    /// `tls://host:port`
    Tls {
        /// A name or an address, which the controller's certificate must have; IPv6 without brackets.
        host: String,
        /// As for TCP.
        port: u16,
    },
}

/// An endpoint was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No scheme.
    #[error("{url:?} is no URL of a controller: write {advice}")]
    NoScheme { url: String, advice: String },
    /// A scheme of a later version.
    #[error(
        "{url:?}: {scheme}:// is not supported by this version; use unix:///path on one machine, or tls://HOST:PORT"
    )]
    NotYet { url: String, scheme: &'static str },
    /// A scheme that nobody knows.
    #[error("{url:?}: unknown scheme {scheme:?}; the schemes are unix:///path, tcp://host:port and tls://host:port")]
    UnknownScheme { url: String, scheme: String },
    /// `unix://` without an absolute path.
    #[error("{url:?}: the path of a unix socket is absolute, with three slashes: unix:///run/me/controller.sock")]
    RelativePath { url: String },
    /// The kernel takes no such long path.
    #[error(
        "the socket path {} has {length} bytes, and {MAX_SOCKET_PATH_BYTES} are the most that the system takes; name a shorter one \
         with --listen and --connect, or in DAFFI_SOCKET", path.display()
    )]
    PathTooLong { path: PathBuf, length: usize },
    /// Not `host:port`.
    #[error("{url:?}: {why}; write {scheme}://127.0.0.1:8888")]
    BadAddress { url: String, scheme: &'static str, why: &'static str },
    /// Plain TCP that others could read.
    #[error(
        "{url:?} is not on this machine, and plain TCP is neither encrypted nor authenticated: whoever reaches the port can call \
         everything; use tls://, or say --insecure if the network is yours alone"
    )]
    Insecure { url: String },
    /// The folder of a socket cannot be trusted.
    #[error("the folder {} of the controller's socket {why}; {advice}", folder.display())]
    BadFolder { folder: PathBuf, why: String, advice: &'static str },
}

/// What defaults depend on; taken from the process's environment, or made up by a test.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// `$DAFFI_SOCKET`
    pub daffi_socket: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`
    pub xdg_runtime_dir: Option<OsString>,
    /// The folder for temporary files.
    pub temp_dir: PathBuf,
    /// Where compiled code is kept: `$XDG_CACHE_HOME/daffi`, else `~/.cache/daffi`.
    pub cache_dir: Option<PathBuf>,
    /// Who we are.
    pub uid: u32,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let cache_home = folder_in("XDG_CACHE_HOME").or_else(|| Some(folder_in("HOME")?.join(".cache")));
        Self {
            daffi_socket: std::env::var_os("DAFFI_SOCKET").filter(|value| !value.is_empty()),
            xdg_runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()),
            temp_dir: std::env::temp_dir(),
            cache_dir: cache_home.map(|home| home.join("daffi")),
            uid: rustix::process::getuid().as_raw(),
        }
    }
}

impl Surroundings {
    /// The folder of this user's sockets.
    pub fn socket_folder(&self) -> PathBuf {
        match &self.xdg_runtime_dir {
            Some(folder) => Path::new(folder).join("daffi"),
            None => self.temp_dir.join(format!("daffi-{}", self.uid)),
        }
    }
}

/// The folder that a variable names. One that is relative is none, as the XDG Base Directory specification says.
fn folder_in(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

impl Endpoint {
    /// Reads a URL. `insecure` allows plain TCP off loopback.
    ///
    /// # Errors
    /// [`EndpointError`] for a URL that this version cannot or must not use.
    pub fn parse(url: &str, insecure: bool) -> Result<Self, EndpointError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            let advice = if url.starts_with('/') {
                format!("unix://{url}")
            } else if url.contains(':') {
                format!("tcp://{url}")
            } else {
                "unix:///path/to/controller.sock or tcp://127.0.0.1:8888".to_owned()
            };
            return Err(EndpointError::NoScheme { url: url.to_owned(), advice });
        };
        match scheme {
            "unix" => {
                let path = PathBuf::from(rest);
                if !path.is_absolute() {
                    return Err(EndpointError::RelativePath { url: url.to_owned() });
                }
                Self::unix(path, false)
            }
            "tcp" => Self::tcp(url, rest, insecure),
            "tls" => {
                let (host, port) = host_and_port(url, "tls", rest)?;
                Ok(Self::Tls { host, port })
            }
            "nats" => Err(EndpointError::NotYet { url: url.to_owned(), scheme: "nats" }),
            _ => Err(EndpointError::UnknownScheme { url: url.to_owned(), scheme: scheme.to_owned() }),
        }
    }

    /// The default socket: `$DAFFI_SOCKET`, else one in `$XDG_RUNTIME_DIR`, else one in the temporary directory.
    ///
    /// # Errors
    /// [`EndpointError`] for a path that is too long, or a value of `$DAFFI_SOCKET` that is no absolute path.
    pub fn default_socket(around: &Surroundings) -> Result<Self, EndpointError> {
        let path = if let Some(path) = &around.daffi_socket {
            let path = PathBuf::from(path);
            match path.to_str().and_then(|text| text.strip_prefix("unix://")) {
                Some(rest) => PathBuf::from(rest),
                None => path,
            }
        } else {
            around.socket_folder().join(SOCKET_FILE)
        };
        if !path.is_absolute() {
            return Err(EndpointError::RelativePath { url: path.display().to_string() });
        }
        Self::unix(path, true)
    }

    /// A unix socket in a folder that must be private.
    ///
    /// # Errors
    /// [`EndpointError`] for a path that is too long.
    pub fn private(path: PathBuf) -> Result<Self, EndpointError> {
        Self::unix(path, true)
    }

    fn unix(path: PathBuf, private_folder: bool) -> Result<Self, EndpointError> {
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH_BYTES {
            return Err(EndpointError::PathTooLong { path, length });
        }
        Ok(Self::Unix { path, private_folder })
    }

    fn tcp(url: &str, rest: &str, insecure: bool) -> Result<Self, EndpointError> {
        let (host, port) = host_and_port(url, "tcp", rest)?;
        if !insecure && !is_loopback(&host) {
            return Err(EndpointError::Insecure { url: url.to_owned() });
        }
        Ok(Self::Tcp { host, port })
    }

    /// Whether it is one that the system chooses the port of, which only a listener can have.
    pub fn port_is_open(&self) -> bool {
        matches!(self, Self::Tcp { port: 0, .. } | Self::Tls { port: 0, .. })
    }

    /// Whether files of TLS are needed there.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

fn host_and_port(url: &str, scheme: &'static str, rest: &str) -> Result<(String, u16), EndpointError> {
    let bad = |why| EndpointError::BadAddress { url: url.to_owned(), scheme, why };
    let (host, port) = rest.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
    let port = port.parse().map_err(|_| bad("the port is no number from 0 to 65535"))?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').ok_or_else(|| bad("a bracket of the IPv6 address is missing"))?,
        None if host.contains(':') => return Err(bad("an IPv6 address stands in brackets")),
        None => host,
    };
    if host.is_empty() {
        return Err(bad("the host is missing"));
    }
    if host.contains(['/', '@', '?', '#']) {
        return Err(bad("there is more than a host and a port in it"));
    }
    Ok((host.to_owned(), port))
}

/// Whether the host is this machine for sure. Other names are not looked up: what they mean may change.
pub fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { path, .. } => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } => write_address(f, "tcp", host, *port),
            Self::Tls { host, port } => write_address(f, "tls", host, *port),
        }
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "{scheme}://[{host}]:{port}") } else { write!(f, "{scheme}://{host}:{port}") }
}

/// Checks that the folder of the default socket is a folder, ours, and closed to everybody else.
///
/// # Errors
/// [`EndpointError::BadFolder`] with what is wrong; a folder that is missing is reported by `Ok(false)`.
pub fn check_private_folder(folder: &Path, uid: u32) -> Result<bool, EndpointError> {
    let bad = |why: String, advice| EndpointError::BadFolder { folder: folder.to_owned(), why, advice };
    // lstat: a link that somebody else placed there must not be followed.
    let stat = match rustix::fs::lstat(folder) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(error) => {
            return Err(bad(format!("cannot be looked at: {error}"), "name another socket in DAFFI_SOCKET"));
        }
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(bad("is no folder".to_owned(), "remove it, or name another socket in DAFFI_SOCKET"));
    }
    if stat.st_uid != uid {
        return Err(bad(
            format!("belongs to uid {}, not to us (uid {uid})", stat.st_uid),
            "name a socket in a folder of your own in DAFFI_SOCKET",
        ));
    }
    let open_to_others = stat.st_mode & 0o077;
    if open_to_others != 0 {
        // Never of a folder that others may need, such as the one of all temporary files.
        let advice = if is_for_sockets(folder, uid) {
            "close it with `chmod 700`, or name a socket in a folder of your own in DAFFI_SOCKET"
        } else {
            "name a socket in a folder of its own in DAFFI_SOCKET"
        };
        return Err(bad(format!("is open to others (mode {:04o}, not 0700)", stat.st_mode & 0o7777), advice));
    }
    Ok(true)
}

/// Checks that the folder of a socket that the user named is there, and that not everybody can remove what is in it: who
/// can do that can put another socket in its place. A folder with the sticky bit, as that of all temporary files, keeps
/// what is ours; a group may have been given the folder on purpose.
///
/// # Errors
/// [`EndpointError::BadFolder`] with what is wrong.
pub fn check_named_folder(folder: &Path) -> Result<(), EndpointError> {
    let bad = |why: String, advice| EndpointError::BadFolder { folder: folder.to_owned(), why, advice };
    // Links are followed: whoever may exchange one may write to the folder that it is in, which is the user's choice.
    let stat = match rustix::fs::stat(folder) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => {
            return Err(bad("is not there".to_owned(), "make it first, or choose another address with --listen"));
        }
        Err(error) => return Err(bad(format!("cannot be looked at: {error}"), "choose a folder of your own")),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(bad("is no folder".to_owned(), "choose another"));
    }
    if stat.st_mode & 0o1002 == 0o0002 {
        return Err(bad(
            format!(
                "can be written to by everybody (mode {:04o}, without the sticky bit), who could put another socket there",
                stat.st_mode & 0o7777
            ),
            "close it with `chmod o-w`, or choose a folder of your own",
        ));
    }
    Ok(())
}

/// Whether the folder was made for the default socket, or is empty.
fn is_for_sockets(folder: &Path, uid: u32) -> bool {
    let own = |name: &std::ffi::OsStr| name == "daffi" || name == format!("daffi-{uid}").as_str();
    folder.file_name().is_some_and(own) || std::fs::read_dir(folder).is_ok_and(|mut all| all.next().is_none())
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
