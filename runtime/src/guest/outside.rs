//! What of the host a module's guests see: its environment, folders and addresses, and nothing that is not here.
//!
//! Folders are read-only: wasmtime-wasi keeps paths below them, whatever links and `..` are in them, and refuses every
//! way to write; it has no place where a bound on what is written could be kept, so writing is not offered.
//! Invariant: a folder or a connection may be a file descriptor of the runtime, so an instance of a module that has any
//! holds [`MAX_OUTSIDE_HANDLES`] handles of the host at most.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

use super::network::Network;

/// Most handles of the host in an instance that may open files or connections.
pub const MAX_OUTSIDE_HANDLES: usize = 256;

/// Most folders of one module.
pub const MAX_PREOPENS: usize = 16;

/// A folder of the host that guests may read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(try_from = "PreopenTable", rename_all = "kebab-case")]
pub struct Preopen {
    /// The folder.
    pub host: PathBuf,
    /// Its path for the guests.
    pub guest: String,
}

impl FromStr for Preopen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, guest) = text.split_once("::").ok_or("write HOST::GUEST, such as data::/data")?;
        let preopen = Self { host: host.into(), guest: guest.to_owned() };
        preopen.check().map(|()| preopen)
    }
}

impl Preopen {
    /// Whether it is one that can be meant.
    ///
    /// # Errors
    /// What is wrong with it, and what to write.
    fn check(&self) -> Result<(), String> {
        if self.host.as_os_str().is_empty() {
            return Err("a preopened folder without a path of the host, such as data in data::/data".to_owned());
        }
        let is_name = |part: &str| !matches!(part, "" | "." | "..");
        let is_path = |path: &str| path.is_empty() || path.split('/').all(is_name);
        if self.guest.strip_prefix('/').is_some_and(is_path) {
            return Ok(());
        }
        Err(format!("the path for guests is {:?}: write an absolute one without `..`, such as /data", self.guest))
    }
}

/// As in the config file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a folder: { host = \"PATH\", guest = \"/PATH\" }")]
struct PreopenTable {
    host: PathBuf,
    guest: String,
}

impl TryFrom<PreopenTable> for Preopen {
    type Error = String;

    fn try_from(PreopenTable { host, guest }: PreopenTable) -> Result<Self, String> {
        let preopen = Self { host, guest };
        preopen.check().map(|()| preopen)
    }
}

/// What of the host one module's guests see.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    /// The environment, all of it.
    pub env: Vec<(String, String)>,
    /// The folders that they may read.
    pub preopens: Vec<Preopen>,
    /// The addresses that they may connect to.
    pub network: Network,
}

impl Outside {
    /// How many handles of the host an instance may hold.
    pub fn handles(&self, limit: usize) -> usize {
        match self.opens_files() {
            true => limit.min(MAX_OUTSIDE_HANDLES),
            false => limit,
        }
    }

    /// Whether guests may make the runtime open files or connections.
    pub fn opens_files(&self) -> bool {
        !self.preopens.is_empty() || !self.network.is_empty()
    }

    /// Gives it to a guest. A folder that has gone since the start is not there for him, and is logged.
    pub(super) fn give(&self, wasi: &mut WasiCtxBuilder) {
        wasi.envs(&self.env);
        for Preopen { host, guest } in &self.preopens {
            if let Err(error) = wasi.preopened_dir(host, guest, FsPerms::ReadOnly) {
                tracing::error!(folder = %host.display(), %error, "a new instance goes without its preopened folder");
            }
        }
        wasi.allow_tcp(!self.network.is_empty());
        wasi.allow_udp(false);
        wasi.allow_ip_name_lookup(self.network.has_names());
        let network = self.network.clone();
        wasi.socket_addr_check(move |address, used_for| {
            let network = network.clone();
            Box::pin(async move {
                match used_for {
                    SocketAddrUse::TcpConnect => network.permits(address).await,
                    // What a connection is made from, left to the system. A guest does not listen.
                    SocketAddrUse::TcpBind => address.ip().is_unspecified() && address.port() == 0,
                    _ => false,
                }
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_with_its_path_for_guests() {
        let preopen = |host: &str, guest: &str| Ok(Preopen { host: host.into(), guest: guest.to_owned() });
        assert_eq!("data::/data".parse(), preopen("data", "/data"));
        assert_eq!("data::/".parse(), preopen("data", "/"));
        for text in ["", "data", "::/data", "data::", "data::x", "data::/../x", "data::/x/", "data::/./x"] {
            assert!(text.parse::<Preopen>().unwrap_err().contains("/data"), "{text}");
        }
    }

    #[test]
    fn only_who_may_open_files_is_held_to_few_handles() {
        let mut outside = Outside::default();
        assert_eq!(outside.handles(10_000), 10_000);
        outside.preopens.push("data::/data".parse().unwrap());
        assert_eq!((outside.handles(10_000), outside.handles(10)), (MAX_OUTSIDE_HANDLES, 10));
    }
}
