//! Where a task is in its plan: which tick is next, and which ones have come.
//!
//! The next tick of `every` is kept as a time of the monotonic clock and moves by whole intervals only, so that there
//! is no drift; the others are kept in UTC. See the module above for what jumps of UTC do.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::MAX_BACK_JUMP;
use super::cron::Cron;
use super::plan::Plan;
use super::time::{Clock, Utc};

/// Most ticks of a cron expression that are counted one by one when they passed unseen.
const MAX_COUNTED_CRON_TICKS: u64 = 100;

/// Monotonic time in nanoseconds since the node's start; before it, for ticks that are older than the node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Mono(i128);

impl Mono {
    pub(super) fn new(time: Duration) -> Self {
        Self(nanos(time))
    }

    /// As a time to come back at.
    pub(super) fn as_duration(self) -> Duration {
        u64::try_from(self.0.max(0)).map_or(Duration::MAX, Duration::from_nanos)
    }
}

/// A `Duration` has fewer than 2^64 seconds, so that this fits.
fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

/// When to look at a task again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Wake {
    Mono(Mono),
    Utc(Utc),
}

/// The tick to act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Due {
    /// Its time.
    pub(super) tick: Utc,
    /// How long ago that was.
    pub(super) late: Duration,
    /// Ticks before it that passed unseen.
    pub(super) passed: u64,
}

/// See the module. Fits the [`Plan`] that it was made from.
#[derive(Clone, Debug)]
pub(super) enum Ticks {
    Every { every: Duration, next: Mono },
    At { times: Arc<[Utc]>, done: usize },
    Cron { cron: Cron, next: Option<Utc>, planned: Utc },
}

/// [`Ticks`] as they are kept over a restart, without what the plan says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum SavedTicks {
    Every { next: Utc },
    At { done: usize },
    Cron { next: Option<Utc>, planned: Utc },
}

impl SavedTicks {
    /// Whether they may be of this plan.
    pub(super) fn fits(&self, plan: &Plan) -> bool {
        matches!(
            (self, plan),
            (Self::Every { .. }, Plan::Every(_)) | (Self::At { .. }, Plan::At(_)) | (Self::Cron { .. }, Plan::Cron(_))
        )
    }
}

impl Ticks {
    pub(super) fn new(plan: &Plan, clock: Clock) -> Self {
        match plan {
            Plan::Every(every) => Self::Every { every: *every, next: Mono(nanos(clock.mono) + nanos(*every)) },
            Plan::At(times) => Self::At { times: times.clone(), done: 0 },
            Plan::Cron(cron) => Self::Cron { cron: cron.clone(), next: cron.after(clock.utc), planned: clock.utc },
        }
    }

    /// When there is something to do; none when no tick is left.
    pub(super) fn wake(&self) -> Option<Wake> {
        match self {
            Self::Every { next, .. } => Some(Wake::Mono(*next)),
            Self::At { times, done } => times.get(*done).copied().map(Wake::Utc),
            Self::Cron { next, .. } => next.map(Wake::Utc),
        }
    }

    /// The next tick, as far as the clock can tell.
    pub(super) fn next(&self, clock: Clock) -> Option<Utc> {
        match self.wake()? {
            Wake::Mono(next) => {
                let ahead = next.0 - nanos(clock.mono);
                let distance = Mono(ahead.abs()).as_duration();
                Some(if ahead < 0 { clock.utc.minus(distance) } else { clock.utc.plus(distance) })
            }
            Wake::Utc(next) => Some(next),
        }
    }

    /// The latest tick that has come, if any has; the ones before it are counted and gone.
    pub(super) fn take(&mut self, clock: Clock) -> Option<Due> {
        match self {
            Self::Every { every, next } => {
                let (late, every) = (nanos(clock.mono) - next.0, nanos(*every).max(1));
                if late < 0 {
                    return None;
                }
                next.0 += (late / every + 1) * every;
                let passed = u64::try_from(late / every).unwrap_or(u64::MAX);
                let late = Mono(late % every).as_duration();
                Some(Due { tick: clock.utc.minus(late), late, passed })
            }
            Self::At { times, done } => {
                let come = times.partition_point(|time| *time <= clock.utc);
                let tick = *times.get(*done..come)?.last()?;
                let passed = (come - *done - 1) as u64;
                *done = come;
                Some(Due { tick, late: clock.utc.since(tick), passed })
            }
            Self::Cron { cron, next, planned } => {
                let first = next.filter(|next| *next <= clock.utc)?;
                let (tick, passed) = latest(cron, first, clock.utc);
                *next = cron.after(clock.utc);
                *planned = clock.utc;
                Some(Due { tick, late: clock.utc.since(tick), passed })
            }
        }
    }

    /// UTC went back: a cron expression counts anew where the jump was too long to wait out.
    pub(super) fn utc_went_back(&mut self, now: Utc) {
        if let Self::Cron { cron, next, planned } = self
            && planned.since(now) > MAX_BACK_JUMP
        {
            *next = cron.after(now);
            *planned = now;
        }
    }

    pub(super) fn save(&self, clock: Clock) -> SavedTicks {
        match self {
            Self::Every { .. } => SavedTicks::Every { next: self.next(clock).unwrap_or(clock.utc) },
            Self::At { done, .. } => SavedTicks::At { done: *done },
            Self::Cron { next, planned, .. } => SavedTicks::Cron { next: *next, planned: *planned },
        }
    }

    /// The ticks of a plan as they were saved, maybe by another run of the node: what has come meanwhile is then due.
    /// None where the two do not fit.
    pub(super) fn restore(plan: &Plan, saved: SavedTicks, clock: Clock) -> Option<Self> {
        let mut ticks = match (plan, saved) {
            (Plan::Every(every), SavedTicks::Every { next }) => {
                let (ahead, behind) = (nanos(next.since(clock.utc)), nanos(clock.utc.since(next)));
                // A tick that is further away than an interval tells that UTC was set back: only its phase is of use.
                let interval = nanos(*every).max(1);
                let ahead = if ahead > interval { (ahead - 1) % interval + 1 } else { ahead };
                Self::Every { every: *every, next: Mono(nanos(clock.mono) + ahead - behind) }
            }
            (Plan::At(times), SavedTicks::At { done }) => Self::At { times: times.clone(), done },
            (Plan::Cron(cron), SavedTicks::Cron { next, planned }) => Self::Cron { cron: cron.clone(), next, planned },
            _ => return None,
        };
        ticks.utc_went_back(clock.utc);
        Some(ticks)
    }
}

/// The latest tick from `first` up to `now`, and how many are before it; counted as far as the bound.
fn latest(cron: &Cron, first: Utc, now: Utc) -> (Utc, u64) {
    let (mut tick, mut passed) = (first, 0);
    while passed < MAX_COUNTED_CRON_TICKS {
        match cron.after(tick).filter(|next| *next <= now) {
            Some(next) => (tick, passed) = (next, passed + 1),
            None => return (tick, passed),
        }
    }
    (cron.up_to(now).unwrap_or(tick), passed)
}
