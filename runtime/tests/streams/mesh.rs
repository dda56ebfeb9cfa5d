//! Modules on a mesh whose other side is the test: what comes from peers that keep no rules.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{CallRequest, CallbackSpec, Caller, Incoming, ProcessSpec, ServeResult};
use daffi_proto::controller::ControllerConfig;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{NodeKey, ProcessName, ProcessRef, ServeId, TenantName};
use daffi_proto::name::CallbackName;
use daffi_proto::node::NodeConfig;
use daffi_proto::session::Role;
use daffi_proto::signature::Signature;
use daffi_proto::stream::{Chunk, Ending, Flow};
use daffi_runtime::guest::component::{LoadOptions, Loaded, load};
use daffi_runtime::guest::engine::{AllocatorChoice, EngineConfig, Engines};
use daffi_runtime::guest::grants::Grants;
use daffi_runtime::guest::limits::{InstancePolicy, ModuleLimits};
use daffi_runtime::guest::module::{GuestModule, ModuleSpec};
use daffi_runtime::guest::output::Output;
use daffi_runtime::mesh::driver::Driver;
use daffi_runtime::mesh::handle::{Begin, LinkState, MeshHandle, Serve, StreamReader, StreamingCall};
use daffi_runtime::mesh::hub::{Hub, join_in_memory};
use daffi_runtime::mesh::link::LinkLimits;
use daffi_runtime::mesh::uplink;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::guest::{chunk, component};

fn process(name: &str) -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() }
}

/// A module, and the node that the test has in common with it.
struct OnMesh {
    loaded: Loaded,
    mesh: MeshHandle,
    module: Arc<GuestModule>,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

impl OnMesh {
    async fn new(name: &str, policy: InstancePolicy) -> Self {
        let config = EngineConfig { allocator: AllocatorChoice::OnDemand, ..EngineConfig::default() };
        let bytes = std::fs::read(component(name)).unwrap();
        let loaded = load(&Engines::new(config).unwrap(), name, &bytes, &LoadOptions::default()).unwrap();
        let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
        let (hub, running) = Hub::new(ControllerConfig::new(1), tasks.clone());
        tasks.spawn(running.run(cancel.clone()));
        let config = NodeConfig { seed: 1, ..NodeConfig::new(NodeKey([1; 16]), "node", Role::Node) };
        let (uplink, dialing) = uplink::channel();
        let (mesh, driver) = Driver::new(config, "the test".to_owned(), uplink, tasks.clone());
        tasks.spawn(driver.run(cancel.clone()));
        tasks.spawn(join_in_memory(hub, LinkLimits::default(), dialing, cancel.clone()));
        mesh.link().wait_for(|state| *state == LinkState::Up).await.unwrap();
        let spec = ModuleSpec {
            process: process("module"),
            node: "node".to_owned(),
            policy,
            limits: ModuleLimits::default(),
            on_cancel: None,
            schedules: None,
            ceiling: Arc::new(daffi_runtime::guest::ceiling::Ceiling::none(TenantName::default())),
            share: daffi_runtime::guest::fair::Share::alone(),
            outside: Default::default(),
            exports: Arc::from([]),
            grants: Grants::default(),
        };
        let module = GuestModule::start(&loaded, spec, mesh.clone(), Handle::current(), Output::none()).await.unwrap();
        Self { loaded, mesh, module, tasks, cancel }
    }

    /// Calls a callback of the module with these arguments, and says that there are these streams in them.
    async fn call(&self, callback: &str, args: &'static [u8], flows: &[Flow]) -> StreamingCall {
        let callbacks = &self.loaded.description.callbacks;
        let found = callbacks.iter().find(|found| found.name.to_string().ends_with(callback)).unwrap();
        let request = CallRequest {
            accepts: Arc::from([found.signature.fingerprint()]),
            args: Bytes::from_static(args),
            channels: flows.into(),
            ..CallRequest::new(Caller::Client { tenant: TenantName::default() }, Arc::from([found.name.clone()]))
        };
        self.mesh.start_streaming(request).await.unwrap()
    }

    /// The first of an import's candidates, and its type.
    fn import(&self, function: &str) -> (CallbackName, Arc<Signature>) {
        let fetchers = &self.loaded.description.fetchers;
        let found = fetchers.iter().find(|found| found.place.to_string().ends_with(function)).unwrap();
        (found.candidates.first().unwrap().clone(), found.signature.clone())
    }

    /// Ends everything; no task may be left.
    async fn end(self) {
        self.module.shutdown().await;
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn bad(count: u32, bytes: &'static [u8]) -> Chunk {
    Chunk { count, bytes: Bytes::from_static(bytes) }
}

fn is(error: &CallError, outcome: Outcome, code: &str, says: &[&str]) {
    assert_eq!((error.outcome, error.code.as_str()), (outcome, code), "{error:?}");
    for text in says {
        assert!(error.message.contains(text), "{:?} is not in {:?}", text, error.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_is_no_value_of_its_type_fails_its_call_and_no_other() {
    let on_mesh = OnMesh::new("fixtures-streams", InstancePolicy::Singleton).await;
    let mut bystander = on_mesh.call("readers@0.1.0#sum", &[0], &[Flow::Items]).await;
    bystander.writers[0].write(chunk(&[5_u64, 6])).await.unwrap();

    let mut call = on_mesh.call("readers@0.1.0#sum", &[0], &[Flow::Items]).await;
    call.writers[0].write(chunk(&[1_u64, 2])).await.unwrap();
    call.writers[0].write(bad(2, &[3, 0xff])).await.unwrap();
    let Ending::Cancelled(Some(told)) = call.writers[0].ended().await else { panic!("the writer is told") };
    let says = ["stream 0 of the arguments of fixtures:streams/readers@0.1.0#sum", "[3]: "];
    is(&told, Outcome::Failed, code::BAD_ARGUMENTS, &says);
    is(&call.await.err().unwrap(), Outcome::Failed, code::BAD_ARGUMENTS, &says);

    bystander.writers[0].write(chunk(&[7_u64])).await.unwrap();
    bystander.writers[0].finish();
    let answer = bystander.await.ok().unwrap();
    assert_eq!(postcard::from_bytes::<u64>(&answer.reply.result).unwrap(), 18);
    on_mesh.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_what_is_made_of_a_stream_that_breaks_learns_that_it_is_not_all() {
    for policy in [InstancePolicy::Singleton, InstancePolicy::PerCall] {
        let on_mesh = OnMesh::new("fixtures-streams", policy).await;
        let mut call = on_mesh.call("echo@0.1.0#texts", &[0], &[Flow::Items]).await;
        let mut writers = std::mem::take(&mut call.writers);
        let mut answer = call.await.ok().unwrap();
        writers[0].write(chunk(&["a", "b"])).await.unwrap();
        let first = answer.readers[0].next().await.unwrap().unwrap();
        assert!((1..=2).contains(&first.count));
        writers[0].write(bad(1, &[2, 0xff, 0xff])).await.unwrap();
        let failure = loop {
            match answer.readers[0].next().await {
                Ok(chunk) => assert!(chunk.is_some(), "a part is not the whole"),
                Err(ending) => break ending.error().unwrap(),
            }
        };
        assert_eq!(failure.outcome, Outcome::Failed, "{failure:?}");
        on_mesh.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_with_other_streams_than_the_caller_says_do_not_run() {
    let on_mesh = OnMesh::new("fixtures-streams", InstancePolicy::Singleton).await;
    let none: &[Flow] = &[];
    for (args, flows) in [(&[0][..], none), (&[0], &[Flow::Bytes]), (&[0], &[Flow::Items, Flow::Items])] {
        let mut call = on_mesh.call("readers@0.1.0#sum", args, flows).await;
        let writers = std::mem::take(&mut call.writers);
        let error = call.await.err().unwrap();
        is(&error, Outcome::NotRun, code::BAD_ARGUMENTS, &["not those that the caller has opened"]);
        for mut writer in writers {
            assert_ne!(writer.ended().await, Ending::Finished);
        }
    }
    let error = on_mesh.call("readers@0.1.0#sum", &[1], &[Flow::Items]).await.await.err().unwrap();
    is(&error, Outcome::NotRun, code::BAD_ARGUMENTS, &["items: "]);
    on_mesh.end().await;
}

/// A peer that answers with a stream of these flows, and writes these items.
struct Peer {
    mesh: MeshHandle,
    flows: &'static [Flow],
    items: Chunk,
}

impl Serve for Peer {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        let (mesh, flows, items) = (self.mesh.clone(), self.flows, self.items.clone());
        tokio::spawn(async move {
            let writers = mesh.reply(incoming.id, Bytes::from_static(&[0]), flows.into()).await;
            for mut writer in writers {
                let _ = writer.write(items.clone()).await;
                writer.finish();
            }
            mesh.served(incoming.id, Ok(Bytes::new())).await;
        });
        None
    }

    fn serve_streams(&self, incoming: Incoming, _: Vec<StreamReader>) -> Option<ServeResult> {
        self.serve(incoming, Begin::Here)
    }

    fn cancel(&self, _: ServeId) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_reads_what_is_no_item_of_its_type_traps_with_the_place() {
    let overflow: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
    let cases: [(&'static [Flow], Chunk, &[&str]); 2] = [
        (
            &[Flow::Items],
            bad(1, overflow),
            &["stream 0 of the result of fixtures:streams/writers@0.1.0#count", "[0]: "],
        ),
        (&[Flow::Bytes], bad(1, &[1]), &["streams are not those that it opened"]),
    ];
    for (flows, items, says) in cases {
        let on_mesh = OnMesh::new("fixtures-streamer", InstancePolicy::Singleton).await;
        let (name, signature) = on_mesh.import("writers@0.1.0#count");
        let spec = ProcessSpec {
            process: process("peer"),
            callbacks: Arc::from([CallbackSpec { name, signature }]),
            instances: "none".to_owned(),
            schedules: Default::default(),
            large_bytes: 64 * 1024 * 1024,
            max_streams: 256,
            exports: Arc::from([]),
        };
        let peer = Arc::new(Peer { mesh: on_mesh.mesh.clone(), flows, items });
        on_mesh.mesh.add_process(spec, peer).await.unwrap();
        let args: &[u8] = &[10, 10];
        let answer = on_mesh.call("drive@0.1.0#count", args, &[]).await;
        let error = tokio::time::timeout(Duration::from_secs(60), answer).await.unwrap().err().unwrap();
        is(&error, Outcome::Failed, code::TRAP, says);
        on_mesh.end().await;
    }
}
