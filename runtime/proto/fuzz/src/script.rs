//! Bytes as a script: what is done next, with which of a few things. Where the bytes end, so does the script.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{Answer, Detail, Hop, Load, Mode};
use daffi_proto::error::CallError;
use daffi_proto::frame::{Frame, Header, LastWord, Side, StreamRef, Target};
use daffi_proto::id::{CallId, EntryId, GroupId, NodeMark, ProcessName, ProcessRef, SessionId, TenantName, Ticket};
use daffi_proto::name::{CallbackName, NameGlob};
use daffi_proto::registry::CallbackTable;
use daffi_proto::schedule::{Plan, TaskNumber, TaskOp, TaskSpec, Utc};
use daffi_proto::session::Hello;
use daffi_proto::share::{Export, Import};
use daffi_proto::signature::{Signature, SignatureBuilder, Type};
use daffi_proto::stream::{Chunk, Credit, Flow, Flows};
use daffi_proto::usage::Usage;
use serde::Serialize;

/// What processes are called: few, so that they meet.
const NAMES: [&str; 3] = ["ann", "bob", "eve"];

/// What callbacks are called.
pub const CALLBACKS: [&str; 3] = ["a:b/c#f", "a:b/c@1.2.0#f", "g"];

/// What stands in a frame's payload.
pub fn payload<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value).expect("it has a size").into()
}

/// See the module.
pub struct Script<'a> {
    data: &'a [u8],
}

impl<'a> Script<'a> {
    /// A script.
    pub fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    /// The next byte, while there is one.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.data.split_first()?;
        self.data = rest;
        Some(*first)
    }

    /// A number below `bound`; 0 behind the end.
    pub fn below(&mut self, bound: u8) -> u8 {
        self.next().unwrap_or(0) % bound
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Some bytes.
    pub fn bytes(&mut self) -> Bytes {
        let wanted = usize::from(self.next().unwrap_or(0));
        let (bytes, rest) = self.data.split_at(wanted.min(self.data.len()));
        self.data = rest;
        Bytes::copy_from_slice(bytes)
    }

    /// One of the processes.
    pub fn process(&mut self) -> ProcessRef {
        ProcessRef { tenant: self.tenant(), name: self.name() }
    }

    /// One of two tenants, mostly the first.
    pub fn tenant(&mut self) -> TenantName {
        if self.below(8) == 7 { Self::other() } else { TenantName::default() }
    }

    fn other() -> TenantName {
        TenantName::new("other").expect("it is a name")
    }

    /// What a process shares with one of the tenants.
    pub fn exports(&mut self) -> Vec<Export> {
        let callbacks = NameGlob::parse("a:b/c*#f").expect("it is a pattern");
        (0..self.below(3)).map(|_| Export { to: self.tenant(), callbacks: callbacks.clone() }).collect()
    }

    /// All that the second tenant exports, into the first.
    pub fn import() -> Import {
        let callbacks = NameGlob::parse("*").expect("it is a pattern");
        Import { into: TenantName::default(), from: Self::other(), callbacks }
    }

    /// The same, or what makes no sense.
    fn imports(&mut self) -> Vec<Import> {
        (0..self.below(3)).map(|_| Import { into: self.tenant(), ..Self::import() }).collect()
    }

    /// The name of one.
    pub fn name(&mut self) -> ProcessName {
        let at = usize::from(self.below(3));
        ProcessName::new(NAMES[at]).expect("these are names")
    }

    /// One of the callbacks.
    pub fn callback(&mut self) -> CallbackName {
        let at = usize::from(self.below(3));
        CallbackName::parse(CALLBACKS[at]).expect("these are names")
    }

    /// What all of them are: `func(a: u8) -> u8`, or with streams.
    pub fn signature(streams: bool) -> Arc<Signature> {
        let mut types = SignatureBuilder::new();
        let ty = if streams { types.stream(Some(Type::U8)) } else { Type::U8 };
        Arc::new(types.function([("a", ty)], Some(ty)).expect("these are types of WIT"))
    }

    /// The callbacks of a process.
    pub fn table() -> Bytes {
        let callbacks = (0..).zip(CALLBACKS).map(|(at, name)| {
            let name = CallbackName::parse(name).expect("these are names");
            (name, u32::from(at == 2))
        });
        let signatures = vec![Self::signature(false), Self::signature(true)];
        payload(&CallbackTable { signatures, callbacks: callbacks.collect() })
    }

    /// A few streams.
    pub fn flows(&mut self) -> Flows {
        let count = self.below(3);
        (0..count).map(|_| [Flow::Bytes, Flow::Items, Flow::One][usize::from(self.below(3))]).collect()
    }

    /// A piece of a stream.
    pub fn chunk(&mut self) -> Chunk {
        let bytes = self.bytes();
        let count = if self.flag() { 1 } else { u32::try_from(bytes.len()).unwrap_or(1) };
        Chunk { count, bytes }
    }

    /// An error.
    pub fn error(&mut self) -> CallError {
        match self.below(3) {
            0 => CallError::not_run("overloaded", "no", "a"),
            1 => CallError::failed("trap", "no", "a"),
            _ => CallError::unknown("link-lost", "no", "a"),
        }
    }

    /// Any frame: one that was read from bytes, or one that fits a little better.
    pub fn frame(&mut self) -> Frame {
        if self.below(8) == 0 {
            let bytes = self.bytes();
            if let Ok((header, rest)) = postcard::take_from_bytes::<Header>(&bytes) {
                return Frame::with_payload(header, Bytes::copy_from_slice(rest));
            }
        }
        let header = self.header();
        let payload = match &header {
            Header::Hello { .. } => payload(&self.hello()),
            Header::Register { .. } | Header::Entry { .. } if !self.data.is_empty() => Self::table(),
            Header::Fail { .. } | Header::Halt { .. } | Header::End { last: LastWord::Failed, .. } => {
                payload(&self.error())
            }
            Header::Call { target: Target::Tasks(_) | Target::TasksHere(_), .. } if self.below(8) != 0 => {
                payload(&self.task_op())
            }
            Header::Usage { .. } if self.flag() => Usage::default().encode().into(),
            Header::Usage { .. }
            | Header::Items { .. }
            | Header::Call { .. }
            | Header::Reply { .. }
            | Header::Loads { .. } => self.bytes(),
            _ => Bytes::new(),
        };
        Frame::with_payload(header, payload)
    }

    /// Who a node says it is.
    pub fn hello(&mut self) -> Hello {
        use daffi_proto::id::NodeKey;
        use daffi_proto::session::{FEATURES, Role};
        let role = if self.below(4) == 0 { Role::Client } else { Role::Node };
        let key = NodeKey([self.below(3); 16]);
        let tenants = if self.below(8) == 0 { Vec::new() } else { vec![TenantName::default()] };
        let name = "node".to_owned();
        Hello {
            features: FEATURES,
            key,
            name,
            role,
            tenants: tenants.into_iter().collect(),
            max_payload_bytes: 1 << 20,
            imports: self.imports(),
        }
    }

    fn header(&mut self) -> Header {
        match self.below(30) {
            0 => Header::Hello { version: daffi_proto::session::PROTOCOL_VERSION },
            1 => Self::welcome(),
            2 => Header::Ping,
            3 => Header::Pong,
            4 | 5 => Header::Register {
                number: self.number(),
                process: self.process(),
                instances: "singleton".into(),
                exports: self.exports(),
            },
            6 => Header::Registered { number: self.number(), entry: self.entry() },
            7 => Header::NotRegistered {
                number: self.number(),
                code: "name-taken".into(),
                message: "no".into(),
                retryable: self.flag(),
            },
            8 => Header::Unregister { number: self.number() },
            9 | 10 => {
                let groups = (0..3).map(|_| self.group()).collect();
                let (entry, process, exports) = (self.entry(), self.process(), self.exports());
                let host = self.flag().then(|| self.session());
                Header::Entry {
                    entry,
                    process,
                    node: "node".into(),
                    instances: "singleton".into(),
                    groups,
                    exports,
                    host,
                }
            }
            11 => Header::Gone { entry: self.entry() },
            12 => Header::Synced,
            13..=16 => self.call(),
            17 => {
                Header::Reply { id: self.id(), process: Some(self.name()), open: self.flag(), channels: self.flows() }
            }
            18 => Header::Fail { id: self.id(), runs_on: self.flag() },
            19 => Header::Cancel { id: self.id(), lost: self.flag() },
            20 => Header::Ended { id: self.id() },
            21 => Header::Load { number: self.number(), load: Load::default(), apart: u32::from(self.below(4)) },
            22 => Header::ListLoads {
                id: u64::from(self.below(4)),
                detail: [Detail::Load, Detail::Usage][usize::from(self.below(2))],
            },
            23 => Header::Accepted { id: self.id(), process: Some(self.name()) },
            24 => Header::Items { stream: self.stream(), count: u32::from(self.below(4)) },
            25 => {
                let last = [LastWord::Finished, LastWord::Failed, LastWord::Stopped][usize::from(self.below(3))];
                Header::End { stream: self.stream(), last }
            }
            26 => {
                let total = Credit { items: u64::from(self.below(255)) * 16, bytes: u64::from(self.below(255)) * 4096 };
                Header::Grant { stream: self.stream(), total }
            }
            27 => Header::Done { stream: self.stream() },
            28 => Header::Halt { stream: self.stream() },
            _ => {
                let want = Header::Want { stream: self.stream(), bytes: u64::from(self.below(255)) * 4096 };
                let usage = Header::Usage { number: self.number() };
                if self.flag() {
                    return self.of_meetings();
                }
                [Header::Drain, Header::Leave, want, usage][usize::from(self.below(4))].clone()
            }
        }
    }

    /// What is said of direct links, and on them.
    fn of_meetings(&mut self) -> Header {
        let (session, number, ticket) = (self.session(), self.number(), Ticket([self.below(2); 16]));
        let at = vec!["unix:///node".to_owned(); usize::from(self.below(3))];
        match self.below(10) {
            9 => Header::Busy { entry: self.entry(), calls: number },
            0 => Header::Reachable { at },
            1 => Header::Meet { session },
            2 => Header::Meeting { session, at, ticket, identity: None },
            3 => Header::Expect {
                session,
                node: "node".into(),
                ticket,
                mark: NodeMark([0; 16]),
                max_payload_bytes: 1 << 20,
                identity: ProcessName::new("node").ok(),
            },
            4 => Header::Vouch { session, number, process: self.process() },
            5 => Header::Unvouch { session, number },
            6 => Header::Forget { session },
            7 => Header::Visit { version: daffi_proto::session::PROTOCOL_VERSION, session, ticket },
            _ => Header::Known { number },
        }
    }

    fn session(&mut self) -> SessionId {
        SessionId(u64::from(self.below(4)))
    }

    fn call(&mut self) -> Header {
        let target = match self.below(6) {
            0 => Target::Any(self.group()),
            1 => Target::Process(self.entry(), self.group()),
            2 => Target::Callback(self.number(), u32::from(self.below(4))),
            3 => Target::Tasks(self.entry()),
            4 => Target::Direct(self.entry(), u32::from(self.below(4))),
            _ => Target::TasksHere(self.number()),
        };
        let process = self.flag().then(|| self.process());
        let chain = (0..=self.below(2)).map(|instance| Hop { process: process.clone(), instance: instance.into() });
        let chain = chain.collect();
        let answer = [Answer::Result, Answer::Accepted, Answer::Sent][usize::from(self.below(3))];
        let mode = if self.below(4) == 0 { Mode::Each } else { Mode::Whole };
        let timeout_ms = u64::from(self.below(100)) * 50;
        Header::Call { id: self.id(), target, timeout_ms, chain, answer, mode, channels: self.flows(), key: None }
    }

    fn task_op(&mut self) -> TaskOp {
        let task = TaskNumber(u64::from(self.below(4)));
        match self.below(5) {
            0 => TaskOp::List(self.flag().then_some(task)),
            1 => TaskOp::Get(task),
            2 => TaskOp::Cancel(task),
            _ => {
                let fingerprint = Self::signature(false).fingerprint();
                let mut spec = TaskSpec::new(self.callback(), fingerprint, Bytes::from_static(&[7]), self.plan());
                spec.timeout = Duration::from_millis(u64::from(self.below(100)) * 10);
                TaskOp::Add(Box::new(spec))
            }
        }
    }

    /// When something is to run.
    pub fn plan(&mut self) -> Plan {
        if self.flag() {
            return Plan::Every(Duration::from_millis(u64::from(self.below(255)) * 5));
        }
        let times = (0..self.below(4)).map(|_| Utc::default().plus(Duration::from_secs(u64::from(self.below(255)))));
        Plan::At(times.collect())
    }

    /// What a controller greets with.
    pub fn welcome() -> Header {
        Header::Welcome {
            features: 0,
            session: SessionId(1),
            heartbeat_ms: 2000,
            missed_heartbeats: 3,
            grace_ms: 5000,
            max_payload_bytes: 1 << 20,
        }
    }

    fn id(&mut self) -> CallId {
        CallId(u64::from(self.below(12)))
    }

    fn entry(&mut self) -> EntryId {
        EntryId(u64::from(self.below(8)))
    }

    fn group(&mut self) -> GroupId {
        GroupId(u64::from(self.below(6)))
    }

    fn number(&mut self) -> u32 {
        u32::from(self.below(4))
    }

    fn stream(&mut self) -> StreamRef {
        let from = if self.flag() { Side::Caller } else { Side::Callee };
        StreamRef { call: self.id(), from, number: u32::from(self.below(3)) }
    }
}
