//! BG between two runtimes: a guest without async keeps many calls on the way and waits for the oldest.

use std::path::Path;

use crate::guests::{Runtime, job, timed};
use crate::report::{Case, Sample};

/// Measures `case` between two runtimes of their own.
pub fn measure(case: &Case, folder: &Path) -> anyhow::Result<Sample> {
    let socket = folder.join("mesh.sock");
    let server = Runtime::start(&socket, &["--controller", "--name", "server"], "bench-server", &[])?;
    let mut env = job(case);
    env.extend(["MODIFIER=bg".to_owned(), "RECEIVERS=server".to_owned()]);
    let caller = Runtime::start(&socket, &["--name", "caller"], "bench-caller-dynamic", &env)?;
    timed(caller, &[server])
}
