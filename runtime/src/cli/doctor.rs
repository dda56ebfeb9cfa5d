//! `daffi-runtime doctor`: what this machine allows, what was chosen, and how to get more.
//!
//! It changes nothing. What cannot be found out is said to be unknown; only a machine on which no engine can be set up
//! is an error.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::config::units::ByteSize;
use crate::exit::{self, Failure};
use crate::guest::engine::{EngineConfig, EngineReport, Engines};
use crate::net::endpoint::{Endpoint, Surroundings, check_private_folder};

/// The target that guests are built for.
const GUEST_TARGET: &str = "wasm32-wasip2";

/// All that is looked at.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Findings {
    version: &'static str,
    processors: Option<usize>,
    engine: EngineReport,
    open_files: Option<u64>,
    socket: Socket,
    toolchain: Toolchain,
}

#[derive(Serialize)]
struct Socket {
    path: Option<PathBuf>,
    state: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Toolchain {
    rustc: Option<String>,
    has_guest_target: bool,
    /// The compiler for guests that `guests/toolchain.sh` has unpacked.
    unpacked: Option<PathBuf>,
    advice: Option<String>,
}

/// Looks around, and tells.
///
/// # Errors
/// When not even an engine can be set up.
pub fn examine(json: bool) -> Result<String, Failure> {
    let engines = Engines::new(EngineConfig::default()).map_err(|error| Failure::new(exit::FAILED, error))?;
    let findings = Findings {
        version: env!("CARGO_PKG_VERSION"),
        processors: std::thread::available_parallelism().ok().map(usize::from),
        engine: engines.report(),
        open_files: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
        socket: socket(&Surroundings::of_this_process()),
        toolchain: toolchain(),
    };
    if json {
        let text = serde_json::to_string_pretty(&findings);
        return text.map(|text| text + "\n").map_err(|error| Failure::new(exit::FAILED, error));
    }
    Ok(as_page(&findings))
}

fn socket(around: &Surroundings) -> Socket {
    let (path, private_folder) = match Endpoint::default_socket(around) {
        Ok(Endpoint::Unix { path, private_folder }) => (path, private_folder),
        Ok(endpoint) => return Socket { path: None, state: endpoint.to_string() },
        Err(error) => return Socket { path: None, state: error.to_string() },
    };
    let state = socket_state(&path, private_folder, around.uid);
    Socket { path: Some(path), state }
}

fn socket_state(path: &Path, private_folder: bool, uid: u32) -> String {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if private_folder {
        match check_private_folder(folder, uid) {
            Ok(true) => {}
            Ok(false) => return "free: the first controller makes it".to_owned(),
            Err(error) => return error.to_string(),
        }
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => "a controller listens".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "free: the first controller makes it".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "left by a controller that has ended: the next one replaces it".to_owned()
        }
        Err(error) => format!("cannot be reached: {error}"),
    }
}

/// Only needed to build guests in Rust; a runtime runs without.
fn toolchain() -> Toolchain {
    let ask = |flag: &[&str]| {
        let output = Command::new("rustc").args(flag).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let rustc = ask(&["--version"]);
    let target = |sysroot: &str| Path::new(sysroot).join("lib/rustlib").join(GUEST_TARGET).is_dir();
    let has_guest_target = ask(&["--print", "sysroot"]).is_some_and(|sysroot| target(&sysroot));
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let unpacked =
        folder("WASIP2_DIR").or_else(|| cache().map(|cache| cache.join("rust-wasip2"))).and_then(compiler_in);
    let advice = match (&rustc, has_guest_target) {
        (_, false) if unpacked.is_some() => None, // `make` and `guests/build.sh` use it
        (None, _) => Some("to build guests in Rust, install Rust with rustup".to_owned()),
        (Some(_), false) => Some(format!(
            "to build guests in Rust: `rustup target add {GUEST_TARGET}` (in this project `make` does it)"
        )),
        (Some(_), true) => None,
    };
    Toolchain { rustc, has_guest_target, unpacked, advice }
}

/// The compiler of a folder that `guests/toolchain.sh` has unpacked to the end.
fn compiler_in(folder: PathBuf) -> Option<PathBuf> {
    let rustc = folder.join("bin/rustc");
    (folder.join(".done").exists() && rustc.exists()).then_some(rustc)
}

fn as_page(findings: &Findings) -> String {
    let mut page = Page::default();
    let Findings { engine, socket, toolchain, .. } = findings;
    let machine = &engine.machine;
    page.heading("machine");
    page.line("processors", findings.processors.map_or("unknown".to_owned(), |count| count.to_string()));
    page.line("memory", machine.memory_bytes.map_or("unknown".to_owned(), size));
    page.line("address space (ulimit -v)", machine.address_space_bytes.map_or("unlimited".to_owned(), size));
    page.line("mappings (vm.max_map_count)", machine.max_map_count.map_or("unknown".to_owned(), |n| n.to_string()));
    let overcommit = match machine.overcommit_memory {
        Some(2) => "2: reservations count as use",
        Some(1) => "1: reservations are free",
        Some(_) => "0: reservations are free, within reason",
        None => "unknown",
    };
    page.line("overcommit (vm.overcommit_memory)", overcommit);
    page.line("open files (ulimit -Hn)", findings.open_files.map_or("unlimited".to_owned(), |n| n.to_string()));
    page.heading("instances");
    page.line("allocation", if engine.pooling { "from a pool" } else { "on demand" });
    page.line("why", &engine.reason);
    page.line("most at once, all modules together", engine.max_instances.to_string());
    page.line("address space for each memory", size(engine.memory_reservation_bytes));
    page.line("memory kept for the next instance", size(engine.keep_resident_bytes));
    page.line("wasm stack of a call", size(engine.stack_bytes));
    page.heading("socket");
    page.line("default", socket.path.as_ref().map_or("none".to_owned(), |path| path.display().to_string()));
    page.line("state", &socket.state);
    page.heading("toolchain for guests in Rust");
    page.line("rustc", toolchain.rustc.as_deref().unwrap_or("not found"));
    let target = match (toolchain.has_guest_target, &toolchain.unpacked) {
        (true, _) => "installed".to_owned(),
        (false, Some(rustc)) => format!("with {}, which `make` uses", rustc.display()),
        (false, None) => "not installed".to_owned(),
    };
    page.line(GUEST_TARGET, target);
    let advice: Vec<&String> = engine.advice.iter().chain(&toolchain.advice).collect();
    if !advice.is_empty() {
        page.heading("how to get more");
        for sentence in advice {
            page.text.push_str(&format!("  {sentence}\n"));
        }
    }
    page.text
}

fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    match usize::try_from(bytes) {
        // Whole units are rare for what a machine has.
        _ if bytes >= 10 * GIB => format!("{} GiB", bytes / GIB),
        Ok(bytes) => ByteSize(bytes).to_string(),
        Err(_) => format!("{bytes} bytes"),
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn heading(&mut self, heading: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{heading}");
    }

    fn line(&mut self, what: &str, is: impl AsRef<str>) {
        let _ = writeln!(self.text, "  {what:34} {}", is.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_socket_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.sock");
        assert!(socket_state(&path, false, 0).starts_with("free"));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(socket_state(&path, false, 0), "a controller listens");
        drop(listener);
        assert!(socket_state(&path, false, 0).starts_with("left by"));
    }

    #[test]
    fn an_unpacked_toolchain_counts_when_it_is_there_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        std::fs::create_dir(path.join("bin")).unwrap();
        std::fs::write(path.join("bin/rustc"), "").unwrap();
        assert_eq!(compiler_in(path.clone()), None);
        std::fs::write(path.join(".done"), "").unwrap();
        assert_eq!(compiler_in(path.clone()), Some(path.join("bin/rustc")));
    }

    #[test]
    fn the_page_and_the_json_have_all_that_an_operator_looks_for() {
        let page = examine(false).unwrap();
        for word in ["vm.max_map_count", "memory", "controller.sock", GUEST_TARGET, "allocation"] {
            assert!(page.contains(word), "{word} is missing in {page}");
        }
        let json: serde_json::Value = serde_json::from_str(&examine(true).unwrap()).unwrap();
        assert!(json["engine"]["machine"].is_object() && json["socket"]["state"].is_string());
        let parts = [&json, &json["engine"], &json["engine"]["machine"], &json["socket"], &json["toolchain"]];
        let mut keys = parts.iter().flat_map(|part| part.as_object().unwrap().keys());
        assert!(keys.all(|key| !key.contains('_')), "as in all other JSON: {json}");
    }
}
