//! What is asked is done where it is asked, when nobody else is at it.

use std::sync::OnceLock;

use daffi_proto::id::DirectId;
use futures::FutureExt;

use super::*;

/// Adds a process to a node that has one.
async fn add(node: &TestNode, name: &str, service: Arc<dyn Serve>) {
    node.mesh.add_process(spec(name), service).await.unwrap();
}

#[tokio::test]
async fn a_call_within_a_runtime_is_made_served_and_answered_by_who_makes_it() {
    let mut mesh = Mesh::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", Arc::new(Echo)).await;
    let call = node.call("b", b"\x05hello").now_or_never();
    assert_eq!(call.expect("nothing to wait for").unwrap().result.as_ref(), b"\x05hello");
    mesh.end().await;
}

#[tokio::test]
async fn an_answer_that_comes_later_is_there_when_it_was_given() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", keeper).await;
    let mut call = Box::pin(node.call("b", b"\x01x"));
    assert!(futures::poll!(&mut call).is_pending());
    let id = calls.try_recv().expect("it is with the process already");
    node.mesh.served(id, Ok(Bytes::from_static(b"\x02ok"))).now_or_never().unwrap();
    assert_eq!(call.now_or_never().unwrap().unwrap().result.as_ref(), b"\x02ok");
    mesh.end().await;
}

#[tokio::test]
async fn calls_begin_in_the_order_in_which_they_are_made_whoever_does_them() {
    /// Notes the arguments.
    struct Noting(mpsc::UnboundedSender<Bytes>);
    impl Serve for Noting {
        fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
            self.0.send(incoming.args).unwrap();
            Some(Ok(Bytes::from_static(b"\x00")))
        }
        fn cancel(&self, _: ServeId) {}
    }
    let mut mesh = Mesh::new();
    let (note, mut noted) = mpsc::unbounded_channel();
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", Arc::new(Noting(note))).await;
    let names: Vec<&'static [u8]> = (0..100u8).map(|n| Box::leak(Box::new([1, n])).as_slice()).collect();
    let mut calls = Vec::new();
    for (n, name) in names.iter().enumerate() {
        // Some find somebody else there, and wait for the driver's task.
        let other = node.mesh.shared_desk();
        let busy = (n % 3 == 0).then(|| other.lock());
        let mut call = Box::pin(node.call("b", name));
        let polled = futures::poll!(&mut call);
        assert!(polled.is_pending() || busy.is_none());
        drop(busy);
        if polled.is_pending() {
            calls.push(call);
        }
    }
    for call in calls {
        call.await.unwrap();
    }
    let heard: Vec<Bytes> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
    assert_eq!(heard, names);
    mesh.end().await;
}

#[tokio::test]
async fn what_the_drivers_task_has_taken_and_not_done_is_not_overtaken() {
    let mut mesh = Mesh::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", Arc::new(Echo)).await;
    let desk = node.mesh.shared_desk();
    let busy = desk.lock();
    let mut first = Box::pin(node.call("b", b"\x01x"));
    assert!(futures::poll!(&mut first).is_pending());
    drop(busy);
    // As the task does before it is at the desk.
    assert_eq!(poll_requests(&desk, &mut Context::from_waker(std::task::Waker::noop())), Poll::Ready(1));
    let mut second = Box::pin(node.call("b", b"\x01x"));
    assert!(futures::poll!(&mut second).is_pending(), "the first is not done");
    let mut guard = desk.lock();
    let core = guard.as_deref_mut().and_then(Option::as_mut).unwrap();
    core.begin_turn();
    core.take_requests();
    core.asked.tell_ended();
    drop(guard);
    assert!(futures::poll!(&mut first).is_ready());
    second.await.unwrap();
    mesh.end().await;
}

#[tokio::test]
async fn who_is_served_at_the_desk_may_ask_too() {
    /// Calls another process while it is asked, as a guest that is polled there does.
    struct Asking(OnceLock<MeshHandle>, mpsc::UnboundedSender<Bytes>);
    impl Serve for Asking {
        fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
            let (mesh, answers) = (self.0.get().unwrap().clone(), self.1.clone());
            let mut call = Box::pin(async move { mesh.call(request(Some("a"), b"\x03ask")).await });
            assert!(call.as_mut().now_or_never().is_none(), "the desk is taken");
            tokio::spawn(async move { answers.send(call.await.unwrap().result) });
            Some(Ok(incoming.args))
        }
        fn cancel(&self, _: ServeId) {}
    }
    let mut mesh = Mesh::new();
    let (answer, mut answers) = mpsc::unbounded_channel();
    let asking = Arc::new(Asking(OnceLock::new(), answer));
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", asking.clone()).await;
    asking.0.set(node.mesh.clone()).ok().unwrap();
    assert!(node.call("b", b"\x01x").now_or_never().unwrap().is_ok());
    assert_eq!(answers.recv().await.unwrap().as_ref(), b"\x03ask");
    mesh.end().await;
}

#[tokio::test]
async fn who_has_been_at_the_desk_for_a_turn_leaves_it_to_the_drivers_task() {
    let mut mesh = Mesh::new();
    let (begun, count) = watch::channel(0);
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "slow", Arc::new(Slow { begun })).await;
    assert!(node.call("slow", b"\x01x").now_or_never().is_some());
    let mut second = Box::pin(node.call("slow", b"\x01x"));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(*count.borrow(), 1);
    second.await.unwrap();
    assert!(node.call("slow", b"\x01x").now_or_never().is_some(), "the task has been there");
    mesh.end().await;
}

#[tokio::test]
async fn a_deadline_that_is_earlier_than_all_others_is_kept() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, mut notices) = Keeper::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    add(&node, "b", keeper).await;
    let short = CallRequest { timeout: Duration::from_millis(5), ..request(Some("b"), b"\x01x") };
    let error = node.mesh.call(short).await.unwrap_err();
    assert_eq!(error.code, code::DEADLINE_EXCEEDED);
    calls.recv().await.unwrap();
    notices.recv().await.unwrap();
    mesh.end().await;
}

#[tokio::test]
async fn the_drivers_task_learns_of_each_link_that_is_full() {
    let mut mesh = Mesh::new();
    let node = mesh.node("a", Arc::new(Echo)).await;
    let desk = node.mesh.shared_desk();
    let mut guard = desk.lock();
    let core = guard.as_deref_mut().and_then(Option::as_mut).unwrap();
    let mut differs = |via: Option<(Via, bool)>| {
        let before = core.waits();
        if let Some((via, congested)) = via {
            core.set_congested(via, congested);
        }
        core.waits().differ(before)
    };
    let other = Via::To(DirectId(1));
    assert!(!differs(None));
    assert!(differs(Some((Via::Controller, true))));
    assert!(differs(Some((other, true))), "it waits for the first alone");
    assert!(!differs(Some((other, true))), "it is full still");
    assert!(!differs(Some((Via::Controller, false))), "the other is waited for already");
    assert!(differs(Some((other, false))));
    drop(guard);
    mesh.end().await;
}
