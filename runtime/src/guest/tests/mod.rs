//! Modules on a mesh that the test plays: what the driver would hand in comes from the test, and what guests ask goes
//! to the test.

mod calls;
mod dynamic;
mod housekeeping;
mod imports;
mod inline;
mod interleaved;
mod leftovers;
mod lifecycle;
mod limits;
mod open_calls;
mod runs;
mod spare;
mod storm;
mod strangers;
mod traces;
mod world;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daffi_proto::call::{CallReply, CallRequest, Hop, Incoming, Load, ResolveRequest, Resolved, ServeResult};
use daffi_proto::error::CallError;
use daffi_proto::id::{LocalId, ProcessName, ProcessRef, ServeId, TenantName};
use daffi_proto::stream::Flows;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::component::{LoadOptions, Loaded, load};
use super::engine::{AllocatorChoice, EngineConfig, Engines};
use super::limits::InstancePolicy;
use super::module::{GuestModule, ModuleSpec};
use super::output::Output;
use crate::mesh::handle::{Answer, Asks, Begin, LinkState, MeshHandle, Request, Serve, StreamingReply};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

/// The engines of all tests; they live as long as their clock is to tick.
pub static ENGINES: LazyLock<Engines> = LazyLock::new(|| {
    Engines::new(EngineConfig { allocator: AllocatorChoice::OnDemand, ..EngineConfig::default() }).unwrap()
});

/// Loads a component from its text.
pub fn component(text: &str) -> Loaded {
    let bytes = wat::parse_str(text).unwrap();
    load(&ENGINES, "test", &bytes, &LoadOptions::default()).unwrap()
}

/// A call that a guest makes, waiting for the test's answer.
pub struct Asked {
    pub request: CallRequest,
    reply: oneshot::Sender<Answer>,
}

impl Asked {
    /// Answers with this value, as a callback of the signature that the caller prefers.
    pub fn answer(self, result: &impl Serialize) {
        let fingerprint = *self.request.accepts.first().unwrap();
        self.answer_as(result, fingerprint);
    }

    pub fn answer_as(self, result: &impl Serialize, fingerprint: daffi_proto::signature::Fingerprint) {
        let result = postcard::to_stdvec(result).unwrap().into();
        let process = ProcessName::new("peer").unwrap();
        let reply = CallReply { result, fingerprint, process, channels: Flows::default() };
        let _ = self.reply.send(Ok(StreamingReply { reply, readers: Vec::new() }));
    }

    pub fn fail(self, error: CallError) {
        let _ = self.reply.send(Err(error));
    }

    /// Whether the caller has gone.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Resolves when the caller gives up.
    pub async fn abandoned(mut self) {
        self.reply.closed().await;
    }
}

/// A name that a guest looks up, waiting for the test's answer.
pub struct Question {
    pub request: ResolveRequest,
    reply: oneshot::Sender<Result<Resolved, CallError>>,
}

impl Question {
    pub fn answer(self, answer: Result<Resolved, CallError>) {
        let _ = self.reply.send(answer);
    }
}

/// The calls that are not over.
type Answers = Arc<Mutex<HashMap<ServeId, InFlight>>>;

/// Who waits for a call.
struct InFlight {
    /// Its caller, until he is told.
    answer: Option<oneshot::Sender<ServeResult>>,
    over: oneshot::Sender<()>,
}

/// A module under test and the mesh that the test plays.
pub struct Bench {
    pub module: Arc<GuestModule>,
    pub asked: mpsc::UnboundedReceiver<Asked>,
    pub questions: mpsc::UnboundedReceiver<Question>,
    pub loads: watch::Receiver<Load>,
    link: watch::Sender<LinkState>,
    service: Arc<dyn Serve>,
    answers: Answers,
    callbacks: Vec<String>,
    epoch: Instant,
    next_id: u64,
}

/// A call as the driver would hand it in.
pub struct Call {
    callback: &'static str,
    args: Bytes,
    timeout: Duration,
    chain: Vec<Hop>,
}

/// Calls this with these arguments.
pub fn call(callback: &'static str, args: &impl Serialize) -> Call {
    Call { callback, args: postcard::to_stdvec(args).unwrap().into(), timeout: LONG, chain: Vec::new() }
}

impl Call {
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub fn raw(mut self, args: &'static [u8]) -> Self {
        self.args = Bytes::from_static(args);
        self
    }

    /// As made by this instance of this process.
    pub fn from(mut self, process: &str, instance: u32) -> Self {
        let process = Some(process_ref(process));
        self.chain.push(Hop { process, instance });
        self
    }

    /// As made by this process of another tenant.
    pub fn made_by(mut self, tenant: &str, process: &str) -> Self {
        let process = ProcessRef { tenant: TenantName::new(tenant).unwrap(), ..process_ref(process) };
        self.chain.push(Hop { process: Some(process), instance: 0 });
        self
    }
}

/// What serving came to.
pub enum Served {
    AtOnce(ServeResult),
    /// With what the caller is told, and the end of the call.
    Later(ServeId, oneshot::Receiver<ServeResult>, oneshot::Receiver<()>),
}

impl Served {
    pub async fn result(self) -> ServeResult {
        match self {
            Self::AtOnce(result) => result,
            Self::Later(_, answer, _) => tokio::time::timeout(LONG, answer).await.unwrap().unwrap(),
        }
    }

    /// What the caller of a call is told that was not answered at once.
    pub async fn answer(&mut self) -> ServeResult {
        match self {
            Self::AtOnce(_) => panic!("answered at once"),
            Self::Later(_, answer, _) => tokio::time::timeout(LONG, answer).await.unwrap().unwrap(),
        }
    }

    /// Resolves when the call is really over.
    pub async fn end(&mut self) {
        if let Self::Later(_, _, over) = self {
            tokio::time::timeout(LONG, over).await.unwrap().unwrap();
        }
    }

    pub fn id(&self) -> ServeId {
        match self {
            Self::AtOnce(_) => panic!("answered at once"),
            Self::Later(id, ..) => *id,
        }
    }

    pub fn is_at_once(&self) -> bool {
        matches!(self, Self::AtOnce(_))
    }
}

pub fn process_ref(name: &str) -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() }
}

pub fn value<T: serde::de::DeserializeOwned>(result: ServeResult) -> T {
    postcard::from_bytes(&result.unwrap()).unwrap()
}

impl Bench {
    pub async fn new(text: &str, policy: InstancePolicy) -> Self {
        Self::with(text, policy, |_| ()).await
    }

    pub async fn with(text: &str, policy: InstancePolicy, change: impl FnOnce(&mut ModuleSpec)) -> Self {
        Self::on(Handle::current(), text, policy, change).await
    }

    /// With threads of their own for guests.
    pub async fn on(guests: Handle, text: &str, policy: InstancePolicy, change: impl FnOnce(&mut ModuleSpec)) -> Self {
        let loaded = component(text);
        let epoch = Instant::now();
        let (link, link_state) = watch::channel(LinkState::Down { reason: "not yet".to_owned() });
        let (mesh, asks) = MeshHandle::new(epoch, link_state);
        let answers = Arc::new(Mutex::new(HashMap::new()));
        let (ask, asked) = mpsc::unbounded_channel();
        let (wonder, questions) = mpsc::unbounded_channel();
        let (tell_load, loads) = watch::channel(Load::default());
        let (give_service, service) = oneshot::channel();
        tokio::spawn(play_driver(asks, answers.clone(), ask, wonder, tell_load, give_service));
        let mut spec = ModuleSpec::plain(process_ref("own"), policy);
        change(&mut spec);
        let module = GuestModule::start(&loaded, spec, mesh, guests, Output::none()).await.unwrap();
        let callbacks = loaded.description.callbacks.iter().map(|callback| callback.name.to_string()).collect();
        let service = service.await.unwrap();
        Self { module, asked, questions, loads, link, service, answers, callbacks, epoch, next_id: 0 }
    }

    /// Hands in a call as the driver does.
    pub fn serve(&mut self, call: Call) -> Served {
        let id = ServeId(self.next_id);
        self.next_id += 1;
        let (tell, answer) = oneshot::channel();
        let (end, over) = oneshot::channel();
        self.answers.lock().unwrap().insert(id, InFlight { answer: Some(tell), over: end });
        let callback = self.callbacks.iter().position(|name| name == call.callback).unwrap();
        let incoming = Incoming {
            id,
            process: LocalId(7),
            callback: callback as u32,
            args: call.args,
            caller: call.chain.last().and_then(|hop| hop.process.clone()),
            chain: call.chain.into(),
            deadline: self.epoch.elapsed() + call.timeout,
            answer: daffi_proto::call::Answer::Result,
            channels: Flows::default(),
        };
        match self.service.serve(incoming, Begin::Here) {
            Some(result) => {
                self.answers.lock().unwrap().remove(&id).expect("a call is answered once");
                Served::AtOnce(result)
            }
            None => Served::Later(id, answer, over),
        }
    }

    /// How many calls are not over yet.
    pub fn in_flight(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    pub async fn call(&mut self, call: Call) -> ServeResult {
        self.serve(call).result().await
    }

    pub fn cancel(&self, served: &Served) {
        self.service.cancel(served.id());
    }

    pub fn link(&self, state: LinkState) {
        self.link.send_replace(state);
    }

    pub async fn next_asked(&mut self) -> Asked {
        tokio::time::timeout(LONG, self.asked.recv()).await.unwrap().unwrap()
    }

    pub async fn next_question(&mut self) -> Question {
        tokio::time::timeout(LONG, self.questions.recv()).await.unwrap().unwrap()
    }
}

async fn play_driver(
    mut asks: Asks,
    answers: Answers,
    ask: mpsc::UnboundedSender<Asked>,
    wonder: mpsc::UnboundedSender<Question>,
    loads: watch::Sender<Load>,
    give_service: oneshot::Sender<Arc<dyn Serve>>,
) {
    let mut give_service = Some(give_service);
    let mut waiting = Vec::new();
    while let Some(request) = asks.requests.recv().await {
        match request {
            Request::AddProcess { service, reply, .. } => {
                let _ = reply.send(Ok(LocalId(7)));
                let _ = give_service.take().unwrap().send(service);
            }
            Request::Answered { id, error } => {
                // One that has ended meanwhile is not told any more, as at the node.
                if let Some(call) = answers.lock().unwrap().get_mut(&id) {
                    let _ = call.answer.take().expect("a caller is told once").send(Err(error));
                }
            }
            Request::Served { id, result } => {
                let call = answers.lock().unwrap().remove(&id).expect("a call ends once");
                call.answer.map(|answer| answer.send(result));
                let _ = call.over.send(());
            }
            Request::Call { request, reply, .. } => {
                let _ = ask.send(Asked { request: *request, reply });
            }
            Request::Resolve { request, reply, .. } => {
                let _ = wonder.send(Question { request, reply });
            }
            Request::Load { load, .. } => {
                loads.send_replace(load);
            }
            Request::Wait { reply, .. } => waiting.push(reply),
            _ => {}
        }
    }
}
