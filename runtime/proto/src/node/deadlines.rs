//! When what is open is to be looked at.
//!
//! ```text
//!   line   ●──○──○──●──●──●   in the order in which it came, which is mostly that of the times
//!   apart  ●  ●               what is due before the end of the line
//! ```
//!
//! Nearly all of it ends long before its time, mostly in the order in which it began, and most times are as far ahead as each other. So
//! what ends stays in the line as over (○) until those before it are, or most of the line is.
//!
//! Invariants: a request has one time at most; the first and the last of the line are not over; the line has no more than [`SLACK`] and twice as
//! many entries as there are times.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use foldhash::HashMap;

use super::Request;

/// So many entries that are over are left in the line, however few others there are.
const SLACK: usize = 64;

/// A line of so few is begun anew by what is due before its end: one that is due much later than others would keep them all out.
const FEW: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    times: HashMap<Request, Duration>,
    line: VecDeque<(Duration, Request)>,
    apart: BTreeSet<(Duration, Request)>,
}

impl Deadlines {
    /// A request is due then, and not when it was said before.
    pub fn set(&mut self, at: Duration, request: Request) {
        self.remove(request);
        self.times.insert(request, at);
        let entry = (at, request);
        if self.line.back().is_none_or(|last| *last <= entry) {
            self.line.push_back(entry);
        } else if self.line.len() <= FEW {
            let line = std::mem::take(&mut self.line);
            self.apart.extend(line.into_iter().filter(|entry| self.times.get(&entry.1) == Some(&entry.0)));
            self.line.push_back(entry);
        } else {
            self.apart.insert(entry);
        }
    }

    /// A request is due no more.
    pub fn remove(&mut self, request: Request) {
        let Some(at) = self.times.remove(&request) else { return };
        self.apart.remove(&(at, request));
        while self.line.front().is_some_and(|entry| self.is_over(entry)) {
            self.line.pop_front();
        }
        while self.line.back().is_some_and(|entry| self.is_over(entry)) {
            self.line.pop_back();
        }
        if self.line.len() > 2 * self.times.len() + SLACK {
            let line = std::mem::take(&mut self.line);
            // One that was said to be over, and then to be due at the same time again, is there twice.
            let mut last = None;
            let is_new = |entry: &(Duration, Request)| !self.is_over(entry) && last.replace(*entry) != Some(*entry);
            self.line = line.into_iter().filter(is_new).collect();
        }
    }

    /// When the first one is due.
    pub fn first(&self) -> Option<Duration> {
        self.first_entry().map(|(at, _)| at)
    }

    /// The first one, if it is due by then; it is due no more. Of those that are due at one time, the order is that of the requests.
    pub fn take_due(&mut self, now: Duration) -> Option<Request> {
        let (_, request) = self.first_entry().filter(|(at, _)| *at <= now)?;
        self.remove(request);
        Some(request)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    fn first_entry(&self) -> Option<(Duration, Request)> {
        self.line.front().into_iter().chain(self.apart.first()).min().copied()
    }

    fn is_over(&self, (at, request): &(Duration, Request)) -> bool {
        self.times.get(request) != Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::CallKey;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn call(number: u64) -> Request {
        Request::Call(CallKey(number))
    }

    #[test]
    fn calls_that_end_in_any_order_leave_nothing_and_the_line_stays_short() {
        let mut deadlines = Deadlines::default();
        // One that lasts is before all others.
        deadlines.set(SECOND, call(0));
        for number in 1..100_000 {
            deadlines.set(SECOND * 30 + Duration::from_micros(number), call(number));
            if number > 256 {
                deadlines.remove(call(number - 256 + (number % 2) * 3));
            }
        }
        assert_eq!(deadlines.first(), Some(SECOND));
        assert!(deadlines.line.len() <= 2 * deadlines.len() + SLACK && deadlines.apart.is_empty());
        (0..100_000).for_each(|number| deadlines.remove(call(number)));
        assert_eq!((deadlines.len(), deadlines.line.len(), deadlines.first()), (0, 0, None));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64, u64),
        Remove(u64),
        Take(u64),
    }

    proptest! {
        #[test]
        fn it_is_as_a_sorted_set(steps in prop::collection::vec(prop_oneof![
            (0..40u64, 0..20u64).prop_map(|(at, number)| Step::Set(at, number)),
            (0..20u64).prop_map(Step::Remove),
            (0..40u64).prop_map(Step::Take),
        ], 0..400)) {
            let (mut deadlines, mut sorted) = (Deadlines::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Set(at, number) => {
                        sorted.retain(|(_, other)| *other != call(number));
                        sorted.insert((SECOND * at as u32, call(number)));
                        deadlines.set(SECOND * at as u32, call(number));
                    }
                    Step::Remove(number) => {
                        sorted.retain(|(_, other)| *other != call(number));
                        deadlines.remove(call(number));
                    }
                    Step::Take(now) => {
                        let now = SECOND * now as u32;
                        let due = sorted.first().copied().filter(|(at, _)| *at <= now);
                        due.map(|due| sorted.remove(&due));
                        prop_assert_eq!(deadlines.take_due(now), due.map(|(_, request)| request));
                    }
                }
                prop_assert_eq!((deadlines.len(), deadlines.first()), (sorted.len(), sorted.first().map(|(at, _)| *at)));
            }
        }
    }
}
