//! What goes into a node and what comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::wire::Via;
use crate::call::{
    CallReply, CallRequest, Caller, Detail, GatherEnd, GatherEntry, GatherRequest, Incoming, Load, MemberEvent,
    ProcessInfo, ProcessSpec, ResolveRequest, Resolved, ScheduleRequest, ServeResult, TasksRequest, WaitFor,
};
use crate::error::CallError;
use crate::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Frame};
use crate::grants::NodeGrants;
use crate::id::{DirectId, LocalId, NodeKey, ProcessName, ProcessRef, ServeId, TenantName, Token};
use crate::schedule::{Save, TaskId, TaskPage, Utc};
use crate::session::Role;
use crate::share::Import;
use crate::stream::{Chunk, Ending, Flows, StreamId};
use crate::usage::Usage;

/// What a node is made with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// 128 random bits, made anew each time a runtime starts.
    pub key: NodeKey,
    /// The runtime's name, for people; 1 to [`crate::id::MAX_NAME_BYTES`] bytes.
    pub name: String,
    /// A node, or a client that registers no processes.
    pub role: Role,
    /// Decides whose turn is first among equals; any number.
    pub seed: u64,
    /// Most bytes of arguments or of a result, on links and in this runtime alike.
    pub max_payload_bytes: usize,
    /// The tenants that it belongs to, at most [`crate::controller::MAX_TENANTS_PER_NODE`]: those of its processes and
    /// clients.
    pub tenants: Vec<TenantName>,
    /// What these may call of others, at most [`crate::share::MAX_IMPORTS`].
    pub imports: Vec<Import>,
    /// Where other nodes reach this one, as URLs, the best first; at most [`crate::frame::MAX_ADDRESSES`]. None: they do not.
    pub reachable_at: Vec<String>,
    /// How many scheduled tasks that have not finished all processes of a tenant may have here, beside what each may.
    pub max_tasks: BTreeMap<TenantName, usize>,
    /// How many bytes of large items of streams may wait here for all processes of a tenant to read them, unless one alone
    /// is larger, and how many of results of callbacks that are called once an item, beside what each may.
    pub max_stream_bytes: BTreeMap<TenantName, usize>,
}

impl NodeConfig {
    /// One of the tenant `default` that imports nothing, with payloads of [`DEFAULT_MAX_PAYLOAD_BYTES`] at most.
    pub fn new(key: NodeKey, name: impl Into<String>, role: Role) -> Self {
        Self {
            key,
            name: name.into(),
            role,
            seed: 0,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            tenants: vec![TenantName::default()],
            imports: Vec::new(),
            reachable_at: Vec::new(),
            max_tasks: BTreeMap::new(),
            max_stream_bytes: BTreeMap::new(),
        }
    }
}

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// A link to the controller is there; the node starts the handshake. The one before must be down.
    LinkUp,
    /// The link broke, with the reason for the log. Ignored when the node has closed it itself.
    LinkDown(String),
    /// An attempt to get a link failed, for this reason, and another will be made.
    NoLink(String),
    /// There is a direct link: one that was dialed ([`Output::Dial`]), or one that another node opened, which the user numbers
    /// by a count of its own.
    DirectUp {
        /// Which.
        via: Via,
        /// Of one that another node opened: what the certificate says that this one has shown, where the transport has such.
        grants: Option<Arc<NodeGrants>>,
    },
    /// A direct link broke, or could not be opened. Ignored when the node has closed it itself.
    DirectDown {
        /// Which.
        via: Via,
        /// For the log.
        reason: String,
    },
    /// A frame arrived.
    Frame {
        /// From where.
        via: Via,
        /// The frame.
        frame: Frame,
    },
    /// Bytes arrived that make no whole frame yet: the other side lives. Once for all that a read brought is enough.
    Heard(Via),
    /// The link's queue was full: this frame was not sent. To be told before the next output is taken. A `Call` is answered with `overloaded`; any other frame
    /// cannot be missed, so its link is closed: let calls find a full queue well before the others do.
    NotSent {
        /// Where to.
        via: Via,
        /// The frame.
        frame: Frame,
    },
    /// Whether what waits to be sent over a link is so much that streams are to wait: they send nothing while it is. So a small
    /// frame finds no more before it than the user lets wait.
    Congested {
        /// Which link.
        via: Via,
        /// Whether it is.
        congested: bool,
    },
    /// The user wants something.
    Command(Command),
    /// Nothing but the time.
    Timer,
}

/// What the user of a node wants.
#[derive(Debug)]
pub enum Command {
    /// Put a process on the mesh; answered by [`Output::ProcessAdded`].
    AddProcess {
        /// Names the request.
        token: Token,
        /// The process.
        spec: ProcessSpec,
    },
    /// Take it off; calls that it serves may still be answered, but it makes no new ones.
    RemoveProcess(LocalId),
    /// Answered by [`Output::CallDone`].
    Call {
        /// Names the request.
        token: Token,
        /// The call.
        request: Box<CallRequest>,
    },
    /// A BROADCAST: answered by [`Output::GatherEntry`] for each process as it answers, and then [`Output::GatherDone`].
    Gather {
        /// Names the request.
        token: Token,
        /// The call and when enough has come.
        request: GatherRequest,
    },
    /// A PERIOD: answered by [`Output::TasksDone`] with the one task.
    Schedule {
        /// Names the request.
        token: Token,
        /// What is to be called, and when.
        request: ScheduleRequest,
    },
    /// Answered by [`Output::TasksDone`].
    Tasks {
        /// Names the request.
        token: Token,
        /// The question.
        request: TasksRequest,
    },
    /// Give up a call, a gather, a schedule, a resolve, a wait, a list or a watch: no answer will come for the token.
    Cancel(Token),
    /// Answered by [`Output::Resolved`].
    Resolve {
        /// Names the request.
        token: Token,
        /// The question.
        request: ResolveRequest,
    },
    /// Answered by [`Output::WaitDone`].
    Wait {
        /// Names the request.
        token: Token,
        /// Who waits; his own callbacks do not count.
        caller: Caller,
        /// What for.
        what: WaitFor,
        /// How long at most; cut to what is left of the parent's time.
        timeout: Duration,
    },
    /// Answered by [`Output::Processes`].
    List {
        /// Names the request.
        token: Token,
        /// Whose processes.
        tenant: TenantName,
        /// How much of each.
        detail: Detail,
    },
    /// What one tenant shares with another, as far as this node imports it. Answered by [`Output::Processes`] at once: of
    /// each process with its name and the shared callbacks alone.
    Shared {
        /// Names the request.
        token: Token,
        /// Whose processes.
        from: TenantName,
        /// Who asks.
        into: TenantName,
    },
    /// Be told of the processes that are there, by [`Output::Membership`], and then of those that come and go, until it
    /// is cancelled; or [`Output::WatchRefused`].
    Watch {
        /// Names the request.
        token: Token,
        /// Whose processes.
        tenant: TenantName,
    },
    /// A process has an [`Output::Serve`] in its queue or runs it. Of interest where the caller waits for no more
    /// ([`Answer::Accepted`](crate::call::Answer)); otherwise it need not be told.
    Accepted(ServeId),
    /// What the caller of an [`Output::Serve`] is told while the callback runs on; at most one each. The call stays in
    /// flight until [`Command::Served`].
    Answered {
        /// The call.
        id: ServeId,
        /// Why its caller waits no longer.
        error: CallError,
    },
    /// What the caller of an [`Output::Serve`] is told while the call goes on, with streams of these flows in the result, which
    /// this node writes from now on; at most one each. The call stays in flight until [`Command::Served`] and until its
    /// streams have ended.
    Replied {
        /// The call.
        id: ServeId,
        /// The result in postcard.
        result: Bytes,
        /// The streams and futures in it, by the number of their channel.
        channels: Flows,
    },
    /// What is done with this node's end of a stream.
    Stream {
        /// Which.
        id: StreamId,
        /// What.
        act: StreamAct,
    },
    /// An [`Output::Serve`] is over; exactly one each. Where the caller has been told already, or has given up
    /// ([`Output::CancelServe`]), the result is dropped.
    Served {
        /// The call.
        id: ServeId,
        /// What it came to.
        result: ServeResult,
    },
    /// An [`Output::SaveTasks`] is done with.
    TasksSaved {
        /// The process.
        process: LocalId,
        /// That output's.
        changes: u64,
        /// Why they could not be written down, if they could not.
        result: Result<(), String>,
    },
    /// What a process is doing now.
    Load {
        /// The process.
        process: LocalId,
        /// What it does.
        load: Load,
    },
    /// What a process has done and used until now.
    Usage {
        /// The process.
        process: LocalId,
        /// Its counters.
        usage: Box<Usage>,
    },
    /// Take no new calls; the controller sends none from then on. Calls in flight go on, and may make calls below
    /// them. [`Output::Drained`] tells when all have ended.
    Drain,
    /// Say goodbye to the controller.
    Leave,
}

/// What is done with an end of a stream. Of one that has ended, it is nothing.
#[derive(Debug)]
pub enum StreamAct {
    /// The writer has these. The first may be given at once, each other after [`StreamEvent::Room`].
    Push(Chunk),
    /// The writer has no more.
    Finish,
    /// The writer failed.
    Fail(CallError),
    /// The reader has taken what [`StreamEvent::Items`] gave, and wants what comes next; what comes first it has without.
    Take,
    /// The reader takes no more: by its own wish, or for a reason.
    Cancel(Option<CallError>),
}

/// What comes of a stream at one of its ends. Each end that was opened has one `Written` or `Read`, and nothing after it.
#[derive(Debug)]
pub enum StreamEvent {
    /// To the writer: the chunk that was given is on its way, there is room for another.
    Room,
    /// To the reader: the next items.
    Items(Chunk),
    /// To the writer: what the stream came to.
    Written(Ending),
    /// To the reader: what the stream came to, behind all items.
    Read(Ending),
}

/// What a node wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send {
        /// Where to.
        via: Via,
        /// The frame.
        frame: Frame,
    },
    /// Connect to another node, at the first of these addresses that can be had, and tell by [`Input::DirectUp`] or
    /// [`Input::DirectDown`], of [`Via::To`].
    Dial {
        /// What the link is called.
        link: DirectId,
        /// URLs.
        at: Vec<String>,
        /// Whose certificate is to be found there, where the transport has such. Where it has and this is none, there is no link to be had.
        identity: Option<ProcessName>,
    },
    /// Close a direct link when all that was to be sent before this is.
    CloseDirect {
        /// Which.
        via: Via,
        /// For the log.
        reason: String,
    },
    /// Close the link to the controller when all that was to be sent before this is, with the reason for the log. `again`
    /// tells whether to dial anew.
    CloseLink {
        /// For the log.
        reason: String,
        /// Whether to dial anew, after a pause ([`crate::session::Backoff`]).
        again: bool,
    },
    /// The node is connected (handshake done, processes registered).
    Connected,
    /// It no longer is.
    Disconnected {
        /// For the log and for guests.
        reason: String,
    },
    /// The controller refuses this node for good: a taken name, another protocol version.
    Refused {
        /// The kind: one of [`crate::session::refusal`]'s.
        code: String,
        /// For people.
        message: String,
    },
    /// A call of this process has waited for a while, and goes on waiting.
    Waits {
        /// Whose.
        process: LocalId,
        /// For what.
        why: String,
    },
    /// A process is not on the mesh, for now: its name is still held by somebody else. The node keeps trying.
    NameHeld {
        /// The process.
        process: LocalId,
        /// Who holds it.
        message: String,
    },
    /// The process has a number; or its name is taken.
    ProcessAdded {
        /// The request.
        token: Token,
        /// What came of it.
        result: Result<LocalId, CallError>,
    },
    /// A call for a process of this node.
    Serve(Incoming),
    /// Nobody waits for this call any more: its result will be dropped. Its end must be told, and no sooner than it is
    /// really over.
    CancelServe(ServeId),
    /// A call ended.
    CallDone {
        /// The request.
        token: Token,
        /// What came of it.
        result: Result<CallReply, CallError>,
    },
    /// Something came of a stream. Those in the arguments of a call are there from [`Command::Call`] or [`Output::Serve`] on,
    /// those in its result from [`Command::Replied`] or [`Output::CallDone`] on.
    Stream {
        /// Which.
        id: StreamId,
        /// What.
        event: StreamEvent,
    },
    /// A process has answered to a gather, or will not. At most [`super::MAX_BROADCAST`] each.
    GatherEntry {
        /// The request.
        token: Token,
        /// What came of it there.
        entry: GatherEntry,
    },
    /// A gather ended: no more entries. An error says why there were none.
    GatherDone {
        /// The request.
        token: Token,
        /// Whether it has what it was for.
        result: Result<GatherEnd, CallError>,
    },
    /// A schedule was made or refused, or tasks were looked at or cancelled.
    TasksDone {
        /// The request.
        token: Token,
        /// What came of it.
        result: Result<TaskPage, CallError>,
    },
    /// The tasks of a process have changed, and are to be written down; then [`Command::TasksSaved`]. Those who asked for
    /// the change have their answer after that. Of a process there is one of these at a time, but for a last
    /// [`Save::Table`] when it leaves, which makes one before it needless.
    SaveTasks {
        /// The process.
        process: LocalId,
        /// Its tenant and name.
        name: ProcessRef,
        /// What is to be written down.
        save: Save,
        /// Names this state: a later one has more.
        changes: u64,
    },
    /// For the log: a scheduled callback did not run, or failed.
    TaskTrouble {
        /// The task.
        task: TaskId,
        /// What happened.
        trouble: TaskTrouble,
    },
    /// A name was looked up.
    Resolved {
        /// The request.
        token: Token,
        /// What came of it.
        result: Result<Resolved, CallError>,
    },
    /// A wait ended.
    WaitDone {
        /// The request.
        token: Token,
        /// What came of it.
        result: Result<(), CallError>,
    },
    /// A list.
    Processes {
        /// The request.
        token: Token,
        /// By name.
        processes: Vec<ProcessInfo>,
    },
    /// After [`Command::Drain`]: no call is in flight on this node, served or made, for which somebody waits. Told once.
    Drained,
    /// A process came, went or changed.
    Membership {
        /// The watch.
        token: Token,
        /// What happened.
        event: MemberEvent,
    },
    /// There are too many watches or requests.
    WatchRefused {
        /// The watch.
        token: Token,
        /// Which limit.
        error: CallError,
    },
}

/// What the log says of a scheduled task.
#[derive(Debug)]
pub enum TaskTrouble {
    /// This tick was passed over, since a run is in flight.
    Skipped(Utc),
    /// This tick is too late.
    Missed(Utc),
    /// A run failed.
    Failed(CallError),
}
