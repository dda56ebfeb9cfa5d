//! `daffi-runtime ps`: who is on the mesh.

use std::fmt::Write as _;
use std::time::Duration;

use daffi_proto::call::{CallbackInfo, Detail, Load, ProcessInfo};
use daffi_proto::id::TenantName;
use daffi_proto::name::CallbackName;
use daffi_proto::signature::Signature;
use daffi_proto::signature::wit::wit_document;
use daffi_proto::usage::Usage;
use serde::Serialize;

use super::args::PsArgs;
use super::client::{self, Client, Joining, LEAVE_TIMEOUT, call_failure};
use super::stdout::print;
use super::table::table;
use super::usage::{UsageJson, short_bytes, short_time};
use crate::exit::Failure;

/// How long joining may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Lists the processes.
///
/// # Errors
/// No controller.
pub fn run(args: &PsArgs) -> Result<(), Failure> {
    let tenant = args.connect.tenant.clone().unwrap_or_default();
    let processes = client::block_on(async {
        let client = Client::join(&args.connect, Joining::AtOnce(JOIN_TIMEOUT)).await?;
        let processes = client.mesh().processes_in_detail(client.tenant(), Detail::Usage).await;
        client.leave(LEAVE_TIMEOUT).await;
        processes.map_err(|error| call_failure(&error))
    })?;
    let text = match (args.json, args.wit) {
        (true, _) => as_json(&processes),
        (_, true) => as_wit(&processes),
        _ => as_table(&processes, &tenant),
    };
    print(&text).map(drop)
}

/// A process in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Process<'a> {
    process: &'a str,
    tenant: &'a str,
    node: &'a str,
    instances: &'a str,
    live_instances: u32,
    in_flight: u32,
    schedules: u32,
    open_calls: u32,
    open_streams: u32,
    handles: u32,
    /// None where its node has not told it yet.
    usage: Option<UsageJson<'a>>,
    callbacks: Vec<Callback>,
}

/// A callback in JSON.
#[derive(Serialize)]
struct Callback {
    name: String,
    signature: String,
    #[serde(rename = "async")]
    is_async: bool,
}

fn as_json(processes: &[ProcessInfo]) -> String {
    let callback = |callback: &CallbackInfo| Callback {
        name: callback.name.to_string(),
        signature: callback.signature.to_wit(),
        is_async: callback.signature.is_async,
    };
    let all = processes.iter().map(|process| Process {
        process: process.process.name.as_str(),
        tenant: process.process.tenant.as_str(),
        node: &process.node,
        instances: &process.instances,
        live_instances: process.load.instances,
        in_flight: process.load.in_flight,
        schedules: process.load.schedules,
        open_calls: process.load.open_calls,
        open_streams: process.load.open_streams,
        handles: process.load.handles,
        usage: process.usage.as_deref().map(UsageJson::from),
        callbacks: process.callbacks.iter().map(callback).collect(),
    });
    let all: Vec<_> = all.collect();
    // Nothing in it can fail to be JSON.
    serde_json::to_string_pretty(&all).unwrap_or_default() + "\n"
}

fn as_wit(processes: &[ProcessInfo]) -> String {
    let mut callbacks: Vec<(CallbackName, &Signature)> = processes
        .iter()
        .flat_map(|process| &process.callbacks)
        .map(|callback| (callback.name.clone(), callback.signature.as_ref()))
        .collect();
    callbacks.sort_by(|a, b| a.0.cmp(&b.0));
    callbacks.dedup_by(|a, b| a.0 == b.0 && a.1.fingerprint() == b.1.fingerprint());
    wit_document(&callbacks)
}

/// Reads one number of a load.
type Count = fn(&Load) -> u32;

/// Reads something of what was used; none where there is nothing.
type Used = fn(&Usage) -> Option<String>;

/// What was used and has a column.
const USED: [(&str, Used); 4] = [
    ("SERVED", |usage| Some(usage.served()).filter(|calls| *calls > 0).map(|calls| calls.to_string())),
    ("FAILED", |usage| Some(usage.failed()).filter(|calls| *calls > 0).map(|calls| calls.to_string())),
    ("CPU", |usage| Some(usage.cpu_time).filter(|time| !time.is_zero()).map(short_time)),
    ("MEMORY", |usage| Some(usage.memory_bytes).filter(|bytes| *bytes > 0).map(short_bytes)),
];

/// A line a process of this tenant, its callbacks below it. Whether there is such a tenant nobody knows: it is where its processes
/// are.
fn as_table(processes: &[ProcessInfo], tenant: &TenantName) -> String {
    if processes.is_empty() {
        let of_others = "`--tenant NAME` shows those of another";
        return format!("no process of tenant {tenant} is on the mesh; {of_others}\n");
    }
    // These have a column only where there is something in it.
    let counts: [(&str, Count); 4] = [
        ("SCHEDULES", |load| load.schedules),
        ("OPEN-CALLS", |load| load.open_calls),
        ("STREAMS", |load| load.open_streams),
        ("HANDLES", |load| load.handles),
    ];
    let any = |count: Count| processes.iter().any(|process| count(&process.load) > 0);
    let counts: Vec<_> = counts.into_iter().filter(|(_, count)| any(*count)).collect();
    let heading = ["PROCESS", "TENANT", "NODE", "INSTANCES", "LIVE", "IN-FLIGHT"].into_iter();
    let read = |process: &ProcessInfo, used: Used| process.usage.as_deref().and_then(used);
    let used: Vec<_> =
        USED.into_iter().filter(|(_, used)| processes.iter().any(|p| read(p, *used).is_some())).collect();
    let heading = heading.chain(counts.iter().map(|(word, _)| *word)).chain(used.iter().map(|(word, _)| *word));
    let heading = heading.map(str::to_owned).collect();
    let rows = processes.iter().map(|process| {
        let fixed = [
            process.process.name.to_string(),
            process.process.tenant.to_string(),
            process.node.clone(),
            process.instances.clone(),
            process.load.instances.to_string(),
            process.load.in_flight.to_string(),
        ];
        let counts = counts.iter().map(|(_, count)| count(&process.load).to_string());
        let used = used.iter().map(|(_, used)| read(process, *used).unwrap_or_else(|| "0".to_owned()));
        fixed.into_iter().chain(counts).chain(used).collect()
    });
    let rows: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    let mut text = String::new();
    let callbacks = std::iter::once(None).chain(processes.iter().map(Some));
    for (line, process) in table(&rows).iter().zip(callbacks) {
        let _ = writeln!(text, "{line}");
        for callback in process.into_iter().flat_map(|process| &process.callbacks) {
            let _ = writeln!(text, "    {}: {}", callback.name, callback.signature.to_wit());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daffi_proto::id::{ProcessName, ProcessRef};
    use daffi_proto::signature::{Field, Type};

    use super::*;

    fn as_table(processes: &[ProcessInfo]) -> String {
        super::as_table(processes, &TenantName::default())
    }

    fn process(name: &str) -> ProcessInfo {
        let field = |name: &str| Field { name: name.to_owned(), ty: Type::S64 };
        let signature = Signature {
            defs: Vec::new(),
            params: vec![field("a"), field("b")],
            result: Some(Type::S64),
            is_async: false,
        };
        let callback = CallbackInfo { name: "demo:tutorial/math#sum".parse().unwrap(), signature: Arc::new(signature) };
        ProcessInfo {
            process: ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() },
            node: "host-1".to_owned(),
            instances: "pool:2".to_owned(),
            load: Load { instances: 2, in_flight: 1, ..Load::default() },
            callbacks: vec![callback],
            usage: None,
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_process_and_its_callbacks_below() {
        let table = as_table(&[process("a"), process("a-longer-name")]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "PROCESS        TENANT   NODE    INSTANCES  LIVE  IN-FLIGHT");
        assert_eq!(lines[1], "a              default  host-1  pool:2     2     1");
        assert_eq!(lines[2], "    demo:tutorial/math#sum: func(a: s64, b: s64) -> s64");
        let scheduling = ProcessInfo { load: Load { schedules: 3, ..process("b").load }, ..process("b") };
        let table = as_table(&[process("a"), scheduling]);
        assert!(table.starts_with("PROCESS  TENANT   NODE    INSTANCES  LIVE  IN-FLIGHT  SCHEDULES\n"), "{table}");
        assert_eq!(table.lines().nth(3).unwrap(), "b        default  host-1  pool:2     2     1          3");
        let busy = Load { open_calls: 3, open_streams: 2, handles: 12, ..process("b").load };
        let table = as_table(&[ProcessInfo { load: busy, ..process("b") }]);
        assert!(
            table.starts_with("PROCESS  TENANT   NODE    INSTANCES  LIVE  IN-FLIGHT  OPEN-CALLS  STREAMS  HANDLES\n")
        );
        assert!(table.lines().nth(1).unwrap().ends_with("1          3           2        12"), "{table}");
        let acme = TenantName::new("acme").unwrap();
        let none = super::as_table(&[], &acme);
        assert_eq!(none, "no process of tenant acme is on the mesh; `--tenant NAME` shows those of another\n");
    }

    #[test]
    fn what_was_used_has_a_column_where_there_is_some() {
        let usage = Usage { cpu_time: Duration::from_millis(1500), memory_bytes: 3 << 20, ..Usage::default() };
        let table = as_table(&[ProcessInfo { usage: Some(usage.into()), ..process("b") }, process("c")]);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].ends_with("IN-FLIGHT  CPU   MEMORY"), "{table}");
        assert!(lines[1].ends_with("1          1.5s  3MiB") && lines[3].ends_with("1          0     0"), "{table}");
    }

    #[test]
    fn json_has_the_same_words() {
        let load = Load { open_calls: 3, open_streams: 2, handles: 12, ..process("a").load };
        let busy = ProcessInfo { load, ..process("a") };
        let list: serde_json::Value = serde_json::from_str(&as_json(&[busy])).unwrap();
        assert_eq!(list[0]["process"], "a");
        assert_eq!(list[0]["in-flight"], 1);
        assert_eq!(
            (&list[0]["open-calls"], &list[0]["open-streams"], &list[0]["handles"]),
            (&3.into(), &2.into(), &12.into())
        );
        assert_eq!(list[0]["callbacks"][0]["signature"], "func(a: s64, b: s64) -> s64");
    }

    #[test]
    fn a_callback_of_two_processes_is_in_the_wit_once() {
        let wit = as_wit(&[process("a"), process("b")]);
        assert_eq!(wit.matches("sum: func").count(), 1, "{wit}");
    }
}
