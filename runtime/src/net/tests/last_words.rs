//! Links to which nothing can be written any more: what the peer said last is heard all the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{Answer, CallRequest, CallbackSpec, Caller, Hop};
use daffi_proto::controller::ControllerConfig;
use daffi_proto::error::{CallError, code};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, GroupId, ProcessName, ProcessRef, TenantName};
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::session::{HEARTBEAT, MISSED_HEARTBEATS, PeerIdentity, Role};
use daffi_proto::signature::Signature;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{link, node_config};
use crate::mesh::driver::Driver;
use crate::mesh::handle::LinkState;
use crate::mesh::hub::{Hub, NewLink};
use crate::mesh::uplink;

const CALLBACK: &str = "test:mesh/talk#nod";

fn signature() -> Signature {
    Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false }
}

fn far() -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new("far").unwrap() }
}

fn table() -> Bytes {
    let callback = CallbackSpec { name: CALLBACK.parse().unwrap(), signature: Arc::new(signature()) };
    CallbackTable::encode(&[Callback::new(&callback)]).unwrap()
}

fn request() -> CallRequest {
    CallRequest {
        accepts: Arc::from([signature().fingerprint()]),
        timeout: Duration::from_secs(30),
        ..CallRequest::new(Caller::Client { tenant: TenantName::default() }, Arc::from([CALLBACK.parse().unwrap()]))
    }
}

#[tokio::test]
async fn a_node_hears_what_its_controller_said_last_though_it_cannot_write_any_more() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (uplink, dialing) = uplink::channel();
    let (mesh, driver) = Driver::new(node_config(), "the test".to_owned(), uplink, tasks.clone());
    tasks.spawn(driver.run(cancel.clone()));
    let (near, mut controller) = link(&tasks);
    dialing.connected(near).await;
    let heartbeat_ms = u32::try_from(HEARTBEAT.as_millis()).unwrap();
    controller.greet_node(heartbeat_ms, MISSED_HEARTBEATS).await;
    let (instances, groups) = ("singleton".to_owned(), vec![GroupId(1)]);
    let entry = Header::Entry {
        entry: EntryId(1),
        process: far(),
        node: "there".to_owned(),
        instances,
        groups,
        exports: Vec::new(),
        host: None,
    };
    controller.write(Frame::with_payload(entry, table())).await;
    controller.write(Frame::new(Header::Synced)).await;
    mesh.link().wait_for(|state| *state == LinkState::Up).await.unwrap();

    let mut first = Box::pin(mesh.call(request()));
    assert!(futures::poll!(&mut first).is_pending());
    let Header::Call { id, .. } = controller.read_until("Call").await.header else { unreachable!() };
    controller.reader = None;
    let mut second = Box::pin(mesh.call(request()));
    assert!(futures::poll!(&mut second).is_pending());
    // Where it was not done at the driver's desk, the driver's task has its turn now.
    tokio::task::yield_now().await;
    let answer = Header::Reply { id, process: Some(far().name), open: false, channels: [].into() };
    controller.write(Frame::with_payload(answer, Bytes::from_static(b"last words"))).await;
    drop(controller);
    assert_eq!(first.await.unwrap().result.as_ref(), b"last words");
    assert_eq!(second.await.unwrap_err().code, code::LINK_LOST);
    cancel.cancel();
}

#[tokio::test]
async fn a_controller_hears_what_a_node_said_last_though_it_cannot_write_any_more() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (hub, task) = Hub::new(ControllerConfig::new(1), tasks.clone());
    tasks.spawn(task.run(cancel.clone()));
    let (near, mut server) = link(&tasks);
    hub.add(NewLink { link: near, identity: PeerIdentity::Unix { uid: 1, pid: None }, place: None }).await;
    server.greet_controller("server", Role::Node).await;
    let register =
        Header::Register { number: 1, process: far(), instances: "singleton".to_owned(), exports: Vec::new() };
    server.write(Frame::with_payload(register, table())).await;
    server.read_until("Registered").await;
    assert_eq!(*hub.nodes().borrow(), 1);

    let (near, mut client) = link(&tasks);
    hub.add(NewLink { link: near, identity: PeerIdentity::Unix { uid: 1, pid: None }, place: None }).await;
    client.greet_controller("client", Role::Client).await;
    let Header::Entry { entry, groups, .. } = client.read_until("Entry").await.header else { unreachable!() };
    let call = |id| Header::Call {
        id: CallId(id),
        target: Target::Process(entry, groups[0]),
        timeout_ms: 30_000,
        answer: Answer::Result,
        mode: daffi_proto::call::Mode::Whole,
        channels: [].into(),
        key: None,
        chain: [Hop { process: None, instance: 0 }].into(),
    };
    client.write(Frame::new(call(1))).await;
    let Header::Call { id, .. } = server.read_until("Call").await.header else { unreachable!() };
    server.reader = None;
    client.write(Frame::new(call(2))).await;
    client.write(Frame::new(Header::Ping)).await;
    client.read_until("Pong").await; // so the second call was passed on, in vain
    server
        .write(Frame::with_payload(
            Header::Reply { id, process: None, open: false, channels: [].into() },
            Bytes::from_static(b"last words"),
        ))
        .await;
    server.write(Frame::new(Header::Leave)).await;
    drop(server);
    assert_eq!(client.read_until("Reply").await.payload.as_ref(), b"last words");
    let failed = client.read_until("Fail").await;
    assert_eq!(postcard::from_bytes::<CallError>(&failed.payload).unwrap().code, code::LINK_LOST);
    hub.nodes().wait_for(|nodes| *nodes == 0).await.unwrap();
    cancel.cancel();
}
