//! Calls in flight: each operation begins one and ends the oldest, so that so many are always on the way.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use daffi_proto::call::{CallbackSpec, ProcessSpec, Schedules};
use daffi_proto::controller::Input;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{CallId, LinkId, ProcessName, ProcessRef, ServeId, TenantName, Token};
use daffi_proto::node::{self, Node};

use crate::memory;
use crate::mesh::{self, Mesh, Peer};
use crate::table::Table;
use crate::watch::quickest;

/// How many calls are made in a round.
const ROUND: usize = 1000;

/// All rows.
pub fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new("calls in flight", "calls in flight", &[1, 10, 100, 1000, 10_000]);
    for in_flight in table.steps() {
        relayed(&mut table, in_flight)?;
        made(&mut table, in_flight)?;
        served(&mut table, in_flight)?;
        local(&mut table, in_flight)?;
    }
    Ok(table)
}

/// One link calls, another serves.
fn relayed(table: &mut Table, in_flight: usize) -> anyhow::Result<()> {
    let (tenant, callbacks) = (TenantName::default(), mesh::ordinary()?);
    let peer = Peer::new(1, &tenant, &callbacks)?;
    let mut mesh = Mesh::new();
    mesh.join(&peer);
    let (client, told) = mesh.client(&tenant)?;
    let target = Target::Any(mesh::places(&told)[0].group);
    let (mut open, bytes) = memory::of_each(in_flight, || {
        let calls: Vec<Input> = (0..in_flight).map(|_| mesh.call(client, target)).collect();
        mesh.frames(calls).iter().filter_map(call_of).collect::<VecDeque<_>>()
    });
    ensure!(open.len() == in_flight, "all are on the way");
    let kept = size_of_val(open.make_contiguous()) as f64 / in_flight as f64;
    let relayed = quickest(|watch| {
        for _ in 0..ROUND {
            let call = mesh.call(client, target);
            let sent = watch.time(1, || mesh.frames([call]));
            open.extend(sent.iter().filter_map(call_of));
            let (link, id) = open.pop_front().context("a call is open")?;
            let answer = Input::Frame { link, frame: mesh::reply(id) };
            watch.time(0, || mesh.feed([answer]));
        }
        Ok(())
    })?;
    table.constant("a relayed call, there and back", relayed);
    table.bytes("memory of the controller, a call", bytes - kept);
    let lost = quickest(|watch| {
        let mut mesh = Mesh::new();
        let link = mesh.join(&peer);
        let (client, told) = mesh.client(&tenant)?;
        let target = Target::Any(mesh::places(&told)[0].group);
        let calls: Vec<Input> = (0..in_flight).map(|_| mesh.call(client, target)).collect();
        mesh.feed(calls);
        let told = watch.time(in_flight, || mesh.feed([Input::Closed { link, reason: "cut".to_owned() }]));
        ensure!(told >= in_flight, "all callers are told");
        Ok(())
    })?;
    table.constant("the callee's link breaks, a call", lost);
    Ok(())
}

fn call_of((link, frame): &(LinkId, Frame)) -> Option<(LinkId, CallId)> {
    match frame.header {
        Header::Call { id, .. } => Some((*link, id)),
        _ => None,
    }
}

/// At the caller's node.
fn made(table: &mut Table, in_flight: usize) -> anyhow::Result<()> {
    let (tenant, callbacks) = (TenantName::default(), mesh::ordinary()?);
    let mut mesh = Mesh::new();
    mesh.join(&Peer::new(1, &tenant, &callbacks)?);
    let mut node = mesh::client_node(&tenant);
    mesh::feed_all(&mut node, mesh.client(&tenant)?.1);
    let mut last = 0;
    let mut begin = || {
        last += 1;
        let request = mesh::request(&callbacks[0], &tenant);
        node::Input::Command(node::Command::Call { token: Token(last), request: request.into() })
    };
    let id_of = |frames: Vec<Frame>| match frames.first().map(|frame| &frame.header) {
        Some(Header::Call { id, .. }) => Ok(*id),
        other => anyhow::bail!("not a call: {other:?}"),
    };
    let mut open = VecDeque::with_capacity(in_flight + 1);
    let (filled, bytes) = memory::of_each(in_flight, || {
        for _ in 0..in_flight {
            open.push_back(id_of(mesh::tell(&mut node, begin()))?);
        }
        anyhow::Ok(())
    });
    filled?;
    let made = quickest(|watch| {
        for _ in 0..ROUND {
            let command = begin();
            open.push_back(id_of(watch.time(1, || mesh::tell(&mut node, command)))?);
            let answer = mesh::reply(open.pop_front().context("a call is open")?);
            watch.time(0, || mesh::feed(&mut node, mesh::heard(answer)));
        }
        Ok(())
    })?;
    ensure!(node.counts().calls == in_flight, "so many are on the way");
    table.constant("a call at the caller's node, there and back", made);
    table.bytes("memory of the caller's node, a call", bytes);
    Ok(())
}

/// A node with two processes, of which the first has the ordinary callbacks.
fn node_with_two(tenant: &TenantName) -> anyhow::Result<Node> {
    let (mut node, hello) = mesh::node_of(tenant);
    let mut mesh = Mesh::new();
    let link = mesh.next_link();
    let identity = daffi_proto::session::PeerIdentity::Unix { uid: 1, pid: None };
    let mut inputs = vec![Input::Accepted { link, identity }];
    let mut from_node = hello;
    let specs = mesh::ordinary()?;
    let callbacks: Arc<[CallbackSpec]> = specs
        .iter()
        .map(|callback| CallbackSpec { name: callback.name.clone(), signature: callback.signature.clone() })
        .collect();
    for (name, callbacks) in [("shop", callbacks), ("customer", Arc::from([]))] {
        let process = ProcessRef { tenant: tenant.clone(), name: ProcessName::new(name)? };
        let spec = ProcessSpec {
            process,
            callbacks,
            instances: "singleton".to_owned(),
            schedules: Schedules::default(),
            large_bytes: 0,
            max_streams: 0,
            exports: Arc::from([]),
        };
        let command = node::Command::AddProcess { token: Token(1), spec };
        from_node.extend(mesh::tell(&mut node, node::Input::Command(command)));
    }
    // Until neither has more to say.
    while !from_node.is_empty() || !inputs.is_empty() {
        inputs.extend(from_node.drain(..).map(|frame| Input::Frame { link, frame }));
        for (_, frame) in mesh.frames(inputs.drain(..)) {
            from_node.extend(mesh::tell(&mut node, mesh::heard(frame)));
        }
    }
    Ok(node)
}

/// At the callee's node.
fn served(table: &mut Table, in_flight: usize) -> anyhow::Result<()> {
    let tenant = TenantName::default();
    let mut node = node_with_two(&tenant)?;
    // It only makes the frames.
    let mut caller = Mesh::new();
    let mut begin = || match caller.call(LinkId(1), Target::Callback(1, 0)) {
        Input::Frame { frame, .. } => Ok(mesh::heard(frame)),
        other => anyhow::bail!("not a frame: {other:?}"),
    };
    let mut open = VecDeque::with_capacity(in_flight + 1);
    let (filled, bytes) = memory::of_each(in_flight, || {
        for _ in 0..in_flight {
            open.push_back(serve_of(&mut node, begin()?)?);
        }
        anyhow::Ok(())
    });
    filled?;
    let served = quickest(|watch| {
        for _ in 0..ROUND {
            let call = begin()?;
            open.push_back(watch.time(1, || serve_of(&mut node, call))?);
            let id = open.pop_front().context("a call is open")?;
            let over = node::Command::Served { id, result: Ok(Bytes::from_static(mesh::ARGS)) };
            watch.time(0, || mesh::feed(&mut node, node::Input::Command(over)));
        }
        Ok(())
    })?;
    ensure!(node.counts().serves == in_flight, "so many are served");
    table.constant("a call at the callee's node, there and back", served);
    table.bytes("memory of the callee's node, a call", bytes);
    Ok(())
}

fn serve_of(node: &mut Node, input: node::Input) -> anyhow::Result<ServeId> {
    node.handle(mesh::clock(), input);
    let mut served = None;
    while let Some(output) = node.poll_output() {
        if let node::Output::Serve(incoming) = output {
            served = Some(incoming.id);
        }
    }
    served.context("the call is not served")
}

/// Between two processes of one node.
fn local(table: &mut Table, in_flight: usize) -> anyhow::Result<()> {
    let tenant = TenantName::default();
    let mut node = node_with_two(&tenant)?;
    let callback = &mesh::ordinary()?[0];
    let mut last = 0;
    let begin = |last: &mut u64| {
        *last += 1;
        let request = mesh::request(callback, &tenant);
        node::Input::Command(node::Command::Call { token: Token(*last), request: request.into() })
    };
    let mut open = VecDeque::with_capacity(in_flight + 1);
    for _ in 0..in_flight {
        open.push_back(serve_of(&mut node, begin(&mut last))?);
    }
    let local = quickest(|watch| {
        for _ in 0..ROUND {
            let call = begin(&mut last);
            open.push_back(watch.time(1, || serve_of(&mut node, call))?);
            let id = open.pop_front().context("a call is open")?;
            let over = node::Command::Served { id, result: Ok(Bytes::from_static(mesh::ARGS)) };
            watch.time(0, || mesh::feed(&mut node, node::Input::Command(over)));
        }
        Ok(())
    })?;
    table.constant("a call between two processes of one node, there and back", local);
    let at_once = quickest(|watch| {
        for _ in 0..ROUND {
            last += 1;
            let (token, request) = (Token(last), mesh::request(callback, &tenant));
            let over = |node: &mut Node| {
                let (offer, incoming) = node.offer(mesh::clock(), token, request)?;
                node.offer_over(mesh::clock(), offer, Ok(incoming.args))
            };
            watch.time(1, || over(&mut node)).context("the call is not over at once")?;
        }
        Ok(())
    })?;
    table.constant("the same, over at once", at_once);
    Ok(())
}
