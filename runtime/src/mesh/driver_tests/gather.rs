//! Broadcasts through drivers and a hub.

use daffi_proto::call::{GatherEnd, GatherRequest, Need};

use super::*;

fn to_all(need: Need) -> GatherRequest {
    GatherRequest { call: request(None, b"\x01x"), need, stall: None }
}

#[tokio::test]
async fn a_broadcast_gives_the_entries_of_all_processes_and_then_its_end() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let mut gather = a.mesh.gather(to_all(Need::All)).await.unwrap();
    let mut names = Vec::new();
    while let Some(entry) = gather.next().await {
        let entry = entry.unwrap();
        assert_eq!(entry.result.unwrap().result.as_ref(), b"\x01x");
        names.push(entry.process.to_string());
    }
    names.sort();
    assert_eq!((names, gather.end()), (vec!["a".to_owned(), "b".to_owned()], Some(GatherEnd::Met)));
    assert!(gather.next().await.is_none());
    mesh.end().await;
}

#[tokio::test]
async fn what_a_broadcast_gives_to_serve_begins_elsewhere_once_it_has_had_a_turn() {
    /// Takes a turn for itself, and notes where it was to begin.
    struct Hog(mpsc::UnboundedSender<Begin>);
    impl Serve for Hog {
        fn serve(&self, incoming: Incoming, begin: Begin) -> Option<ServeResult> {
            let began = Instant::now();
            while began.elapsed() <= TURN {}
            self.0.send(begin).unwrap();
            Some(Ok(incoming.args))
        }
        fn cancel(&self, _: ServeId) {}
    }
    let mut mesh = Mesh::new();
    let (note, mut noted) = mpsc::unbounded_channel();
    let a = mesh.node("a", Arc::new(Hog(note.clone()))).await;
    for name in ["b", "c", "d"] {
        a.mesh.add_process(spec(name), Arc::new(Hog(note.clone()))).await.unwrap();
    }
    let mut gather = a.mesh.gather(to_all(Need::All)).await.unwrap();
    while gather.next().await.is_some() {}
    let begins: Vec<Begin> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
    // The first had the turn, unless the machine was elsewhere itself.
    assert_eq!((begins.len(), &begins[1..]), (4, &[Begin::Elsewhere; 3][..]));
    mesh.end().await;
}

#[tokio::test]
async fn an_entry_arrives_while_others_are_missing_and_dropping_the_broadcast_cancels_those() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, mut notices) = Keeper::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", keeper.clone()).await;
    let mut gather = a.mesh.gather(to_all(Need::Quorum(2))).await.unwrap();
    assert_eq!(gather.next().await.unwrap().unwrap().process.as_str(), "a");
    let id = calls.recv().await.unwrap();
    drop(gather);
    notices.recv().await.unwrap();
    assert_eq!(*keeper.cancelled.lock().unwrap(), [id]);
    mesh.end().await;
}

#[tokio::test]
async fn a_broadcast_that_reaches_nobody_says_why() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let mut request = to_all(Need::All);
    request.call.callbacks = Arc::from(["test:mesh/talk#other".parse().unwrap()]);
    request.call.wait_ready = false;
    let mut gather = a.mesh.gather(request).await.unwrap();
    let error = gather.next().await.unwrap().unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    assert!(gather.next().await.is_none() && gather.end().is_none());
    mesh.end().await;
}

#[tokio::test]
async fn when_the_runtime_ends_the_broadcast_does() {
    let mut mesh = Mesh::new();
    let (keeper, mut calls, _) = Keeper::new();
    let a = mesh.node("a", keeper).await;
    let mut gather = a.mesh.gather(to_all(Need::All)).await.unwrap();
    calls.recv().await.unwrap();
    a.cancel.cancel();
    let error = gather.next().await.unwrap().unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::Unknown, code::LINK_LOST));
    assert!(gather.next().await.is_none());
    mesh.end().await;
}
