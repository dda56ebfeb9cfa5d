//! What is asked in one poll of a guest that asks much goes off together.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::FutureExt;

use super::*;
use crate::mesh::handle::outbox;

/// So many answers a guest waits for that gathers most.
const MANY: usize = 1000;

/// Notes each call's arguments, and keeps the call open.
struct Noting {
    calls: mpsc::UnboundedSender<(ServeId, Bytes)>,
    cancelled: mpsc::UnboundedSender<ServeId>,
}

type Noted = (mpsc::UnboundedReceiver<(ServeId, Bytes)>, mpsc::UnboundedReceiver<ServeId>);

impl Noting {
    fn new() -> (Arc<Self>, Noted) {
        let ((calls, noted), (cancelled, given_up)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        (Arc::new(Self { calls, cancelled }), (noted, given_up))
    }
}

impl Serve for Noting {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        self.calls.send((incoming.id, incoming.args)).unwrap();
        None
    }
    fn cancel(&self, id: ServeId) {
        self.cancelled.send(id).unwrap();
    }
}

/// A node, with a process that notes its calls, which are numbered.
async fn noting(mesh: &mut Mesh) -> (TestNode, Noted) {
    let (service, noted) = Noting::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    node.mesh.add_process(spec("b"), service).await.unwrap();
    (node, noted)
}

fn numbered(number: usize) -> &'static [u8] {
    Box::leak(Box::new([1, u8::try_from(number).unwrap()]))
}

/// Begins calls, which stay open.
fn begin(node: &TestNode, numbers: std::ops::Range<usize>) -> Vec<impl Future<Output = Result<CallReply, CallError>>> {
    let mut calls: Vec<_> = numbers.map(|number| Box::pin(node.call("b", numbered(number)))).collect();
    for call in &mut calls {
        assert!(call.as_mut().now_or_never().is_none());
    }
    calls
}

/// The numbers of the calls that have come.
fn come((calls, _): &mut Noted) -> Vec<usize> {
    std::iter::from_fn(|| calls.try_recv().ok()).map(|(_, args)| usize::from(args[1])).collect()
}

#[tokio::test]
async fn all_that_is_asked_after_the_first_call_goes_off_in_its_order_when_the_poll_ends() {
    let mut mesh = Mesh::new();
    let (node, mut noted) = noting(&mut mesh).await;
    let gathering = outbox::gather(MANY);
    let mut calls = begin(&node, 0..5);
    assert_eq!(come(&mut noted), [0]);
    // Given up, which it is to hear after the call.
    calls.truncate(4);
    drop(gathering);
    assert_eq!(come(&mut noted), [1, 2, 3, 4]);
    assert!(noted.1.try_recv().is_ok());
    // Without it, each goes at once.
    calls.extend(begin(&node, 5..7));
    assert_eq!(come(&mut noted), [5, 6]);
    mesh.end().await;
}

#[tokio::test]
async fn a_part_of_what_is_waited_for_goes_off_without_waiting_for_more() {
    let mut mesh = Mesh::new();
    let (node, mut noted) = noting(&mut mesh).await;
    let _gathering = outbox::gather(64);
    let calls = begin(&node, 0..16);
    assert_eq!(come(&mut noted), [0]);
    let more = begin(&node, 16..17);
    assert_eq!(come(&mut noted), (1..17).collect::<Vec<_>>());
    drop((calls, more));
    mesh.end().await;
}

#[tokio::test]
async fn where_the_desk_is_taken_it_goes_through_the_drivers_channel_in_its_order() {
    let mut mesh = Mesh::new();
    let (node, (mut calls, _given_up)) = noting(&mut mesh).await;
    let desk = node.mesh.shared_desk();
    let gathering = outbox::gather(MANY);
    let before = begin(&node, 0..2);
    let taken = desk.lock();
    drop(gathering);
    let during = begin(&node, 2..3);
    drop(taken);
    let after = begin(&node, 3..5);
    for number in 0..5 {
        assert_eq!(calls.recv().await.unwrap().1, numbered(number));
    }
    drop((before, during, after));
    mesh.end().await;
}

#[tokio::test]
async fn what_may_not_wait_sends_off_what_was_asked_before_it() {
    let mut mesh = Mesh::new();
    let (node, mut noted) = noting(&mut mesh).await;
    let _gathering = outbox::gather(MANY);
    let calls = begin(&node, 0..3);
    assert_eq!(come(&mut noted), [0]);
    let mut processes = Box::pin(node.mesh.processes(TenantName::default()));
    let _ = processes.as_mut().now_or_never();
    assert_eq!(come(&mut noted), [1, 2]);
    assert_eq!(processes.await.unwrap().len(), 2);
    drop(calls);
    mesh.end().await;
}

#[tokio::test]
async fn a_call_that_others_may_give_up_never_waits() {
    let mut mesh = Mesh::new();
    let (node, mut noted) = noting(&mut mesh).await;
    let gathering = outbox::gather(MANY);
    let calls = begin(&node, 0..2);
    let started = node.mesh.start(request(Some("b"), numbered(2))).now_or_never().unwrap().unwrap();
    assert_eq!(come(&mut noted), [0, 1, 2]);
    std::thread::spawn(|| drop(started)).join().unwrap();
    drop(gathering);
    assert!(noted.1.recv().await.is_some());
    drop(calls);
    mesh.end().await;
}

#[tokio::test]
async fn what_waits_when_the_driver_has_ended_is_heard_of() {
    let mut mesh = Mesh::new();
    let (node, _noted) = noting(&mut mesh).await;
    let gathering = outbox::gather(MANY);
    let calls = begin(&node, 0..2);
    node.cancel.cancel();
    let desk = node.mesh.shared_desk();
    while desk.lock().unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    drop(gathering);
    for call in calls {
        assert!(call.await.is_err());
    }
    mesh.end().await;
}

#[tokio::test]
async fn a_call_that_is_over_at_the_desk_never_waits_nor_lets_others_wait() {
    let mut mesh = Mesh::new();
    let (node, mut noted) = noting(&mut mesh).await;
    let _gathering = outbox::gather(MANY);
    for _ in 0..3 {
        assert!(node.call("a", b"\x01x").now_or_never().expect("it is over").is_ok());
    }
    let calls = begin(&node, 0..1);
    assert_eq!(come(&mut noted), [0]);
    drop(calls);
    mesh.end().await;
}

#[tokio::test]
async fn what_was_sent_for_the_first_call_alone_is_sent_off_when_the_poll_ends() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let desk = a.mesh.shared_desk();
    let is_unsent = || desk.lock().unwrap().as_ref().unwrap().unflushed;
    let gathering = outbox::gather(MANY);
    let call = begin(&a, 0..1);
    assert!(is_unsent());
    drop(gathering);
    assert!(!is_unsent());
    for call in call {
        assert!(call.await.is_ok());
    }
    mesh.end().await;
}

#[tokio::test]
async fn what_was_asked_goes_off_where_the_poll_panics_too() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let mut calls = Vec::new();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _gathering = outbox::gather(MANY);
        calls = begin(&a, 0..3);
        panic!("as a defect in a guest's host does");
    }));
    assert!(panics.is_err());
    for call in calls {
        assert!(call.await.is_ok());
    }
    mesh.end().await;
}

#[tokio::test]
async fn two_drivers_in_a_thread_each_get_what_is_asked_of_them() {
    let mut mesh = Mesh::new();
    let (one, mut noted) = noting(&mut mesh).await;
    let other = mesh.node("c", Arc::new(Echo)).await;
    let gathering = outbox::gather(MANY);
    let calls = begin(&one, 0..2);
    // The other's call goes to its desk, after what waits for the first.
    assert!(other.call("c", b"\x01x").now_or_never().expect("it is over").is_ok());
    assert_eq!(come(&mut noted), [0, 1]);
    let more = begin(&one, 2..4);
    drop(gathering);
    assert_eq!(come(&mut noted), [2, 3]);
    drop((calls, more));
    mesh.end().await;
}
