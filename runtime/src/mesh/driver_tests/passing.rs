//! What a controller passes on, as it is counted.

use daffi_proto::session::PeerIdentity;

use super::*;
use crate::mesh::handle::passing::passed_on;
use crate::mesh::hub::NewLink;
use crate::mesh::pipe;

/// A node of another runtime.
async fn other(mesh: &mut Mesh, name: &str) -> TestNode {
    let (node, mut dialing) = mesh.unlinked(name, Arc::new(Echo)).await;
    assert_eq!(dialing.order().await, Some(uplink::Order::Dial));
    let (near, far) = pipe::pair(LinkLimits::default());
    mesh.hub.add(NewLink { link: far, identity: PeerIdentity::Unix { uid: 1, pid: None }, place: None }).await;
    dialing.connected(near).await;
    node.linked().await
}

#[tokio::test]
async fn what_a_controller_passes_on_between_nodes_of_others_counts_and_what_its_own_node_says_and_hears_does_not() {
    let mut mesh = Mesh::new();
    let own = mesh.node("own", Arc::new(Echo)).await;
    let [one, two] = [other(&mut mesh, "one").await, other(&mut mesh, "two").await];
    // All of them know each other.
    for (caller, receiver) in [(&own, "one"), (&own, "two"), (&one, "two"), (&one, "own"), (&two, "own")] {
        caller.call(receiver, b"\x01x").await.unwrap();
    }
    let before = passed_on();
    own.call("one", b"\x01x").await.unwrap();
    one.call("own", b"\x01x").await.unwrap();
    assert_eq!(passed_on(), before);
    one.call("two", b"\x01x").await.unwrap();
    assert_eq!(passed_on(), before + 2, "the call and its answer");
    mesh.end().await;
}
