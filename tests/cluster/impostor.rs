//! A node that speaks the protocol, and tells of its scheduled tasks whatever a test wants.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use daffi_proto::call::{CallbackSpec, Load};
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Decoder, Frame, Header, Target};
use daffi_proto::id::{NodeKey, ProcessName, ProcessRef, TenantName};
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::schedule::TaskOp;
use daffi_proto::session::{Hello, PROTOCOL_VERSION, Role};
use daffi_proto::signature::Signature;

use super::Cluster;

/// A process with a callback that it never serves, in a node of its own. It leaves when it is dropped.
pub struct Impostor {
    socket: UnixStream,
    serving: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Joins as this process, which says that it has tasks; who asks for them gets these answers, or none at all.
    pub fn impostor(&self, name: &str, answer: impl Fn(TaskOp) -> Option<Bytes> + Send + 'static) -> Impostor {
        let mut node = Node {
            socket: UnixStream::connect(self.socket()).unwrap(),
            buffer: BytesMut::new(),
            decoder: Decoder::new(DEFAULT_MAX_PAYLOAD_BYTES),
        };
        node.join(name);
        let socket = node.socket.try_clone().unwrap();
        let serving = std::thread::spawn(move || node.serve(answer));
        Impostor { socket, serving: Some(serving) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.serving.take().map(JoinHandle::join);
    }
}

/// Its side of the link.
struct Node {
    socket: UnixStream,
    buffer: BytesMut,
    decoder: Decoder,
}

impl Node {
    fn join(&mut self, name: &str) {
        let hello = Hello {
            features: 0,
            key: NodeKey([7; 16]),
            name: name.to_owned(),
            role: Role::Node,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES as u64,
            tenants: vec![TenantName::default()],
            imports: Vec::new(),
        };
        let hello = postcard::to_stdvec(&hello).unwrap().into();
        self.write(Frame::with_payload(Header::Hello { version: PROTOCOL_VERSION }, hello));
        let signature = Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false };
        let callback = CallbackSpec { name: "test:mesh/talk#nod".parse().unwrap(), signature: Arc::new(signature) };
        let table = CallbackTable::encode(&[Callback::new(&callback)]).unwrap();
        let process = ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() };
        let register = Header::Register { number: 1, process, instances: "singleton".to_owned(), exports: Vec::new() };
        self.write(Frame::with_payload(register, table));
        let load = Load { schedules: 1, ..Load::default() };
        self.write(Frame::new(Header::Load { number: 1, load, apart: 0 }));
        // What was said before this question has been heard when its answer is here.
        self.write(Frame::new(Header::ListLoads { id: 1 }));
        while self.read().is_some_and(|frame| frame.header.kind() != "Loads") {}
    }

    fn serve(&mut self, answer: impl Fn(TaskOp) -> Option<Bytes>) {
        while let Some(frame) = self.read() {
            match frame.header {
                Header::Ping => self.write(Frame::new(Header::Pong)),
                Header::Call { id, target: Target::TasksHere(_), .. } => {
                    if let Some(page) = answer(postcard::from_bytes(&frame.payload).unwrap()) {
                        let reply = Header::Reply { id, process: None, open: false, channels: [].into() };
                        self.write(Frame::with_payload(reply, page));
                    }
                }
                _ => {}
            }
        }
    }

    fn write(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        frame.encode_into(&mut bytes).unwrap();
        // A controller that wants no more closes the link, which the next read tells.
        let _ = self.socket.write_all(&bytes);
    }

    /// The next frame; none at the end of the link.
    fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.buffer).unwrap() {
                return Some(frame);
            }
            let mut part = [0; 16 * 1024];
            match self.socket.read(&mut part) {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.buffer.extend_from_slice(&part[..read]),
            }
        }
    }
}
