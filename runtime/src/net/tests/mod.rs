//! Tests of sockets and mesh together; here is what they share: the other end of a link, byte by byte.

mod last_words;
mod slow;

use bytes::BytesMut;
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header};
use daffi_proto::id::{NodeKey, SessionId, TenantName};
use daffi_proto::node::NodeConfig;
use daffi_proto::session::{Hello, PROTOCOL_VERSION, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::task::TaskTracker;

use super::link::Connection;
use crate::mesh::link::{Link, LinkLimits};

/// The other end of a link, byte by byte.
struct Peer {
    writer: DuplexStream,
    /// What it reads from, until it stops reading.
    reader: Option<DuplexStream>,
    buffer: BytesMut,
    decoder: Decoder,
}

fn link(tasks: &TaskTracker) -> (Link, Peer) {
    let [(our_reader, writer), (our_writer, reader)] = [(); 2].map(|()| tokio::io::duplex(64 * 1024));
    let link = Connection::new(our_reader, our_writer).into_link(LinkLimits::default(), tasks);
    let decoder = Decoder::new(DEFAULT_MAX_PAYLOAD_BYTES);
    (link, Peer { writer, reader: Some(reader), buffer: BytesMut::new(), decoder })
}

impl Peer {
    async fn write(&mut self, frame: Frame) {
        self.writer.write_all(&encoded(&frame)).await.unwrap();
    }

    async fn read(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer).unwrap() {
                return frame;
            }
            let reader = self.reader.as_mut().unwrap();
            assert_ne!(reader.read_buf(&mut self.buffer).await.unwrap(), 0, "the link was closed");
        }
    }

    /// Reads over all frames but those of this kind.
    async fn read_until(&mut self, what: &str) -> Frame {
        loop {
            let frame = self.read().await;
            assert_ne!(frame.header.kind(), "Close", "{:?}", frame.header);
            if frame.header.kind() == what {
                return frame;
            }
        }
    }

    /// Joins a controller.
    async fn greet_controller(&mut self, name: &str, role: Role) {
        let hello = Hello {
            features: 0,
            key: NodeKey([name.as_bytes()[0]; 16]),
            name: name.to_owned(),
            role,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES as u64,
            tenants: vec![TenantName::default()],
            imports: Vec::new(),
        };
        let payload = postcard::to_stdvec(&hello).unwrap().into();
        self.write(Frame::with_payload(Header::Hello { version: PROTOCOL_VERSION }, payload)).await;
    }

    /// Is a controller to a node, up to the processes of others.
    async fn greet_node(&mut self, heartbeat_ms: u32, missed_heartbeats: u32) {
        self.read_until("Hello").await;
        let welcome = Header::Welcome {
            features: 0,
            session: SessionId(1),
            heartbeat_ms,
            missed_heartbeats,
            grace_ms: 0,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES as u64,
        };
        self.write(Frame::new(welcome)).await;
    }
}

fn node_config() -> NodeConfig {
    NodeConfig { seed: 1, ..NodeConfig::new(NodeKey([2; 16]), "node", Role::Node) }
}

fn encoded(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame.encode_into(&mut bytes).unwrap();
    bytes
}
