//! A client that speaks the protocol, frame by frame, over a socket of its own: an honest one, or one that means harm.
//!
//! Invariants: it blocks its thread, and no longer than [`PATIENCE`] for a frame; it answers pings; it checks nothing of
//! what it sends.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use bytes::{Bytes, BytesMut};
use daffi_proto::call::{Answer, Hop, Mode};
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header, Target};
use daffi_proto::id::{CallId, EntryId, GroupId, NodeKey, ProcessName, ProcessRef, TenantName};
use daffi_proto::registry::CallbackTable;
use daffi_proto::session::{Hello, PROTOCOL_VERSION, Role};

use super::{Cluster, PATIENCE};

/// A link to the controller.
pub struct Peer {
    stream: UnixStream,
    buffer: BytesMut,
    decoder: Decoder,
    calls: u64,
    processes: u32,
    /// The callbacks that it was told of, by process and name.
    callbacks: BTreeMap<(String, String), Target>,
}

impl Cluster {
    /// Connects to the controller's socket, and says nothing yet.
    pub fn peer(&self) -> Peer {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let decoder = Decoder::new(DEFAULT_MAX_PAYLOAD_BYTES);
        Peer { stream, buffer: BytesMut::new(), decoder, calls: 0, processes: 0, callbacks: BTreeMap::new() }
    }
}

impl Peer {
    /// Joins, as a client or a node with this key, and reads what there is.
    pub fn joined(mut self, role: Role, key: NodeKey) -> Self {
        self.hello(role, key);
        while !matches!(self.read().header, Header::Synced) {}
        self
    }

    /// Says who it is, and waits for nothing.
    pub fn hello(&mut self, role: Role, key: NodeKey) {
        let hello = Hello {
            features: 0,
            key,
            name: "peer".to_owned(),
            role,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES as u64,
            tenants: vec![TenantName::default()],
            imports: Vec::new(),
        };
        let payload = postcard::to_stdvec(&hello).unwrap().into();
        self.write(Frame::with_payload(Header::Hello { version: PROTOCOL_VERSION }, payload));
    }

    /// Registers a process with these callbacks under the next number.
    pub fn register(&mut self, name: &str, callbacks: Bytes) -> u32 {
        self.processes += 1;
        let number = self.processes;
        let process = ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() };
        let header = Header::Register { number, process, instances: "singleton".to_owned(), exports: Vec::new() };
        self.write(Frame::with_payload(header, callbacks));
        number
    }

    /// Its socket, to hang up from elsewhere.
    pub fn socket(&self) -> UnixStream {
        self.stream.try_clone().unwrap()
    }

    /// Sends a frame, and tells whether the controller still takes any: reading tells why not.
    pub fn write(&mut self, frame: Frame) -> bool {
        let mut bytes = BytesMut::new();
        frame.encode_into(&mut bytes).unwrap();
        self.stream.write_all(&bytes).is_ok()
    }

    /// Reads until the controller closes the link, and gives the frames that came before.
    pub fn closed(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next frame but pings, or none when the controller has closed the link.
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            while let Some(frame) = self.decoder.next(&mut self.buffer).unwrap() {
                match &frame.header {
                    Header::Ping => {
                        self.write(Frame::new(Header::Pong));
                    }
                    Header::Entry { entry, process, groups, .. } => {
                        self.learn(process.name.as_str(), *entry, groups, &frame.payload);
                        return Some(frame);
                    }
                    _ => return Some(frame),
                }
            }
            let mut piece = [0; 64 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no frame came: {error}"),
            }
        }
    }

    /// The next frame but pings.
    pub fn read(&mut self) -> Frame {
        self.next().expect("the controller closed the link")
    }

    /// Whom a call of this callback goes to.
    pub fn target(&self, process: &str, callback: &str) -> Target {
        let key = (process.to_owned(), callback.to_owned());
        *self.callbacks.get(&key).unwrap_or_else(|| panic!("nobody told of {callback} at {process}"))
    }

    /// Calls, and gives what comes: the result, or the payload of the failure.
    pub fn call(&mut self, target: Target, arguments: Bytes) -> Result<Bytes, Bytes> {
        let asked = self.begin(target, arguments);
        loop {
            let frame = self.read();
            match frame.header {
                Header::Reply { id, .. } if id == asked => return Ok(frame.payload),
                Header::Fail { id, .. } if id == asked => return Err(frame.payload),
                _ => {}
            }
        }
    }

    /// Sends a call and does not wait for its answer.
    pub fn begin(&mut self, target: Target, arguments: Bytes) -> CallId {
        self.begin_as(target, arguments, vec![Hop { process: None, instance: 0 }])
    }

    /// The same, with these as its callers.
    pub fn begin_as(&mut self, target: Target, arguments: Bytes, chain: Vec<Hop>) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        let header = Header::Call {
            id,
            target,
            timeout_ms: 30_000,
            chain: chain.into(),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: [].into(),
            key: None,
        };
        self.write(Frame::with_payload(header, arguments));
        id
    }

    fn learn(&mut self, process: &str, entry: EntryId, groups: &[GroupId], table: &[u8]) {
        let callbacks = CallbackTable::open(table).unwrap();
        for (callback, group) in callbacks.iter().zip(groups) {
            let key = (process.to_owned(), callback.name.to_string());
            self.callbacks.insert(key, Target::Process(entry, *group));
        }
    }
}
