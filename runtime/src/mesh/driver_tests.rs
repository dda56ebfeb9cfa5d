//! Tests of drivers and a hub together: frames go through links in memory, processes are made up.

#[path = "driver_tests/desk.rs"]
mod desk;
#[path = "driver_tests/detached.rs"]
mod detached;
#[path = "driver_tests/gather.rs"]
mod gather;
#[path = "driver_tests/outbox.rs"]
mod outbox;
#[path = "driver_tests/passing.rs"]
mod passing;
#[path = "driver_tests/streams.rs"]
mod streams;

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{
    CallReply, CallRequest, CallbackSpec, Caller, Incoming, MemberEvent, ProcessSpec, ResolveRequest, ServeResult,
    WaitFor,
};
use daffi_proto::controller::ControllerConfig;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{NodeKey, ProcessName, ProcessRef, ServeId, TenantName};
use daffi_proto::session::Role;
use daffi_proto::signature::{Field, Signature, Type};

use super::core::TURN;
use super::*;
use crate::mesh::handle::{Begin, Serve};
use crate::mesh::hub::{Hub, HubHandle, join_in_memory};
use crate::mesh::link::LinkLimits;
use crate::mesh::uplink;

/// A mesh in one test: a hub, and nodes as they are added.
struct Mesh {
    hub: HubHandle,
    tasks: TaskTracker,
    cancel: CancellationToken,
    nodes: u8,
}

struct TestNode {
    mesh: MeshHandle,
    cancel: CancellationToken,
}

impl Mesh {
    fn new() -> Self {
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let (hub, task) = Hub::new(ControllerConfig::new(1), tasks.clone());
        tasks.spawn(task.run(cancel.clone()));
        Self { hub, tasks, cancel, nodes: 0 }
    }

    /// A node with one process `name` that serves `echo` in this way.
    async fn node(&mut self, name: &str, service: Arc<dyn Serve>) -> TestNode {
        let (node, dialing) = self.unlinked(name, service).await;
        self.tasks.spawn(join_in_memory(self.hub.clone(), LinkLimits::default(), dialing, node.cancel.clone()));
        node.linked().await
    }

    /// The same without a link, and who is to give it one.
    async fn unlinked(&mut self, name: &str, service: Arc<dyn Serve>) -> (TestNode, uplink::Dialing) {
        self.nodes += 1;
        let config = NodeConfig {
            seed: u64::from(self.nodes),
            ..NodeConfig::new(NodeKey([self.nodes; 16]), format!("node-{}", self.nodes), Role::Node)
        };
        let (uplink, dialing) = uplink::channel();
        let cancel = self.cancel.child_token();
        let (mesh, driver) = Driver::new(config, "the test".to_owned(), uplink, self.tasks.clone());
        self.tasks.spawn(driver.run(cancel.clone()));
        mesh.add_process(spec(name), service).await.unwrap();
        (TestNode { mesh, cancel }, dialing)
    }

    /// Ends everything; no task may be left.
    async fn end(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn signature() -> Signature {
    let param = Field { name: "text".to_owned(), ty: Type::String };
    Signature { defs: Vec::new(), params: vec![param], result: Some(Type::String), is_async: false }
}

/// How many bytes of large items each process has room for.
const LARGE_BYTES: usize = 64 * 1024 * 1024;

fn spec(name: &str) -> ProcessSpec {
    let callback = CallbackSpec { name: "test:mesh/talk#echo".parse().unwrap(), signature: Arc::new(signature()) };
    ProcessSpec {
        process: ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() },
        callbacks: Arc::from([callback]),
        instances: "singleton".to_owned(),
        schedules: Default::default(),
        large_bytes: LARGE_BYTES,
        max_streams: 256,
        exports: Arc::default(),
    }
}

fn request(receiver: Option<&str>, args: &'static [u8]) -> CallRequest {
    CallRequest {
        accepts: Arc::from([signature().fingerprint()]),
        receiver: receiver.map(|receiver| ProcessName::new(receiver).unwrap()),
        args: Bytes::from_static(args),
        timeout: Duration::from_secs(30),
        wait_ready: true,
        ..CallRequest::new(
            Caller::Client { tenant: TenantName::default() },
            Arc::from(["test:mesh/talk#echo".parse().unwrap()]),
        )
    }
}

impl TestNode {
    async fn linked(self) -> Self {
        self.mesh.link().wait_for(|state| *state == LinkState::Up).await.unwrap();
        self
    }

    async fn call(&self, receiver: &str, args: &'static [u8]) -> Result<CallReply, CallError> {
        self.mesh.call(request(Some(receiver), args)).await
    }
}

/// Answers at once with the arguments.
struct Echo;

impl Serve for Echo {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        Some(Ok(incoming.args))
    }
    fn cancel(&self, _: ServeId) {}
}

/// Answers at once with the arguments, after a computation that takes its time.
struct Slow {
    begun: watch::Sender<u32>,
}

impl Serve for Slow {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        self.begun.send_modify(|begun| *begun += 1);
        let began = Instant::now();
        while began.elapsed() < TURN {
            std::hint::spin_loop();
        }
        Some(Ok(incoming.args))
    }
    fn cancel(&self, _: ServeId) {}
}

/// Keeps calls until the test answers them.
struct Keeper {
    kept: mpsc::UnboundedSender<ServeId>,
    cancelled: Mutex<Vec<ServeId>>,
    noticed: mpsc::UnboundedSender<()>,
}

impl Keeper {
    fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<ServeId>, mpsc::UnboundedReceiver<()>) {
        let (kept, calls) = mpsc::unbounded_channel();
        let (noticed, notices) = mpsc::unbounded_channel();
        (Arc::new(Self { kept, cancelled: Mutex::default(), noticed }), calls, notices)
    }
}

impl Serve for Keeper {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        self.kept.send(incoming.id).unwrap();
        None
    }
    fn cancel(&self, id: ServeId) {
        self.cancelled.lock().unwrap().push(id);
        self.noticed.send(()).unwrap();
    }
}

#[tokio::test]
async fn a_call_goes_through_the_hub_to_the_other_node_and_back() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let reply = a.call("b", b"\x05hello").await.unwrap();
    assert_eq!((reply.result.as_ref(), reply.process.as_str()), (&b"\x05hello"[..], "b"));
    mesh.end().await;
}

#[tokio::test]
async fn many_calls_at_once_are_all_answered() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let calls = futures::future::join_all((0..1000).map(|_| a.call("b", b"\x01x")));
    assert!(calls.await.into_iter().all(|reply| reply.is_ok()));
    mesh.end().await;
}

#[tokio::test]
async fn an_answer_that_comes_later_arrives_too() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", keeper).await;
    let serving = async {
        let id = calls.recv().await.unwrap();
        b.mesh.served(id, Ok(Bytes::from_static(b"\x02ok"))).await;
    };
    let (reply, ()) = tokio::join!(a.call("b", b"\x01x"), serving);
    assert_eq!(reply.unwrap().result.as_ref(), b"\x02ok");
    mesh.end().await;
}

#[tokio::test]
async fn dropping_a_call_cancels_it_at_the_process_that_serves_it() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, mut notices) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", keeper.clone()).await;
    let id = tokio::select! {
        _ = a.call("b", b"\x01x") => panic!("nobody answers"),
        id = calls.recv() => id.unwrap(),
    };
    notices.recv().await.unwrap();
    assert_eq!(*keeper.cancelled.lock().unwrap(), [id]);
    mesh.end().await;
}

#[tokio::test]
async fn when_a_node_goes_its_callers_hear_at_once_that_nobody_knows() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", keeper).await;
    let lost = async {
        calls.recv().await.unwrap();
        b.cancel.cancel();
    };
    let (reply, ()) = tokio::join!(a.call("b", b"\x01x"), lost);
    let error = reply.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::LINK_LOST));
    mesh.end().await;
}

#[tokio::test]
async fn a_call_that_the_driver_had_when_it_ended_may_have_run_and_one_that_comes_later_did_not() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", keeper).await;
    let ending = async {
        calls.recv().await.unwrap();
        a.cancel.cancel();
    };
    let (reply, ()) = tokio::join!(a.call("b", b"\x01x"), ending);
    let error = reply.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str(), error.retryable), (Outcome::Unknown, code::LINK_LOST, false));
    assert_eq!(error.callback, "test:mesh/talk#echo");
    let error = a.call("b", b"\x01x").await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NOT_CONNECTED));
    mesh.end().await;
}

#[tokio::test]
async fn draining_waits_for_what_is_in_flight_and_leaving_frees_the_name() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", keeper).await;
    let ending = async {
        let id = calls.recv().await.unwrap();
        let mut drain = std::pin::pin!(b.mesh.drain());
        tokio::select! {
            biased;
            () = &mut drain => panic!("a call is in flight"),
            () = tokio::task::yield_now() => {}
        }
        b.mesh.served(id, Ok(Bytes::from_static(b"\x00"))).await;
        drain.await;
        b.mesh.leave().await;
    };
    let (reply, ()) = tokio::join!(a.call("b", b"\x01x"), ending);
    assert!(reply.is_ok());
    let _again = mesh.node("b", Arc::new(Echo)).await;
    assert!(a.call("b", b"\x01x").await.is_ok());
    mesh.end().await;
}

#[tokio::test]
async fn a_name_that_another_node_holds_is_refused_for_good() {
    let mut mesh = Mesh::new();
    let _first = mesh.node("same", Arc::new(Echo)).await;
    let (uplink, dialing) = uplink::channel();
    let config = NodeConfig { seed: 9, ..NodeConfig::new(NodeKey([99; 16]), "second", Role::Node) };
    let (second, driver) = Driver::new(config, "the test".to_owned(), uplink, mesh.tasks.clone());
    mesh.tasks.spawn(driver.run(mesh.cancel.clone()));
    second.add_process(spec("same"), Arc::new(Echo)).await.unwrap();
    mesh.tasks.spawn(join_in_memory(mesh.hub.clone(), LinkLimits::default(), dialing, mesh.cancel.clone()));
    let mut link = second.link();
    let state = link.wait_for(|state| !matches!(state, LinkState::Down { .. })).await.unwrap().clone();
    assert!(matches!(&state, LinkState::Refused { message, .. } if message.contains("same")), "{state:?}");
    mesh.end().await;
}

#[tokio::test]
async fn questions_are_answered() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let tenant = TenantName::default;
    let b = WaitFor::Process(ProcessName::new("b").unwrap());
    a.mesh.wait(Caller::Client { tenant: tenant() }, b, Duration::from_secs(30)).await.unwrap();
    let question = ResolveRequest {
        caller: Caller::Client { tenant: tenant() },
        pattern: "echo".to_owned(),
        receiver: None,
        timeout: Duration::from_secs(30),
        spent: Duration::ZERO,
        wait_ready: false,
    };
    assert_eq!(a.mesh.resolve(question).await.unwrap().callback.to_string(), "test:mesh/talk#echo");
    let names: Vec<_> =
        a.mesh.processes(tenant()).await.unwrap().iter().map(|process| process.process.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    mesh.end().await;
}

#[tokio::test]
async fn a_call_beyond_the_open_ones_is_refused_at_once() {
    let mut mesh = Mesh::new();
    let (keeper, _calls, _) = Keeper::new();
    let a = mesh.node("a", keeper).await;
    let mut open: Vec<_> = Vec::new();
    for _ in 0..super::super::handle::MAX_OPEN_REQUESTS {
        let mut call = Box::pin(a.call("nobody", b"\x01x"));
        assert!(futures::poll!(&mut call).is_pending());
        open.push(call);
        tokio::task::consume_budget().await;
    }
    let error = a.call("nobody", b"\x01x").await.unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED));
    drop(open);
    mesh.end().await;
}

#[tokio::test]
async fn the_hub_tells_how_many_nodes_of_others_are_there() {
    let mut mesh = Mesh::new();
    let _own = mesh.node("own", Arc::new(Echo)).await;
    assert_eq!(*mesh.hub.nodes().borrow(), 0, "the node in the controller's own runtime does not count");
    mesh.end().await;
}

#[tokio::test]
async fn a_watch_tells_of_processes_that_come_and_go_and_ends_with_its_owner() {
    let mut mesh = Mesh::new();
    let first = mesh.node("first", Arc::new(Echo)).await;
    let mut watch = first.mesh.watch(TenantName::default()).await.unwrap();
    let mut next = async || match watch.next().await.unwrap().unwrap() {
        MemberEvent::Joined(member) => format!("{} is there", member.name),
        MemberEvent::CallbacksChanged(member) => format!("{} changed", member.name),
        MemberEvent::Left { name, .. } => format!("{name} left"),
    };
    assert_eq!(next().await, "first is there");
    let second = mesh.node("second", Arc::new(Echo)).await;
    assert_eq!(next().await, "second is there");
    second.cancel.cancel();
    assert_eq!(next().await, "second left");
    first.cancel.cancel();
    assert!(watch.next().await.is_none());
    mesh.end().await;
}

#[tokio::test]
async fn calls_that_take_their_time_leave_turns_to_what_else_comes() {
    const CALLS: u32 = 200;
    let mut mesh = Mesh::new();
    let (begun, mut count) = watch::channel(0);
    let slow = mesh.node("slow", Arc::new(Slow { begun })).await;
    let other = mesh.node("other", Arc::new(Echo)).await;
    // Many calls as frames and one as a request; then the other way round.
    for (many, one) in [(&other, &slow), (&slow, &other)] {
        let before = *count.borrow_and_update();
        let calls = futures::future::join_all((0..CALLS).map(|_| many.call("slow", b"\x02hi")));
        let one = async {
            count.wait_for(|&begun| begun > before).await.unwrap();
            one.call("slow", b"\x02hi").await.unwrap();
            *count.borrow() - before
        };
        let (answers, begun_meanwhile) = tokio::join!(calls, one);
        assert!(answers.iter().all(Result::is_ok));
        assert!(begun_meanwhile < CALLS / 2, "{begun_meanwhile} calls came before the one");
    }
    mesh.end().await;
}
