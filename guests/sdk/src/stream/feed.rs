//! What writes the items of a guest's iterators: to one process, or the same to several.
//!
//! Nothing here waits but [`Feed::sleep`], and that for whatever the caller reads, too: so reading and writing go on in
//! one loop, `if !feed.turn() { feed.sleep(…) }`, and neither full window holds up the other.
//!
//! ```text
//! iterator ──pull──> pulled (at most `ahead`) ──lane "a"──> outbound
//!                                             └─lane "b"──> outbound
//! ```
//!
//! An item is pulled when a lane that has had all others has room, and stays until every open lane has had it. Where `ahead`
//! items wait for the slowest lane, none is pulled.

use std::collections::VecDeque;

use crate::CallError;
use crate::bindings::daffi::runtime::call as host;
use crate::bindings::wasi::io::poll;
use crate::types::Value;

/// Items, encoded; or why one cannot be.
pub(crate) type Encoded = Box<dyn Iterator<Item = Result<Value, CallError>>>;

/// The iterators of a call and where their items go.
pub(crate) struct Feed {
    fans: Vec<Fan>,
}

impl Feed {
    pub(crate) fn new(fans: Vec<Fan>) -> Self {
        Self { fans }
    }

    /// Writes what has room, and pulls one item of each iterator at most; whether anything moved.
    pub(crate) fn turn(&mut self) -> bool {
        // Each has its turn, whatever the ones before it did.
        self.fans.iter_mut().filter_map(|fan| fan.turn().then_some(())).count() > 0
    }

    /// Waits until something can be written, or one of these is ready. Returns at once where there is nothing to wait for.
    pub(crate) fn sleep(&self, others: impl IntoIterator<Item = poll::Pollable>) {
        let waits: Vec<_> = self.fans.iter().flat_map(Fan::waits).chain(others).collect();
        if !waits.is_empty() {
            poll::poll(&waits.iter().collect::<Vec<_>>());
        }
    }

    /// Writes all that is left.
    pub(crate) fn run(&mut self) {
        while self.fans.iter().any(Fan::open) {
            if !self.turn() {
                self.sleep(None);
            }
        }
    }

    /// Why this guest's own items ended the streams of this receiver.
    pub(crate) fn refused(&self, receiver: usize) -> Option<CallError> {
        self.fans.iter().find_map(|fan| fan.lanes.get(receiver)?.refused.clone())
    }

    /// How many items this receiver has had, where they are all that there were.
    pub(crate) fn all_of(&self, receiver: usize) -> Option<u64> {
        let lanes = self.fans.iter().filter_map(|fan| fan.lanes.get(receiver));
        lanes.map(|lane| lane.is_finished.then_some(lane.written)).sum()
    }

    /// Writes no more to this receiver: its streams fail, unless they are finished.
    pub(crate) fn close(&mut self, receiver: usize) {
        for lane in self.fans.iter_mut().filter_map(|fan| fan.lanes.get_mut(receiver)) {
            lane.outbound = None;
        }
    }
}

/// One iterator, and a lane for each receiver.
pub(crate) struct Fan {
    /// None once it has ended, or nobody wants more.
    items: Option<Encoded>,
    /// The items that some lane has not had; the last of them is the last that was pulled.
    pulled: VecDeque<Value>,
    ahead: usize,
    lanes: Vec<Lane>,
}

/// The way to one receiver.
struct Lane {
    /// None once it is finished, or has ended.
    outbound: Option<host::Outbound>,
    /// How many of the pulled items it has not had.
    behind: usize,
    written: u64,
    is_finished: bool,
    refused: Option<CallError>,
}

impl Fan {
    /// From these items to these receivers, none where the call has failed. So many items are kept for the slowest: 1 at
    /// least.
    pub(crate) fn new(
        items: Encoded,
        outbound: impl IntoIterator<Item = Option<host::Outbound>>,
        ahead: usize,
    ) -> Self {
        let lane = |outbound| Lane { outbound, behind: 0, written: 0, is_finished: false, refused: None };
        let lanes = outbound.into_iter().map(lane).collect();
        Self { items: Some(items), pulled: VecDeque::new(), ahead: ahead.max(1), lanes }
    }

    fn turn(&mut self) -> bool {
        let mut moved = self.pull();
        for lane in &mut self.lanes {
            while lane.behind > 0 && lane.has_room() {
                let next = self.pulled.len() - lane.behind;
                if let Some(item) = self.pulled.get(next) {
                    lane.write(item);
                }
                lane.behind -= 1;
                moved = true;
            }
        }
        self.forget();
        moved
    }

    /// Pulls an item where a lane has room for it. Whether anything changed.
    fn pull(&mut self) -> bool {
        let Some(items) = &mut self.items else { return false };
        if self.pulled.len() >= self.ahead || !self.lanes.iter_mut().any(|lane| lane.behind == 0 && lane.has_room()) {
            return false;
        }
        match items.next() {
            Some(Ok(item)) => {
                self.pulled.push_back(item);
                for lane in &mut self.lanes {
                    lane.behind += 1;
                }
            }
            Some(Err(why)) => {
                self.items = None;
                for lane in &mut self.lanes {
                    lane.refuse(why.clone());
                }
            }
            None => self.items = None,
        }
        true
    }

    /// Drops what all have had, and finishes the lanes that have had all there is.
    fn forget(&mut self) {
        let slowest = self.lanes.iter().filter(|lane| lane.outbound.is_some()).map(|lane| lane.behind).max();
        while self.pulled.len() > slowest.unwrap_or(0) {
            self.pulled.pop_front();
        }
        for lane in &mut self.lanes {
            if lane.outbound.is_none() {
                lane.behind = 0;
            } else if lane.behind == 0 && self.items.is_none() {
                lane.finish();
            }
        }
        if slowest.is_none() {
            self.items = None;
        }
    }

    fn open(&self) -> bool {
        self.lanes.iter().any(|lane| lane.outbound.is_some())
    }

    /// The lanes that would take an item if they had room.
    fn waits(&self) -> impl Iterator<Item = poll::Pollable> + '_ {
        let more = self.items.is_some() && self.pulled.len() < self.ahead;
        let lanes = self.lanes.iter().filter(move |lane| lane.behind > 0 || more);
        lanes.filter_map(|lane| Some(lane.outbound.as_ref()?.subscribe()))
    }
}

impl Lane {
    /// Whether it takes an item now without waiting. Where it has ended, it is closed: the reply and what is read say why.
    fn has_room(&mut self) -> bool {
        match self.outbound.as_ref().map(host::Outbound::check_write) {
            Some(Ok(room)) => room > 0,
            Some(Err(_)) => {
                self.outbound = None;
                false
            }
            None => false,
        }
    }

    fn write(&mut self, item: &Value) {
        let Some(outbound) = &self.outbound else { return };
        match outbound.write(std::slice::from_ref(item)) {
            Ok(()) => self.written += 1,
            Err(_) if outbound.ended().is_some() => self.outbound = None,
            Err(why) => self.refuse(why),
        }
    }

    fn refuse(&mut self, why: CallError) {
        if let Some(outbound) = self.outbound.take() {
            outbound.fail(&why.message);
            self.refused = Some(why);
        }
    }

    fn finish(&mut self) {
        if let Some(outbound) = self.outbound.take() {
            outbound.finish();
            self.is_finished = true;
        }
    }
}
