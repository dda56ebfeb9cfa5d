//! Headers: every kind of frame.
//!
//! The enum is append-only: a variant's place is its number on the wire, and neither a variant nor its fields change
//! once released. `Hello` and `Refused` are read by every version, past and future. Golden bytes are in
//! `tests/frames/golden.rs`.
//!
//! ```text
//!          node                                controller
//!   Hello v, who ────────────────────────────▶            who are you, in which protocol
//!                ◀──────────────────────────── Welcome    or Refused, and the link is closed
//!   Register …   ────────────────────────────▶            one a process
//!                ◀──────────────────────────── Entry …    one a process of others, then Synced;
//!                ◀──────────────────────────── Registered from then on Entry and Gone as they come and go
//!   Call 7 Any   ────────────────────────────▶
//!                                              Call 9 Callback ─────────▶  the process chosen
//!                                                              ◀───────── Reply 9 (or Fail 9)
//!                ◀──────────────────────────── Reply 7
//!   Cancel 7     ────────────────────────────▶ Cancel 9 ─────────────────▶ nobody waits any more
//!                                                              ◀───────── Ended 9: it is over
//!                ◀──────────────────────────── Fail 7         ◀───────── Fail 9, runs on: nobody waits any more,
//!                                                              ◀───────── Ended 9: and now it is over
//!                ◀──────────────────────────── Accepted 7     ◀───────── Accepted 9: nobody waits any more,
//!                                                              ◀───────── Ended 9: and now it is over
//!   Items 7.0    ────────────────────────────▶ Items 9.0 ────────────────▶ streams of a call, both ways, in the same
//!                ◀──────────────────────────── Grant 7.0    ◀───────── Grant 9.0   manner: Items, Want, End from who writes,
//!   End 7.0      ────────────────────────────▶ End 9.0 ──────────────────▶         Grant, then Done or Halt from who
//!                ◀──────────────────────────── Done 7.0      ◀───────── Done 9.0   reads
//!                ◀──────────────────────────── Reply 7 open  ◀───────── Reply 9, open: the call or its streams go on,
//!                ◀──────────────────────────── Ended 7       ◀───────── Ended 9: and now all is over
//!   Drain, Leave ────────────────────────────▶            no new calls; goodbye
//!   Meet B       ────────────────────────────▶ Expect A ──────────────────▶ this node may come, with this ticket
//!                                              Vouch A.p ─────────────────▶ … and call in the name of this process
//!                ◀──────────────────────────── Meeting B                    where B is, and the ticket
//!                                              Forget A ──────────────────▶ A has gone
//!   Ping         ◀──────────────────────────▶ Pong        either side, after silence
//! ```
//!
//! And between two nodes, on a link that the caller has opened:
//!
//! ```text
//!         caller                                callee
//!   Visit ticket ────────────────────────────▶
//!                ◀──────────────────────────── Known p …    one a process that the controller vouches for,
//!                ◀──────────────────────────── Welcome      then this, and Known as they come; or Refused
//!   Call 7 Direct ───────────────────────────▶              calls, their streams and ends as above, one way only
//! ```
//!
//! A call id belongs to the side that sent the `Call`, and is used once on a link; one that is in use is refused. Every `Call` that
//! arrives ends with exactly one of `Reply`, `Fail` and `Ended`, when it is really over; `Ended` is for those whose
//! caller was told before, by `Accepted`, by a `Reply` that is open or by a `Fail` that says that the callback runs on, or
//! has given up with a `Cancel`, or never waited. So the
//! controller's count of calls in flight at a process is right even where a guest runs on for nobody.
//!
//! `Cancel`, and a `Fail`, end the streams of their call at both ends, without their last words. What is on its way for
//! a call that is over, or for a stream of it, has crossed that and is dropped.

mod kind;
mod order;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::call::{Answer, Detail, Hop, Load, Mode, chain};
use crate::id::{CallId, EntryId, GroupId, NodeMark, ProcessName, ProcessRef, RepeatKey, SessionId, Ticket};
use crate::share::Export;
use crate::stream::{Credit, Flows};

/// The kinds of frames, with the payload that goes with each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Header {
    /// 0, node to controller, the first frame of a link. Frozen. Payload: a [`Hello`](crate::session::Hello) in the
    /// layout of that version.
    Hello {
        /// The protocol's version.
        version: u32,
    },
    /// 1, controller to node: come in. Also node to node, on a direct link; names are kept for nobody there.
    Welcome {
        /// The features that both have.
        features: u64,
        /// Names this stay.
        session: SessionId,
        /// After how much silence a side pings.
        heartbeat_ms: u32,
        /// After how many heartbeats without a sign of life the peer is dead.
        missed_heartbeats: u32,
        /// How long the names of a lost node are kept for it.
        grace_ms: u32,
        /// The controller's limit of a payload.
        max_payload_bytes: u64,
    },
    /// 2, controller to node, or node to node: stay out. The link is closed after it. Frozen.
    Refused {
        /// The kind, for programs.
        code: String,
        /// For people.
        message: String,
        /// Whether to come again.
        retryable: bool,
    },
    /// 3, either way: the link is closed after this, because the peer broke the protocol or the sender ends.
    Close {
        /// For people.
        reason: String,
    },
    /// 4, either way: are you there?
    Ping,
    /// 5, the answer; also unasked, once a heartbeat, from a side that hears much and may have nothing to say.
    Pong,
    /// 6, node to controller: a process of mine. Payload: a [`CallbackTable`](crate::registry::CallbackTable).
    Register {
        /// The process's number at this node, never used again on this link.
        number: u32,
        /// Its name.
        process: ProcessRef,
        /// How its instances are kept.
        instances: String,
        /// What of it other tenants may import.
        exports: Vec<Export>,
    },
    /// 7, controller to node: it is on the mesh.
    Registered {
        /// The process.
        number: u32,
        /// This stay of it.
        entry: EntryId,
    },
    /// 8, controller to node: it is not, and its number is free.
    NotRegistered {
        /// The process.
        number: u32,
        /// The kind, for programs.
        code: String,
        /// For people: which name, and who holds it.
        message: String,
        /// Whether to try again.
        retryable: bool,
    },
    /// 9, node to controller: it leaves. Its calls in flight go on.
    Unregister {
        /// The process.
        number: u32,
    },
    /// 10, controller to node: a process of another node is on the mesh. Payload: the `Register`'s, untouched; of a process of
    /// another tenant a table of what is shared.
    Entry {
        /// This stay of it.
        entry: EntryId,
        /// Its name.
        process: ProcessRef,
        /// The name of its node.
        node: String,
        /// How its instances are kept.
        instances: String,
        /// The groups of its callbacks, in their order.
        groups: Vec<GroupId>,
        /// What of it the node's own tenants may import.
        exports: Vec<Export>,
        /// The stay of its node, where that can be met ([`Header::Meet`]): it is of a tenant of both, and can be reached.
        host: Option<SessionId>,
    },
    /// 11, controller to node: it left, or takes no new calls.
    Gone {
        /// This stay of it.
        entry: EntryId,
    },
    /// 12, controller to node: these were all the processes that were there when you came.
    Synced,
    /// 13, either way: carry out this call. Payload: the arguments in postcard.
    Call {
        /// Names the call on this link; the sender's.
        id: CallId,
        /// Whom it goes to.
        target: Target,
        /// What is left of its time.
        timeout_ms: u64,
        /// Who made it, and the calls above it, the outermost first.
        #[serde(deserialize_with = "chain::deserialize")]
        chain: Arc<[Hop]>,
        /// What the caller waits for. Of `Sent` nothing: no answer is passed on.
        answer: Answer,
        /// How the callback takes what the caller streams.
        mode: Mode,
        /// The streams that the caller writes, by number.
        channels: Flows,
        /// The same for all attempts of a call that may run twice and is made again when it fails: an attempt that
        /// finds it at its receiver already begins no other run.
        key: Option<RepeatKey>,
    },
    /// 14, against a `Call`: it ran. Payload: the result in postcard.
    Reply {
        /// The call.
        id: CallId,
        /// The process that served it.
        process: Option<ProcessName>,
        /// Whether the call goes on or has streams: `Ended` follows.
        open: bool,
        /// The streams that the callee writes, by number; none where it is not open.
        channels: Flows,
    },
    /// 15, against a `Call`: it did not run, or failed. Payload: a [`CallError`](crate::error::CallError).
    Fail {
        /// The call.
        id: CallId,
        /// Whether the callback still runs: `Ended` follows. Never from a controller, where the call is over for the
        /// caller.
        runs_on: bool,
    },
    /// 16, with a `Call`: nobody waits for the answer.
    Cancel {
        /// The call.
        id: CallId,
        /// Whether that is so because the link of the caller was lost: one with a key may be asked for again. Never from
        /// a node.
        lost: bool,
    },
    /// 17, against a `Call` that was cancelled, has failed and ran on, or has an open answer: it is over, and its streams
    /// are. A caller is told of the last kind only.
    Ended {
        /// The call.
        id: CallId,
    },
    /// 18, node to controller: what a process is doing.
    Load {
        /// The process.
        number: u32,
        /// What it does, for lists.
        load: Load,
        /// How many calls it serves that this controller does not relay: those of its own node, and what is left of
        /// links that were lost.
        apart: u32,
    },
    /// 19, node to controller: what are all processes doing?
    ListLoads {
        /// Names the question on this link.
        id: u64,
        /// And what have they used?
        detail: Detail,
    },
    /// 20, the answer. Payload: [`LoadList`].
    Loads {
        /// The question.
        id: u64,
    },
    /// 21, node to controller: send me no new calls, and tell nobody of my processes. Controller to node: I pass on no
    /// new calls, but for those below others.
    Drain,
    /// 22, node to controller: goodbye. My names are free.
    Leave,
    /// 23, against a `Call` whose caller waits for no more: the process has it. `Ended` follows.
    Accepted {
        /// The call.
        id: CallId,
        /// The process that has it.
        process: Option<ProcessName>,
    },
    /// 24, from who writes a stream. Payload: so many items, one behind the other.
    Items {
        /// The stream.
        stream: StreamRef,
        /// How many.
        count: u32,
    },
    /// 25, from who writes a stream: his last word. Payload: of `Failed` a [`CallError`](crate::error::CallError).
    End {
        /// The stream.
        stream: StreamRef,
        /// What it is.
        last: LastWord,
    },
    /// 26, from who reads a stream: how much may be sent in all, since its start.
    Grant {
        /// The stream.
        stream: StreamRef,
        /// So much.
        total: Credit,
    },
    /// 27, from who reads a stream, his last word: everything was taken, and the end was seen.
    Done {
        /// The stream.
        stream: StreamRef,
    },
    /// 28, from who reads a stream, his last word: he takes no more. Payload: a [`CallError`](crate::error::CallError) that
    /// says why, or nothing where it is his own wish.
    Halt {
        /// The stream.
        stream: StreamRef,
    },
    /// 29, from who writes a stream: the next item has so many bytes, more than is granted, and waits for a `Grant`.
    Want {
        /// The stream.
        stream: StreamRef,
        /// How many.
        bytes: u64,
    },
    /// 30, node to controller: what a process has done and used, [`USAGE_EVERY`](crate::usage::USAGE_EVERY) at most. Payload: a
    /// [`Usage`](crate::usage::Usage).
    Usage {
        /// The process.
        number: u32,
    },
    /// 31, node to controller, before its processes: other nodes reach me there without you. At most [`MAX_ADDRESSES`].
    Reachable {
        /// URLs, the best first.
        at: Vec<String>,
    },
    /// 32, node to controller: I have calls for this node.
    Meet {
        /// Its stay.
        session: SessionId,
    },
    /// 33, the answer: how to get there; or no address, where that is not to be.
    Meeting {
        /// Its stay.
        session: SessionId,
        /// Where it is reached.
        at: Vec<String>,
        /// What lets one in.
        ticket: Ticket,
        /// Whose certificate it has shown to the controller, if it has.
        identity: Option<ProcessName>,
    },
    /// 34, controller to node: another node may come. It takes the place of what was said before of that node.
    Expect {
        /// Its stay.
        session: SessionId,
        /// Its name, for people.
        node: String,
        /// What it brings.
        ticket: Ticket,
        /// What the calls of that node that may be repeated are marked with.
        mark: NodeMark,
        /// Its limit of a payload.
        max_payload_bytes: u64,
        /// Whose certificate it has shown to the controller, if it has.
        identity: Option<ProcessName>,
    },
    /// 35, controller to node: a node that may come has this process, in whose name it may call.
    Vouch {
        /// That node's stay.
        session: SessionId,
        /// The process's number there.
        number: u32,
        /// Its name.
        process: ProcessRef,
    },
    /// 36, controller to node: it has it no more.
    Unvouch {
        /// That node's stay.
        session: SessionId,
        /// The process's number there.
        number: u32,
    },
    /// 37, controller to node: that node has gone; nothing it says is vouched for.
    Forget {
        /// Its stay.
        session: SessionId,
    },
    /// 38, node to node, the first frame of a direct link: here I am.
    Visit {
        /// The protocol's version.
        version: u32,
        /// Who: the caller's stay.
        session: SessionId,
        /// What the controller gave.
        ticket: Ticket,
    },
    /// 39, on a direct link, from who was visited: the visitor's process with this number is known here, and may call.
    Known {
        /// The process.
        number: u32,
    },
    /// 40, on a direct link, from who was visited: so many calls that did not come over this link are in flight at this process.
    Busy {
        /// The process.
        entry: EntryId,
        /// How many.
        calls: u32,
    },
}

/// Most addresses of a node, and most bytes of one.
pub const MAX_ADDRESSES: (usize, usize) = (4, 256);

/// A stream of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRef {
    /// The call, by the id of its `Call` on this link.
    pub call: CallId,
    /// Who sends this frame.
    pub from: Side,
    /// The number of the stream among those that its writer writes.
    pub number: u32,
}

/// The sides of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Side {
    /// 0: who sent the `Call`.
    Caller,
    /// 1: who got it.
    Callee,
}

/// The last word of who writes a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastWord {
    /// 0: these were all items.
    Finished,
    /// 1: there would have been more.
    Failed,
    /// 2: the `Halt` has arrived.
    Stopped,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// 0, node to controller: any process with this callback that is not of the caller's node.
    Any(GroupId),
    /// 1, node to controller: this process.
    Process(EntryId, GroupId),
    /// 2, controller to node: the process with this number, and the callback's place in its table.
    Callback(u32, u32),
    /// 3, node to controller: the scheduled tasks of this process. Payload of the `Call`: a
    /// [`TaskOp`](crate::schedule::TaskOp), of the `Reply`: a [`TaskPage`](crate::schedule::TaskPage).
    Tasks(EntryId),
    /// 4, controller to node: the scheduled tasks of the process with this number. Payloads as of `Tasks`.
    TasksHere(u32),
    /// 5, node to node: this process, and the callback's place in its table.
    Direct(EntryId, u32),
}

/// What processes are doing, as their nodes last told.
pub type Loads = Vec<(EntryId, Load)>;

/// The answer to a [`Header::ListLoads`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadList {
    /// What the processes are doing.
    pub loads: Loads,
    /// What they have used, where that was asked for: a [`Usage`](crate::usage::Usage) each, of those whose nodes told it, as
    /// far as they fit into [`MAX_LISTED_USAGE_BYTES`](crate::controller::MAX_LISTED_USAGE_BYTES).
    pub usages: Vec<(EntryId, Bytes)>,
}
