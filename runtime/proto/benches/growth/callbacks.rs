//! Callbacks on one controller: up to 1,000 in a process, each process at a node of its own, all of one tenant.

use std::time::Duration;

use anyhow::ensure;
use daffi_proto::call::{Caller, ResolveRequest};
use daffi_proto::controller::Input;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{LinkId, TenantName, Token};
use daffi_proto::node::{self, Node};
use daffi_proto::registry::Callback;
use daffi_proto::session::Random;

use crate::memory;
use crate::mesh::{self, Mesh, Peer};
use crate::table::Table;
use crate::watch::{Watch, quickest};

/// Most callbacks of a process here.
const A_PROCESS: usize = 1000;

/// How many look-ups are made in one round, of callbacks all over.
const LOOKED_UP: usize = 1000;

/// How the callbacks are called.
struct Naming {
    name: fn(usize) -> String,
    registered: &'static str,
    left: &'static str,
    typed: &'static str,
    dynamic: &'static str,
}

/// Every function has a name of its own, as most have.
const OWN: Naming = Naming {
    name: |number| format!("demo:package-{}/math#function-{number}", number / 10),
    registered: "registered, a callback",
    left: "its process leaves, a callback",
    typed: "a typed call at the caller's node, there and back",
    dynamic: "a full name is looked up",
};

/// Functions of one name in interfaces of their own: `run`, `get`, `handle`.
const SHARED: Naming = Naming {
    name: |number| format!("demo:package-{number}/math#run"),
    registered: "all of one function name: registered, a callback",
    left: "all of one function name: its process leaves, a callback",
    typed: "all of one function name: a typed call at the caller's node",
    dynamic: "all of one function name: a full name is looked up",
};

/// All rows.
pub fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new("callbacks on one controller", "callbacks", &[10, 100, 1000, 10_000, 100_000]);
    for callbacks in table.steps() {
        let all = Everything::new(&OWN, callbacks)?;
        all.directory(&mut table, &OWN)?;
        let (mut mesh, bytes) = memory::of_each(callbacks, || all.registered());
        table.bytes("memory of the controller, a callback", bytes);
        let (client, told) = mesh.client(&all.tenant)?;
        all.relays(&mut table, &mut mesh, client, &told)?;
        let mut node = all.replica(&mut table, &told)?;
        all.look_ups(&mut table, &OWN, &mut node)?;
        all.by_name(&mut table, &mut node)?;
        drop((mesh, node));

        let all = Everything::new(&SHARED, callbacks)?;
        all.directory(&mut table, &SHARED)?;
        let (_, told) = all.registered().client(&all.tenant)?;
        let mut node = mesh::client_node(&all.tenant);
        mesh::feed_all(&mut node, told);
        all.look_ups(&mut table, &SHARED, &mut node)?;
    }
    Ok(table)
}

/// So many callbacks, and the nodes that have them.
struct Everything {
    tenant: TenantName,
    callbacks: Vec<Callback>,
    peers: Vec<Peer>,
    /// Which are looked up.
    picked: Vec<usize>,
}

impl Everything {
    fn new(naming: &Naming, callbacks: usize) -> anyhow::Result<Self> {
        let tenant = TenantName::default();
        let callbacks = mesh::sums((0..callbacks).map(naming.name))?;
        let peers = callbacks.chunks(A_PROCESS).enumerate();
        let peers = peers.map(|(number, own)| Peer::new(number, &tenant, own)).collect::<anyhow::Result<_>>()?;
        let mut random = Random::new(1);
        let mut pick = || usize::try_from(random.bits() % callbacks.len() as u64);
        let picked = (0..LOOKED_UP).map(|_| pick()).collect::<Result<_, _>>()?;
        Ok(Self { tenant, callbacks, peers, picked })
    }

    fn registered(&self) -> Mesh {
        let mut mesh = Mesh::new();
        for peer in &self.peers {
            mesh.join(peer);
        }
        mesh
    }

    /// They come, and go.
    fn directory(&self, table: &mut Table, naming: &Naming) -> anyhow::Result<()> {
        let mut left = f64::INFINITY;
        let registered = quickest(|watch| {
            let mut mesh = Mesh::new();
            let links: Vec<LinkId> = self.peers.iter().map(|_| mesh.next_link()).collect();
            for (peer, link) in self.peers.iter().zip(&links) {
                let inputs = peer.inputs(*link);
                watch.time(0, || mesh.feed(inputs));
            }
            watch.time(self.callbacks.len(), || {});
            let mut leaving = Watch::default();
            for link in links {
                let frame = Frame::new(Header::Unregister { number: 1 });
                leaving.time(0, || mesh.feed([Input::Frame { link, frame }]));
            }
            leaving.time(self.callbacks.len(), || {});
            left = left.min(leaving.each());
            Ok(())
        })?;
        table.constant(naming.registered, registered);
        table.constant(naming.left, left);
        Ok(())
    }

    /// Relayed calls, each to another callback.
    fn relays(&self, table: &mut Table, mesh: &mut Mesh, client: LinkId, told: &[Frame]) -> anyhow::Result<()> {
        let places = mesh::places(told);
        let mut relay = |target: fn(mesh::Place) -> Target| {
            quickest(|watch| {
                let calls: Vec<Input> = self.picked.iter().map(|at| mesh.call(client, target(places[*at]))).collect();
                let sent = watch.time(calls.len(), || mesh.frames(calls));
                let answers = mesh::answers(&sent);
                ensure!(answers.len() == self.picked.len(), "all are called");
                watch.time(0, || mesh.feed(answers));
                Ok(())
            })
        };
        let anyone = relay(|place| Target::Any(place.group))?;
        let pinned = relay(|place| Target::Process(place.entry, place.group))?;
        table.constant("a relayed call to whoever has a callback, there and back", anyone);
        table.constant("a relayed call to a pinned process, there and back", pinned);
        Ok(())
    }

    /// A node that knows of all.
    fn replica(&self, table: &mut Table, told: &[Frame]) -> anyhow::Result<Node> {
        let taken = quickest(|watch| {
            let (mut node, frames) = (mesh::client_node(&self.tenant), told.to_vec());
            watch.time(self.callbacks.len(), || mesh::feed_all(&mut node, frames));
            Ok(())
        })?;
        let (node, bytes) = memory::of_each(self.callbacks.len(), || {
            let mut node = mesh::client_node(&self.tenant);
            mesh::feed_all(&mut node, told.to_vec());
            node
        });
        table.constant("a node takes its replica, a callback", taken);
        table.bytes("memory of a node, a callback in its replica", bytes);
        Ok(node)
    }

    /// Names are found.
    fn look_ups(&self, table: &mut Table, naming: &Naming, node: &mut Node) -> anyhow::Result<()> {
        let typed = quickest(|watch| {
            for at in &self.picked {
                let request = mesh::request(&self.callbacks[*at], &self.tenant);
                let command = node::Input::Command(node::Command::Call { token: Token(1), request: request.into() });
                let sent = watch.time(1, || mesh::tell(node, command));
                let Some(Frame { header: Header::Call { id, .. }, .. }) = sent.first() else {
                    anyhow::bail!("the call is not sent");
                };
                let answer = mesh::heard(mesh::reply(*id));
                watch.time(0, || mesh::feed(node, answer));
            }
            Ok(())
        })?;
        table.constant(naming.typed, typed);
        let full = |at: &usize| self.callbacks[*at].name.to_string();
        table.constant(naming.dynamic, self.resolves(node, self.picked.iter().map(full).collect(), true)?);
        Ok(())
    }

    /// Names that are written short, and such as nobody has.
    fn by_name(&self, table: &mut Table, node: &mut Node) -> anyhow::Result<()> {
        let short = |at: &usize| self.callbacks[*at].name.function().to_owned();
        let found = self.resolves(node, self.picked.iter().map(short).collect(), true)?;
        table.constant("a function's name alone is looked up", found);
        let missed = self.resolves(node, vec!["fuction-1".to_owned()], false)?;
        table.linear("a name that nobody has, with those that are like it", missed);
        Ok(())
    }

    fn resolves(&self, node: &mut Node, patterns: Vec<String>, found: bool) -> anyhow::Result<f64> {
        quickest(|watch| {
            for pattern in &patterns {
                let request = ResolveRequest {
                    caller: Caller::Client { tenant: self.tenant.clone() },
                    pattern: pattern.clone(),
                    receiver: None,
                    timeout: Duration::from_secs(10),
                    spent: Duration::ZERO,
                    wait_ready: false,
                };
                let command = node::Input::Command(node::Command::Resolve { token: Token(1), request });
                let output = watch.time(1, || {
                    node.handle(mesh::clock(), command);
                    node.poll_output()
                });
                let Some(node::Output::Resolved { result, .. }) = output else { anyhow::bail!("no answer") };
                ensure!(result.is_ok() == found, "{pattern}: {result:?}");
            }
            Ok(())
        })
    }
}
