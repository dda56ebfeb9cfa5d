//! Calls whose callers do not wait for what they come to.

use daffi_proto::call::Answer;

use super::*;

#[tokio::test]
async fn a_caller_who_waits_for_no_more_is_told_when_the_process_has_his_call_and_cancels_nothing() {
    for answer in [Answer::Accepted, Answer::Sent] {
        let mut mesh = Mesh::new();
        let (keeper, mut calls, _) = Keeper::new();
        let a = mesh.node("a", Arc::new(Echo)).await;
        let b = mesh.node("b", keeper.clone()).await;
        let reply = a.mesh.call(CallRequest { answer, ..request(Some("b"), b"\x01x") }).await.unwrap();
        assert!(reply.result.is_empty());
        let id = calls.recv().await.unwrap();
        a.cancel.cancel();
        b.mesh.served(id, Ok(Bytes::from_static(b"\x02ok"))).await;
        b.mesh.drain().await;
        assert!(keeper.cancelled.lock().unwrap().is_empty());
        mesh.end().await;
    }
}

#[tokio::test]
async fn a_call_that_is_over_at_once_was_accepted() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let request = CallRequest { answer: Answer::Accepted, ..request(Some("a"), b"\x01x") };
    assert!(a.mesh.call(request).await.unwrap().result.is_empty());
    mesh.end().await;
}
