//! Links on which a frame takes longer than silence may: the other end writes a piece of it whenever it is asked for a
//! sign of life, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use daffi_proto::controller::ControllerConfig;
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::CallId;
use daffi_proto::session::{PeerIdentity, Role};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Peer, encoded, link, node_config};
use crate::mesh::driver::Driver;
use crate::mesh::hub::{Hub, NewLink};
use crate::mesh::uplink;

const HEARTBEAT_MS: u32 = 50;
const MISSED_HEARTBEATS: u32 = 3;

/// As many heartbeats as would end a silent link three times.
const PIECES: usize = 3 * (MISSED_HEARTBEATS as usize + 1);

impl Peer {
    /// Sends one large frame, a piece an answer to a ping; then shows that the other side is still there.
    async fn trickle(&mut self) {
        let payload = Bytes::from(vec![7; PIECES * 1000]);
        let bytes = encoded(&Frame::with_payload(Header::Cancel { id: CallId(1), lost: false }, payload));
        for piece in bytes.chunks(bytes.len().div_ceil(PIECES)) {
            self.read_until("Ping").await;
            self.writer.write_all(piece).await.unwrap();
        }
        self.write(Frame::new(Header::Ping)).await;
        self.read_until("Pong").await;
    }
}

#[tokio::test]
async fn a_controller_hears_a_node_by_the_bytes_of_a_frame_that_takes_long() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let config = ControllerConfig {
        heartbeat: Duration::from_millis(HEARTBEAT_MS.into()),
        missed_heartbeats: MISSED_HEARTBEATS,
        ..ControllerConfig::new(1)
    };
    let (hub, task) = Hub::new(config, tasks.clone());
    tasks.spawn(task.run(cancel.clone()));
    let (link, mut peer) = link(&tasks);
    hub.add(NewLink { link, identity: PeerIdentity::InProcess, place: None }).await;
    peer.greet_controller("peer", Role::Node).await;
    peer.trickle().await;
    cancel.cancel();
}

#[tokio::test]
async fn a_node_hears_its_controller_by_the_bytes_of_a_frame_that_takes_long() {
    let (tasks, cancel) = (TaskTracker::new(), CancellationToken::new());
    let (uplink, dialing) = uplink::channel();
    let (_mesh, driver) = Driver::new(node_config(), "the test".to_owned(), uplink, tasks.clone());
    tasks.spawn(driver.run(cancel.clone()));
    let (link, mut peer) = link(&tasks);
    dialing.connected(link).await;
    peer.greet_node(HEARTBEAT_MS, MISSED_HEARTBEATS).await;
    peer.write(Frame::new(Header::Synced)).await;
    peer.trickle().await;
    cancel.cancel();
}
