//! Who is on the mesh, and waiting for them.

use std::time::Duration;

use crate::CallError;
use crate::background::{Wait, sealed};
use crate::bindings::daffi::runtime::mesh as host;
use crate::bindings::wasi::io::poll::Pollable;

pub use host::{CallbackInfo, MemberEvent, ProcessInfo, SelfInfo};

/// Who am I?
pub fn whoami() -> SelfInfo {
    host::whoami()
}

/// Waits until a process of this name is on the mesh; it may have left again when this returns.
///
/// Errors: `deadline-exceeded` after the timeout, `bad-arguments` for a name that no process can have.
pub fn wait_process(name: &str, timeout: Duration) -> Result<(), CallError> {
    host::wait_process(name, milliseconds(timeout))
}

/// Waits until some process other than this one has the callback.
///
/// Errors: `deadline-exceeded` after the timeout, `ambiguous` for a name that matches several callbacks.
pub fn wait_callback(callback: &str, timeout: Duration) -> Result<(), CallError> {
    host::wait_callback(callback, milliseconds(timeout))
}

/// The processes that this node knows of now, this one included, by name.
pub fn processes() -> Vec<ProcessInfo> {
    host::processes()
}

/// The callbacks that this node knows of now, those of this process included, by name.
pub fn callbacks() -> Vec<CallbackInfo> {
    host::callbacks()
}

/// Watches the processes, this one included: those that are there first, and then those that come, go and change.
///
/// ```no_run
/// use daffi::mesh::{self, MemberEvent};
/// use std::time::Duration;
///
/// let events = mesh::watch()?;
/// while let MemberEvent::Joined(process) = events.next(Duration::from_secs(5))? {
///     println!("{} is there", process.name);
/// }
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn watch() -> Result<Events, CallError> {
    Ok(Events(host::watch()?))
}

/// The processes as they come and go. Dropping it ends the watch.
#[derive(Debug)]
pub struct Events(host::MemberEvents);

impl Events {
    /// The next event, if it is there.
    ///
    /// Errors: `overloaded` when too many events were not fetched in time: watch anew.
    pub fn try_next(&self) -> Result<Option<MemberEvent>, CallError> {
        self.0.try_next()
    }

    /// The next event, once it is there. Errors: also `deadline-exceeded` after the timeout; the watch goes on then.
    pub fn next(&self, timeout: Duration) -> Result<MemberEvent, CallError> {
        self.0.next(milliseconds(timeout))
    }
}

impl Wait for Events {}

impl sealed::Wait for Events {
    fn subscribe(&self) -> Option<Pollable> {
        Some(self.0.subscribe())
    }
}

/// Stops the whole runtime that this process lives in, with this exit code. Returns at once.
pub fn stop(code: u8) {
    host::stop(code);
}

/// The host counts in milliseconds: a part of one counts as a whole one, so that no timeout is too short. None at all stays
/// none, which the host refuses where it makes no sense.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_millisecond_counts_as_a_whole_one_and_nothing_as_nothing() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_nanos(1_000_001)), 2);
        assert_eq!(milliseconds(Duration::from_secs(30)), 30_000);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }
}
