//! Processes of one node: all are put on the mesh, by the real node and the real controller.

use std::sync::Arc;

use anyhow::ensure;
use daffi_proto::call::{CallRequest, CallbackSpec, Caller, ProcessSpec, Schedules};
use daffi_proto::controller::Input;
use daffi_proto::frame::Frame;
use daffi_proto::id::{LocalId, ProcessName, ProcessRef, TenantName, Token};
use daffi_proto::node::{self, Node};
use daffi_proto::session::PeerIdentity;

use crate::memory;
use crate::mesh::{self, Mesh};
use crate::table::Table;
use crate::watch::quickest;

/// All rows.
pub fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new("processes of one node", "processes", &[1, 10, 100, 1000]);
    for processes in table.steps() {
        let specs = specs(processes)?;
        let connected = quickest(|watch| {
            let start = Start::new(&specs, &[]);
            watch.time(processes, || start.connect())?;
            Ok(())
        })?;
        table.constant("a node connects and registers them, a process", connected);
        let wanted = mesh::sums(["demo:tutorial/math#not-there".to_owned()])?;
        let wait = |number: u32| {
            let caller = Caller::Process { id: LocalId(number), instance: 0, parent: None, chain: Arc::from([]) };
            CallRequest { caller, wait_ready: true, ..mesh::request(&wanted[0], &TenantName::default()) }
        };
        let waiting: Vec<CallRequest> = (1..=u32::try_from(processes)?).map(wait).collect();
        let connected = quickest(|watch| {
            let start = Start::new(&specs, &waiting);
            let node = watch.time(processes, || start.connect())?;
            ensure!(node.counts().waiting == processes, "all wait");
            Ok(())
        })?;
        table.constant("a node connects while each waits for a callback, a process", connected);
        let (node, bytes) = memory::of_each(processes, || Start::new(&specs, &[]).connect());
        drop(node?);
        table.bytes("memory of node and controller, a process", bytes);
    }
    Ok(table)
}

fn specs(processes: usize) -> anyhow::Result<Vec<ProcessSpec>> {
    let spec = |callback: &daffi_proto::registry::Callback| CallbackSpec {
        name: callback.name.clone(),
        signature: callback.signature.clone(),
    };
    let callbacks: Arc<[CallbackSpec]> = mesh::ordinary()?.iter().map(spec).collect();
    let process = |number: usize| {
        let name = ProcessName::new(&format!("process-{number}"))?;
        Ok(ProcessSpec {
            process: ProcessRef { tenant: TenantName::default(), name },
            callbacks: callbacks.clone(),
            instances: "singleton".to_owned(),
            schedules: Schedules::default(),
            large_bytes: 0,
            max_streams: 0,
            exports: Arc::from([]),
        })
    };
    (0..processes).map(process).collect()
}

/// A node that has processes and calls that wait, and no answer of its controller yet.
struct Start {
    node: Node,
    said: Vec<Frame>,
}

impl Start {
    fn new(specs: &[ProcessSpec], waiting: &[CallRequest]) -> Self {
        let (mut node, mut said) = mesh::node_of(&TenantName::default());
        let specs = specs.iter().map(|spec| node::Command::AddProcess { token: Token(0), spec: spec.clone() });
        let calls = waiting.iter().zip(1..);
        let calls =
            calls.map(|(request, token)| node::Command::Call { token: Token(token), request: request.clone().into() });
        for command in specs.chain(calls) {
            said.extend(mesh::tell(&mut node, node::Input::Command(command)));
        }
        Self { node, said }
    }

    /// Until neither side has more to say.
    fn connect(self) -> anyhow::Result<Node> {
        let Self { mut node, mut said } = self;
        let mut mesh = Mesh::new();
        let link = mesh.next_link();
        let identity = PeerIdentity::Unix { uid: 1, pid: None };
        mesh.feed([Input::Accepted { link, identity }]);
        let mut connected = false;
        while !said.is_empty() {
            let inputs = said.drain(..).map(|frame| Input::Frame { link, frame });
            for (_, frame) in mesh.frames(inputs) {
                node.handle(mesh::clock(), mesh::heard(frame));
                while let Some(output) = node.poll_output() {
                    match output {
                        node::Output::Send { frame, .. } => said.push(frame),
                        node::Output::Connected => connected = true,
                        _ => {}
                    }
                }
            }
        }
        ensure!(connected, "the node is connected");
        Ok(node)
    }
}
