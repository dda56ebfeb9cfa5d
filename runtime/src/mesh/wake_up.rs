//! What it takes on this machine to wake a thread on another processor.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

/// So often it is measured, there and back.
const TRIPS: usize = 16;

/// What it takes from a write to a unix socket until who waits for it on another processor has read it: the lower quartile of some, since
/// a machine that is busy makes them longer. The thread that asks stays on one processor.
pub(super) fn wake_up() -> io::Result<Duration> {
    let (mut near, mut far) = UnixStream::pair()?;
    let [own, other] = two_processors();
    stay_on(own);
    let echo = move || -> io::Result<()> {
        stay_on(other);
        let mut byte = [0];
        while far.read(&mut byte)? > 0 {
            far.write_all(&byte)?;
        }
        Ok(())
    };
    let echo = thread::Builder::new().name("daffi-wake-up".to_owned()).spawn(echo)?;
    let mut trips = Vec::with_capacity(TRIPS);
    let measured = (0..TRIPS).try_for_each(|_| {
        let began = Instant::now();
        near.write_all(&[0])?;
        near.read_exact(&mut [0])?;
        trips.push(began.elapsed());
        Ok(())
    });
    drop(near);
    let _ = echo.join();
    trips.sort_unstable();
    let quartile = trips.get(TRIPS / 4).copied().unwrap_or_default();
    measured.map(|()| quartile / 2)
}

/// Two processors of those that this thread may have, where the system tells: threads on the same one do not wake a processor when they
/// wake each other.
#[cfg(target_os = "linux")]
fn two_processors() -> [Option<usize>; 2] {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let Ok(all) = sched_getaffinity(None) else { return [None; 2] };
    let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| all.is_set(*processor));
    [processors.next(), processors.next()]
}

/// Keeps this thread on that one.
#[cfg(target_os = "linux")]
fn stay_on(processor: Option<usize>) {
    let mut one = rustix::thread::CpuSet::new();
    if let Some(processor) = processor {
        one.set(processor);
        // Where it may not, what is measured is a little less.
        let _ = rustix::thread::sched_setaffinity(None, &one);
    }
}

#[cfg(not(target_os = "linux"))]
fn two_processors() -> [Option<usize>; 2] {
    [None; 2]
}

#[cfg(not(target_os = "linux"))]
fn stay_on(_: Option<usize>) {}
