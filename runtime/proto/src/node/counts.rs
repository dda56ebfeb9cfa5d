//! How much a node holds: what must be nothing when nothing is under way.

use super::Node;

/// How much a node holds, for tests and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Open calls that were made here, the legs of broadcasts included.
    pub calls: usize,
    /// Open broadcasts.
    pub gathers: usize,
    /// Calls whose streams are open, made and served; one within this node counts at both ends.
    pub exchanges: usize,
    /// Open ends of streams.
    pub streams: usize,
    /// Bytes of streams that wait to be read.
    pub stream_bytes: usize,
    /// Bytes of large items that were let in and whose readers are not done with them.
    pub large_bytes: u64,
    /// Bytes of results of callbacks that are called once an item, which wait for their readers.
    pub result_bytes: u64,
    /// Open resolves, waits and lists.
    pub asks: usize,
    /// Calls that were sent over the link and have no answer yet.
    pub away: usize,
    /// Requests that wait for a callback, a process or the link.
    pub waiting: usize,
    /// Those who are told of processes that come and go.
    pub watches: usize,
    /// Timers of requests.
    pub deadlines: usize,
    /// Calls that are served, those that run on for nobody or whose streams go on included; of those that are made once an
    /// item, the one that runs.
    pub serves: usize,
    /// Those of them that came over the link.
    pub incoming: usize,
    /// Scheduled tasks that its processes list.
    pub tasks: usize,
    /// Processes of this node.
    pub locals: usize,
    /// Processes of others.
    pub remotes: usize,
    /// Direct links that were opened here, and those that others opened.
    pub directs: (usize, usize),
    /// Calls that came with a key and run, and results that are kept for those who may ask again.
    pub repeats: usize,
    /// Answers that came for calls that had ended.
    pub late_answers: u64,
    /// How often the table of a process's scheduled tasks was looked at.
    pub table_looks: u64,
}

impl Node {
    /// How much it holds.
    pub fn counts(&self) -> NodeCounts {
        let (large_bytes, result_bytes) = self.in_rooms();
        NodeCounts {
            calls: self.calls.len(),
            gathers: self.gathers.len(),
            exchanges: self.exchanges.len(),
            streams: self.open_streams,
            stream_bytes: self.stream_bytes,
            large_bytes,
            result_bytes,
            asks: self.asks.len() + self.lists.len(),
            away: self.away.len(),
            waiting: self.waiting.len(),
            watches: self.watches.len(),
            deadlines: self.deadlines.len(),
            serves: self.serves.len() - self.eaches.len(),
            incoming: self.incoming.len(),
            tasks: self.schedules.len(),
            locals: self.locals.len(),
            remotes: self.remote_groups.len(),
            directs: (self.roads.len(), self.visits.len()),
            repeats: self.repeats.len(),
            late_answers: self.late_answers,
            table_looks: self.schedules.looks(),
        }
    }
}
