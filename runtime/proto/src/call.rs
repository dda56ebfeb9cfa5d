//! Calls, processes and questions as the user of a node sees them.
//!
//! These are the words that the runtime's mesh driver, its guests and the CLI share; [`crate::node`] gives them
//! meaning. Times are `Duration`s since the node's own start (monotonic), unless a name says that it is a timeout.

pub(crate) mod chain;
mod listed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use listed::{CallbackInfo, Detail, Load, Member, MemberEvent, ProcessInfo};
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Outcome};
use crate::id::{LocalId, ProcessName, ProcessRef, ServeId, TenantName};
use crate::name::CallbackName;
use crate::schedule::{DEFAULT_MAX_TASKS, TaskOp, Tasks, Terms};
use crate::share::Export;
use crate::signature::{Fingerprint, Signature};
use crate::stream::{Flow, Flows};

/// The deadline of a call that names none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest time that anybody may ask for: for a call, a wait, a run of a schedule.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// The longest: a week. It also bounds how much later a call may begin (its `eta`).
pub const MAX_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most calls below one another (A calls B calls C …).
pub const MAX_CHAIN: usize = 32;

/// A process that a node puts on the mesh.
#[derive(Clone, Debug)]
pub struct ProcessSpec {
    /// Its tenant and name.
    pub process: ProcessRef,
    /// Its callbacks; an incoming call names one by its place here.
    pub callbacks: Arc<[CallbackSpec]>,
    /// How its instances are kept, as `ps` shows it (`singleton`, `pool:4`, `per-call`).
    pub instances: String,
    /// The scheduled tasks that it has.
    pub schedules: Schedules,
    /// Most bytes of large items of streams that may wait for it to read them, unless one alone is larger; and of results
    /// of callbacks that are called once an item that may wait for their readers ([`crate::node`]'s `rooms`).
    pub large_bytes: usize,
    /// Most streams of the calls that it serves, those of callbacks that are called once an item included.
    pub max_streams: usize,
    /// What of it other tenants may import, [`MAX_EXPORTS`](crate::share::MAX_EXPORTS) at most.
    pub exports: Arc<[Export]>,
}

/// The scheduled tasks of a process that is put on the mesh.
#[derive(Clone, Debug)]
pub enum Schedules {
    /// None yet, and this many at most; they end with the process's stay.
    Fresh(usize),
    /// These, of an earlier stay or none yet; what becomes of them is to be written down ([`crate::node::Output::SaveTasks`]).
    Kept(Box<Tasks>),
}

impl Default for Schedules {
    fn default() -> Self {
        Self::Fresh(DEFAULT_MAX_TASKS)
    }
}

/// A callback of a process.
#[derive(Clone, Debug)]
pub struct CallbackSpec {
    /// Its full name.
    pub name: CallbackName,
    /// Its type.
    pub signature: Arc<Signature>,
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A process of this node.
    Process {
        /// Which.
        id: LocalId,
        /// Which of its instances, as the process numbers them; names the instance in a chain of calls.
        instance: u32,
        /// The incoming call that this one is made for: its deadline is inherited, its cancellation too.
        parent: Option<ServeId>,
        /// The calls above that one ([`Incoming::chain`]), for when it is over: what goes on then is still below them,
        /// though nobody waits in them any more.
        chain: Arc<[Hop]>,
    },
    /// Nobody with a name: the CLI.
    Client {
        /// The tenant that it looks into.
        tenant: TenantName,
    },
}

/// A call. The arguments are values of the parameters' types: the caller has checked them.
#[derive(Clone, Debug)]
pub struct CallRequest {
    /// Who calls.
    pub caller: Caller,
    /// The tenant whose callback it is, if it is another one, which must share it; the receiver is then of that tenant.
    pub tenant: Option<TenantName>,
    /// The callback's full name, or several in order of preference (an import `math-checked` takes a callback of that
    /// very name, else one of `math`); never empty. Versions match as [`crate::name`] says.
    pub callbacks: Arc<[CallbackName]>,
    /// The signatures that the caller can take.
    pub accepts: Arc<[Fingerprint]>,
    /// The caller's own signature, for the message of a mismatch.
    pub signature: Option<Arc<Signature>>,
    /// Only this process, where one is named.
    pub receiver: Option<ProcessName>,
    /// The arguments in postcard.
    pub args: Bytes,
    /// How long the caller waits at most, the way and the queue included; cut to what is left of the parent's where he
    /// waits for the result.
    pub timeout: Duration,
    /// What had already passed of the time that the caller was given, before this: errors name all of it.
    pub spent: Duration,
    /// Whether to wait (within the timeout) for a callback that is not there yet.
    pub wait_ready: bool,
    /// What becomes of it when the call that it is made for is given up.
    pub when_abandoned: WhenAbandoned,
    /// How long to wait before it begins: names are looked up then, and the timeout counts from then.
    pub eta: Duration,
    /// What the caller waits for; of a call with streams, its result.
    pub answer: Answer,
    /// The streams and futures in the arguments, which the caller is to write, by the number of their channel. Of
    /// [`Mode::Each`] it is always the one with the items, whatever is set here.
    pub channels: Flows,
    /// How the callback takes what the caller streams.
    pub mode: Mode,
    /// When it is made again after it failed: only where the result is waited for, and not as a part of a broadcast.
    pub retry: Retry,
}

/// When a call that failed is made again: with a retryable error, or with any where it may run twice, as long as its time
/// is not over. All attempts are one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often it is made at most, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles each time, up to [`Retry::MAX_PAUSE`] or to itself, if it is longer.
    /// What is paused is a random part of it, half at least.
    pub pause: Duration,
    /// Whether running it twice does no harm.
    pub idempotent: bool,
}

impl Retry {
    /// The call is made once.
    pub const NEVER: Self = Self { attempts: 1, pause: Self::PAUSE, idempotent: false };

    /// The pause before the second attempt, unless another was asked for.
    pub const PAUSE: Duration = Duration::from_millis(100);

    /// Up to where pauses double.
    pub const MAX_PAUSE: Duration = Duration::from_secs(10);

    /// The pause after so many attempts; `fraction` is from 0 up to 1.
    pub fn pause_after(&self, attempts: u32, fraction: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let whole = self.pause.saturating_mul(1 << doublings).min(Self::MAX_PAUSE.max(self.pause));
        let half = whole / 2;
        half + half.mul_f64(fraction)
    }

    /// Whether a call is made again that has failed so.
    pub fn applies_to(&self, error: &CallError) -> bool {
        // What did not run, and would not the next time either, is not worth another attempt.
        error.retryable || (self.idempotent && error.outcome != Outcome::NotRun)
    }
}

impl CallRequest {
    /// A call that begins at once and takes no signature, arguments or receiver yet.
    pub fn new(caller: Caller, callbacks: Arc<[CallbackName]>) -> Self {
        Self {
            caller,
            tenant: None,
            callbacks,
            accepts: Arc::default(),
            signature: None,
            receiver: None,
            args: Bytes::new(),
            timeout: DEFAULT_TIMEOUT,
            spent: Duration::ZERO,
            wait_ready: false,
            when_abandoned: WhenAbandoned::Cancel,
            eta: Duration::ZERO,
            answer: Answer::Result,
            channels: Flows::default(),
            mode: Mode::Whole,
            retry: Retry::NEVER,
        }
    }

    /// The streams that the caller writes, by number.
    pub fn flows(&self) -> Flows {
        match self.mode {
            Mode::Whole => self.channels.clone(),
            Mode::Each => [Flow::Items].into(),
        }
    }
}

/// How a callback takes what its caller streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// 0: it is called once, and takes the streams that stand in its arguments.
    #[default]
    Whole,
    /// 1: it has no stream in its type, and is called once an item, in order and one at a time, in one process. Channel 0 of
    /// the caller carries the items: each is the arguments of one call, or [`UNIT_ITEM`](crate::value::UNIT_ITEM) where
    /// there are no parameters. Channel 0 of the answer, which comes before the first item is served, carries the results:
    /// each an item, [`UNIT_ITEM`](crate::value::UNIT_ITEM) where the callback gives nothing. The first call that fails ends
    /// both with its error, which names the item.
    Each,
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// 0: what it comes to.
    #[default]
    Result,
    /// 1: that the callee's process has taken it into its queue, or runs it. From then on it is no part of its caller's
    /// tree of calls: only its own deadline ends it, which the call above it does not bound, and what it comes to is
    /// dropped.
    Accepted,
    /// 2: that it was handed to the link, or to a process of this node. It is never a part of the tree, its deadline is
    /// its own, and what it comes to, a refusal included, is dropped.
    Sent,
}

/// What becomes of a call when the one that it is made for is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenAbandoned {
    /// It ends at once, and the calls below it: nobody has a use for it.
    #[default]
    Cancel,
    /// It goes on, or is made all the same, until its own deadline: its failure would end an instance that others rely
    /// on.
    Finish,
}

/// A BROADCAST: one call, a leg, to every process that has the callback when it begins, but the caller.
#[derive(Clone, Debug)]
pub struct GatherRequest {
    /// What each leg is; it names no receiver. `wait_ready` waits for the first process that has the callback.
    pub call: CallRequest,
    /// When enough has come.
    pub need: Need,
    /// After how long without a further entry the missing ones are given up.
    pub stall: Option<Duration>,
}

/// When a [`GatherRequest`] has what it is for. Its open legs are cancelled then, and have no entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// When every process has an entry.
    #[default]
    All,
    /// When so many values are there, or every process has an entry.
    First(u32),
    /// When so many values are there, or as soon as they cannot be any more.
    Quorum(u32),
}

/// What one process gave to a [`GatherRequest`].
#[derive(Clone, Debug)]
pub struct GatherEntry {
    /// Which; one entry each.
    pub process: ProcessName,
    /// Its value or error.
    pub result: Result<CallReply, CallError>,
}

/// How a [`GatherRequest`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatherEnd {
    /// As many values came as it was to have; of [`Need::All`], every process has its entry.
    Met,
    /// Fewer.
    Unmet,
}

/// What a call came to.
#[derive(Clone, Debug)]
pub struct CallReply {
    /// The result in postcard; empty where the callback gives nothing, or the caller did not wait for it.
    pub result: Bytes,
    /// The signature of the callback that served it, one of those that the caller took.
    pub fingerprint: Fingerprint,
    /// The process that served it, or has it; of [`Answer::Sent`] the one that probably got it.
    pub process: ProcessName,
    /// The streams and futures in the result, which the caller reads, by the number of their channel.
    pub channels: Flows,
}

/// PERIOD: a callback that is to be called over and over, or later, by the process that has it.
#[derive(Clone, Debug)]
pub struct ScheduleRequest {
    /// Who asks, which callback, which receiver, the arguments of each run; and how long the answer is waited for. The
    /// caller himself is the receiver only where he is named. `eta` and `answer` mean nothing here.
    pub call: CallRequest,
    /// When, and how it runs.
    pub terms: Terms,
}

/// A question about the tasks that a process keeps.
#[derive(Clone, Debug)]
pub struct TasksRequest {
    /// Who asks.
    pub caller: Caller,
    /// Whose tasks.
    pub process: ProcessName,
    /// What; not [`TaskOp::Add`], which a [`ScheduleRequest`] makes.
    pub op: TaskOp,
    /// How long the answer is waited for.
    pub timeout: Duration,
}

/// A dynamic caller's question: what does this text mean, and which signature has it?
#[derive(Clone, Debug)]
pub struct ResolveRequest {
    /// Who asks; its own callbacks do not count.
    pub caller: Caller,
    /// The name as the user wrote it, full or short; `tenant::name` for one that another tenant shares.
    pub pattern: String,
    /// Only this process, where one is named.
    pub receiver: Option<ProcessName>,
    /// How long to wait where `wait_ready` is set or the mesh is out of reach.
    pub timeout: Duration,
    /// As [`CallRequest::spent`].
    pub spent: Duration,
    /// Whether to wait for a callback that is not there yet.
    pub wait_ready: bool,
}

/// The answer to a [`ResolveRequest`].
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The tenant whose it is, if the text named one.
    pub tenant: Option<TenantName>,
    /// The one full name that matched (the highest of its compatible versions).
    pub callback: CallbackName,
    /// Its signature.
    pub signature: Arc<Signature>,
    /// The signature's fingerprint.
    pub fingerprint: Fingerprint,
}

/// What a wait is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// A process of this name.
    Process(ProcessName),
    /// A callback that this text means, at any process but the waiting one; `tenant::name` for a shared one.
    Callback(String),
}

/// A call that a process of this node is to serve.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Names the call to the node.
    pub id: ServeId,
    /// The process.
    pub process: LocalId,
    /// The callback's place in [`ProcessSpec::callbacks`].
    pub callback: u32,
    /// The arguments in postcard, not checked yet: they come from another machine's guest.
    pub args: Bytes,
    /// The process that called, where it has a name.
    pub caller: Option<ProcessRef>,
    /// The calls above this one, the outermost first: what a cycle is seen by.
    pub chain: Arc<[Hop]>,
    /// When the caller stops waiting. With streams among the arguments he waits on while there is progress in any of them:
    /// then this is out of reach, and his own node gives the call up.
    pub deadline: Duration,
    /// What the caller waits for: of [`Answer::Accepted`] he is to be told when it is neither over nor refused at once.
    pub answer: Answer,
    /// The streams and futures that the caller says are in the arguments, by the number of their channel. Not checked yet,
    /// as the arguments are not.
    pub channels: Flows,
}

/// One call of a chain: who made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hop {
    /// The process; none for a client without a name.
    pub process: Option<ProcessRef>,
    /// Which of its instances.
    pub instance: u32,
}

impl Hop {
    /// The instance of a hop in which nobody waits for the call: no process numbers one so, and no call returns to it.
    pub const NO_INSTANCE: u32 = u32::MAX;

    /// A chain whose calls are over for what is made below them now: it counts, and makes no cycle.
    pub fn passed(chain: &[Self]) -> Arc<[Self]> {
        if chain.is_empty() {
            return Arc::default();
        }
        chain::of(chain.iter().map(|hop| Self { process: hop.process.clone(), instance: Self::NO_INSTANCE }))
    }
}

/// What serving a call came to: the result in postcard, or what went wrong.
pub type ServeResult = Result<Bytes, CallError>;
