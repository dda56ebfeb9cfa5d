//! Tenants on one controller: each has one node with one process, all with the same names. What one tenant's node does is
//! to cost the same however many strangers there are.

use anyhow::ensure;
use daffi_proto::call::Detail;
use daffi_proto::controller::Input;
use daffi_proto::frame::{Frame, Header, Target};
use daffi_proto::id::{LinkId, TenantName};

use crate::memory;
use crate::mesh::{self, Mesh, Peer, Place};
use crate::table::Table;
use crate::watch::quickest;

/// How many tenants call in one round.
const CALLERS: usize = 100;

/// All rows.
pub fn measure() -> anyhow::Result<Table> {
    let mut table = Table::new("tenants on one controller", "tenants", &[1, 10, 100, 1000]);
    for tenants in table.steps() {
        step(&mut table, tenants)?;
    }
    Ok(table)
}

fn step(table: &mut Table, tenants: usize) -> anyhow::Result<()> {
    let callbacks = mesh::ordinary()?;
    let names =
        (0..tenants).map(|number| TenantName::new(&format!("tenant-{number}"))).collect::<Result<Vec<_>, _>>()?;
    let peers = names.iter().map(|tenant| Peer::new(1, tenant, &callbacks));
    // Each node has a key of its own; the processes are of one name.
    let peers = peers.enumerate().map(|(number, peer)| peer?.with_key(number)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut mesh, bytes) = memory::of_each(tenants, || {
        let mut mesh = Mesh::new();
        for peer in &peers {
            mesh.join(peer);
        }
        mesh
    });
    let one_more = Peer::new(2, &names[tenants / 2], &callbacks)?.with_key(tenants)?;
    let churn = quickest(|watch| {
        let link = mesh.next_link();
        let leave = Input::Frame { link, frame: Frame::new(Header::Leave) };
        let inputs = one_more.inputs(link).into_iter().chain([leave]).collect::<Vec<_>>();
        let frames = watch.time(1, || mesh.feed(inputs));
        ensure!(frames == 6, "its own tenant hears of it, and nobody else");
        Ok(())
    })?;
    table.constant("a second node of a tenant joins, registers and leaves", churn);

    let callers = names.iter().step_by(tenants.div_ceil(CALLERS));
    let callers = callers.map(|tenant| mesh.client(tenant)).collect::<anyhow::Result<Vec<_>>>()?;
    let callers: Vec<(LinkId, Place)> = callers.iter().map(|(link, told)| (*link, mesh::places(told)[0])).collect();
    let relayed = quickest(|watch| {
        let call = |(link, place): &(LinkId, Place)| mesh.call(*link, Target::Any(place.group));
        let calls: Vec<Input> = callers.iter().map(call).collect();
        let sent = watch.time(calls.len(), || mesh.frames(calls));
        let answers = mesh::answers(&sent);
        ensure!(answers.len() == callers.len(), "all are called");
        watch.time(0, || mesh.feed(answers));
        Ok(())
    })?;
    table.constant("a relayed call in one of them, there and back", relayed);
    let list = quickest(|watch| {
        let frame = Frame::new(Header::ListLoads { id: 1, detail: Detail::Usage });
        watch.time(1, || mesh.feed([Input::Frame { link: callers[0].0, frame }]));
        Ok(())
    })?;
    table.constant("a list of a tenant's processes and what they do", list);
    table.bytes("memory of the controller, a tenant with a node", bytes);
    Ok(())
}
