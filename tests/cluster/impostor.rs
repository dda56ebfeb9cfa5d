//! A node that speaks the protocol, and tells of its scheduled tasks whatever a test wants.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use daffi_proto::call::{CallbackSpec, Detail, Load};
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::NodeKey;
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::schedule::TaskOp;
use daffi_proto::session::Role;
use daffi_proto::signature::Signature;

use super::Cluster;
use super::peer::Peer;

/// A process with a callback that it never serves, in a node of its own. It leaves when it is dropped.
pub struct Impostor {
    socket: UnixStream,
    serving: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Joins as this process, which says that it has tasks; who asks for them gets these answers, or none at all.
    pub fn impostor(&self, name: &str, answer: impl Fn(TaskOp) -> Option<Bytes> + Send + 'static) -> Impostor {
        let mut peer = self.peer();
        join(&mut peer, name);
        let socket = peer.socket();
        let serving = std::thread::spawn(move || serve(&mut peer, answer));
        Impostor { socket, serving: Some(serving) }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.serving.take().map(JoinHandle::join);
    }
}

fn join(peer: &mut Peer, name: &str) {
    peer.hello(Role::Node, NodeKey([7; 16]));
    peer.register(name, callbacks());
    let load = Load { schedules: 1, ..Load::default() };
    peer.write(Frame::new(Header::Load { number: 1, load, apart: 0 }));
    // What was said before this question has been heard when its answer is here.
    peer.write(Frame::new(Header::ListLoads { id: 1, detail: Detail::Load }));
    while peer.next().is_some_and(|frame| frame.header.kind() != "Loads") {}
}

fn serve(peer: &mut Peer, answer: impl Fn(TaskOp) -> Option<Bytes>) {
    while let Some(frame) = peer.next() {
        if let Header::Call { id, target: Target::TasksHere(_), .. } = frame.header
            && let Some(page) = answer(postcard::from_bytes(&frame.payload).unwrap())
        {
            let reply = Header::Reply { id, process: None, open: false, channels: [].into() };
            peer.write(Frame::with_payload(reply, page));
        }
    }
}

/// A table with one callback, without parameters and result.
pub fn callbacks() -> Bytes {
    let signature = Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false };
    let callback = CallbackSpec { name: "test:mesh/talk#nod".parse().unwrap(), signature: Arc::new(signature) };
    CallbackTable::encode(&[Callback::new(&callback)]).unwrap()
}
