//! What this machine allows this process.
//!
//! Some machines forbid what others give away: this file finds out before an engine is built, so that [`super::plan`]
//! can say why in words that an operator can act on. What cannot be found out limits nothing.

use std::path::Path;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

/// What the machine allows this process. `None`: unlimited, or not to be found out here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Machine {
    /// `ulimit -v`, in bytes.
    pub address_space_bytes: Option<u64>,
    /// `vm.max_map_count`: mappings of a process.
    pub max_map_count: Option<u64>,
    /// `vm.overcommit_memory`: 0 and 1 let reservations be, 2 counts them.
    pub overcommit_memory: Option<u64>,
    /// Memory of the machine or of this process's control group, whichever is less, in bytes.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Looks at this process's limits and at `/proc` and the control group, where there are any.
    pub fn probe() -> Self {
        let number = |path: &str| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
        Self {
            address_space_bytes: getrlimit(Resource::As).current,
            max_map_count: number("/proc/sys/vm/max_map_count"),
            overcommit_memory: number("/proc/sys/vm/overcommit_memory"),
            memory_bytes: [total_memory(), group_memory()].into_iter().flatten().min(),
        }
    }
}

/// `MemTotal` of `/proc/meminfo`.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The least `memory.max` on the way from this process's control group (version 2) to the root.
fn group_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(group.trim_start_matches('/'))
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}
