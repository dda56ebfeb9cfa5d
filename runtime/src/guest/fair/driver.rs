//! How much of the network's thread guests may take, as plain state machines: of the driver's time those of each tenant
//! ([`DriverTime`]), and beside the driver all that wait there ([`VisitTime`]), one alone more than several ([`Alone`]).
//!
//! A short call runs at the driver's desk ([`super::super::pool`]), which has one thread for everybody. Where guests of
//! several tenants run there, each has its weight's part of every window; what goes beyond it runs in its turn on the
//! guests' threads. A tenant alone has all of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time over which a tenant's part is counted.
const WINDOW: Duration = Duration::from_millis(10);

/// Whoever ran here within this time is one of those who share.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The guests of one tenant here.
#[derive(Debug)]
struct Guest {
    weight: u64,
    /// When it last ran here.
    last: Option<Duration>,
    window: u128,
    used: Duration,
    /// Of this window.
    part: Duration,
}

/// What all tenants used.
#[derive(Debug, Default)]
pub(super) struct DriverTime(Vec<Guest>);

impl DriverTime {
    /// The next tenant.
    pub fn add(&mut self, weight: u32) {
        let guest = Guest { weight: weight.max(1).into(), last: None, window: 0, used: WINDOW, part: WINDOW };
        self.0.push(guest);
    }

    /// The tenant of this number used so long. Until when it has no time here, where it has used its part.
    pub fn used(&mut self, number: usize, time: Duration, now: Duration) -> Option<Duration> {
        let window = now.as_nanos() / WINDOW.as_nanos();
        if self.0.get(number)?.window != window {
            let part = self.part(number, now);
            let guest = self.0.get_mut(number)?;
            (guest.window, guest.used, guest.part) = (window, Duration::ZERO, part);
        }
        let guest = self.0.get_mut(number)?;
        guest.last = Some(now);
        guest.used += time;
        let end = Duration::from_nanos(u64::try_from((window + 1) * WINDOW.as_nanos()).unwrap_or(u64::MAX));
        (guest.used >= guest.part && guest.part < WINDOW).then_some(end)
    }

    /// The part of a window that a tenant has among those who ran here a short time ago.
    fn part(&self, number: usize, now: Duration) -> Duration {
        let is_here = |guest: &Guest| guest.last.is_some_and(|last| last + REMEMBERED >= now);
        let others = self.0.iter().enumerate().filter(|(other, guest)| *other != number && is_here(guest));
        let others: u64 = others.map(|(_, guest)| guest.weight).sum();
        let own = self.0.get(number).map_or(1, |guest| guest.weight);
        let nanos = WINDOW.as_nanos().saturating_mul(own.into()) / u128::from(own + others);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// For so long guests that wait in the network's thread may have it at a stretch, beyond the half of the time that is theirs.
const VISIT_BURST: Duration = Duration::from_millis(1);

/// What guests took of the network's thread that go on there ([`super::super::threads`]): half of the time at most, all together.
/// What is beyond it is done by the guests' threads, so that a frame waits no longer for many guests than for a long one, and many
/// cores are used where there are many.
#[derive(Debug, Default)]
pub(super) struct VisitTime {
    /// When others will have had the thread for as long as guests had, in nanoseconds.
    even_at: AtomicU64,
}

impl VisitTime {
    /// Whether there is time left.
    pub fn is_left(&self, now: Duration) -> bool {
        u128::from(self.even_at.load(Ordering::Relaxed)) < (now + VISIT_BURST).as_nanos()
    }

    /// A guest took so long until now. Told by the one thread that this is about. One that is alone has seven eighths of the time rather than
    /// half: it may never wait.
    pub fn took(&self, time: Duration, now: Duration, is_alone: bool) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let from = self.even_at.load(Ordering::Relaxed).max(nanos(now.saturating_sub(time)));
        let even = if is_alone { time + time / 7 } else { 2 * time };
        self.even_at.store(from.saturating_add(nanos(even)), Ordering::Relaxed);
    }
}

/// Who runs guests, one after the other.
#[derive(Debug, Default)]
pub(super) struct Alone {
    last: AtomicU64,
    /// Since when, in nanoseconds.
    since: AtomicU64,
}

impl Alone {
    /// This one runs guests now.
    pub fn runs(&self, who: u64, now: Duration) {
        if self.last.swap(who, Ordering::Relaxed) != who {
            self.since.store(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Whether nobody else did for as long as a tenant's part is counted over.
    pub fn is(&self, who: u64, now: Duration) -> bool {
        let since = Duration::from_nanos(self.since.load(Ordering::Relaxed));
        self.last.load(Ordering::Relaxed) == who && since + WINDOW <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_tenant_alone_has_all_the_time_and_one_of_several_its_weights_part_of_each_window() {
        let mut time = DriverTime::default();
        time.add(100);
        time.add(300);
        for step in 0..40 {
            assert_eq!(time.used(0, MS, step * MS), None);
        }
        assert_eq!(time.used(1, MS, 40 * MS), None);
        // From the next window on there are two.
        assert_eq!(time.used(0, 2 * MS, 50 * MS), None);
        assert_eq!(time.used(0, MS, 52 * MS), Some(60 * MS));
        assert_eq!(time.used(1, 7 * MS, 53 * MS), None);
        assert_eq!(time.used(1, MS, 59 * MS), Some(60 * MS));
        assert_eq!(time.used(0, MS, 60 * MS), None);
        // And a second after the other was last here there is one.
        assert_eq!(time.used(0, 9 * MS, 1070 * MS), None);
        assert_eq!(time.used(0, 9 * MS, 1075 * MS), None);
    }

    #[test]
    fn who_runs_guests_is_alone_when_nobody_else_did_for_a_while() {
        let alone = Alone::default();
        alone.runs(1, 100 * MS);
        assert!(!alone.is(1, 109 * MS) && alone.is(1, 110 * MS));
        alone.runs(1, 111 * MS);
        assert!(alone.is(1, 111 * MS) && !alone.is(2, 111 * MS));
        alone.runs(2, 112 * MS);
        alone.runs(1, 113 * MS);
        assert!(!alone.is(1, 122 * MS) && alone.is(1, 123 * MS));
    }

    #[test]
    fn guests_that_wait_have_half_of_the_time_together_and_what_took_long_is_made_up_for() {
        let time = VisitTime::default();
        assert!(time.is_left(MS));
        time.took(MS / 2, 10 * MS, false);
        assert!(time.is_left(10 * MS));
        time.took(MS / 2, 10 * MS + MS / 2, false);
        assert!(!time.is_left(10 * MS + MS / 2) && time.is_left(11 * MS));
        time.took(5 * MS, 20 * MS, false);
        assert!(!time.is_left(24 * MS) && time.is_left(25 * MS));
        time.took(MS, 40 * MS, false);
        assert!(!time.is_left(40 * MS) && time.is_left(41 * MS));
        // One alone that never waits is sent away too, and later.
        time.took(6 * MS, 60 * MS, true);
        assert!(time.is_left(60 * MS));
        time.took(2 * MS, 62 * MS, true);
        assert!(!time.is_left(62 * MS) && time.is_left(63 * MS));
    }
}
