//! Nodes on one controller: each has one process with the same eight callbacks, and all are of one tenant.

use std::time::Duration;

use anyhow::ensure;
use daffi_proto::call::{Detail, GatherRequest, Need};
use daffi_proto::controller::Input;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{LinkId, TenantName, Token};
use daffi_proto::node;
use daffi_proto::session::HEARTBEAT;

use crate::memory;
use crate::mesh::{self, Mesh, Peer, Place};
use crate::table::Table;
use crate::watch::quickest;

/// All rows.
pub fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new("nodes on one controller", "nodes", &[1, 10, 100, 1000]);
    for nodes in table.steps() {
        step(&mut table, nodes)?;
    }
    Ok(table)
}

fn step(table: &mut Table, nodes: usize) -> anyhow::Result<()> {
    let (tenant, callbacks) = (TenantName::default(), mesh::ordinary()?);
    let peers = (0..=nodes).map(|number| Peer::new(number, &tenant, &callbacks)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut mesh, bytes) = memory::of_each(nodes, || {
        let mut mesh = Mesh::new();
        for peer in &peers[..nodes] {
            mesh.join(peer);
        }
        mesh
    });
    let one_more = &peers[nodes];
    let mut messages = 0;
    let churn = quickest(|watch| {
        let link = mesh.next_link();
        let leave = Input::Frame { link, frame: Frame::new(Header::Leave) };
        let inputs = one_more.inputs(link).into_iter().chain([leave]).collect::<Vec<_>>();
        messages = watch.time(1, || mesh.feed(inputs));
        Ok(())
    })?;
    ensure!(messages >= 3 * nodes, "everybody hears of it");
    let mut link = mesh.join(one_more);
    let back = quickest(|watch| {
        let lost = Input::Closed { link, reason: "cut".to_owned() };
        link = mesh.next_link();
        let inputs = [lost].into_iter().chain(one_more.inputs(link)).collect::<Vec<_>>();
        messages = watch.time(1, || mesh.feed(inputs));
        Ok(())
    })?;
    table.linear("a node joins, registers and leaves, with all that hear of it", churn);
    table.constant("a node joins, registers and leaves, a message", churn / messages as f64);
    table.constant("a link breaks and its node comes back, a message", back / messages as f64);
    mesh.feed([Input::Frame { link, frame: Frame::new(Header::Leave) }]);

    let (client, told) = mesh.client(&tenant)?;
    calls(table, &mut mesh, client, &told)?;
    let heartbeat = quickest(|watch| {
        mesh.now += HEARTBEAT + Duration::from_millis(1);
        let pings = watch.time(0, || mesh.frames([Input::Timer]));
        let pong = |(link, _): (LinkId, Frame)| Input::Frame { link, frame: Frame::new(Header::Pong) };
        let pongs: Vec<Input> = pings.into_iter().map(pong).collect();
        watch.time(pongs.len(), || mesh.feed(pongs));
        Ok(())
    })?;
    table.constant("a heartbeat: ping and pong, a node", heartbeat);
    let list = quickest(|watch| {
        let frame = Frame::new(Header::ListLoads { id: 1, detail: Detail::Usage });
        watch.time(nodes, || mesh.feed([Input::Frame { link: client, frame }]));
        Ok(())
    })?;
    table.constant("a list of all processes and what they do, a process", list);
    table.bytes("memory of the controller, a node", bytes);
    replica(table, &told, nodes)
}

/// Calls at the controller: to whoever has a callback, and to all who have it.
fn calls(table: &mut Table, mesh: &mut Mesh, client: LinkId, told: &[Frame]) -> anyhow::Result<()> {
    let places = mesh::places(told);
    let Place { group, .. } = places[0];
    let anyone = quickest(|watch| {
        let calls: Vec<Input> = (0..64).map(|_| mesh.call(client, Target::Any(group))).collect();
        let sent = watch.time(64, || mesh.frames(calls));
        let answers = mesh::answers(&sent);
        watch.time(0, || mesh.feed(answers));
        Ok(())
    })?;
    table.constant("a relayed call to one of all that have the callback", anyone);
    let receivers: Vec<Place> = places.into_iter().filter(|place| place.group == group).collect();
    let broadcast = quickest(|watch| {
        let target = |place: &Place| Target::Process(place.entry, place.group);
        let calls: Vec<Input> = receivers.iter().map(|place| mesh.call(client, target(place))).collect();
        let sent = watch.time(calls.len(), || mesh.frames(calls));
        let answers = mesh::answers(&sent);
        ensure!(answers.len() == receivers.len(), "all are called");
        watch.time(0, || mesh.feed(answers));
        Ok(())
    })?;
    table.constant("a broadcast to all, at the controller, a receiver", broadcast);
    Ok(())
}

/// What a node has of all others.
fn replica(table: &mut Table, told: &[Frame], nodes: usize) -> anyhow::Result<()> {
    let tenant = TenantName::default();
    let fill = || {
        let mut node = mesh::client_node(&tenant);
        mesh::feed_all(&mut node, told.to_vec());
        node
    };
    let taken = quickest(|watch| {
        let mut node = mesh::client_node(&tenant);
        let frames = told.to_vec();
        watch.time(nodes, || mesh::feed_all(&mut node, frames));
        ensure!(node.counts().remotes == nodes, "it knows of all");
        Ok(())
    })?;
    table.constant("a node takes its replica, an entry", taken);
    let (mut node, bytes) = memory::of_each(nodes, fill);
    let callback = &mesh::ordinary()?[0];
    let broadcast = quickest(|watch| {
        let request = GatherRequest { call: mesh::request(callback, &tenant), need: Need::All, stall: None };
        let command = node::Command::Gather { token: Token(1), request };
        let sent = watch.time(nodes, || mesh::tell(&mut node, node::Input::Command(command)));
        let answers: Vec<Frame> = sent.iter().filter_map(answer).collect();
        ensure!(answers.len() == nodes, "all are called");
        watch.time(0, || mesh::feed_all(&mut node, answers));
        ensure!(node.counts().calls == 0, "all have answered");
        Ok(())
    })?;
    table.constant("a broadcast to all, at the caller's node, a receiver", broadcast);
    table.bytes("memory of a node, an entry of its replica", bytes);
    Ok(())
}

fn answer(frame: &Frame) -> Option<Frame> {
    match frame.header {
        Header::Call { id, .. } => Some(mesh::reply(id)),
        _ => None,
    }
}
