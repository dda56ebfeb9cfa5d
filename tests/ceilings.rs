//! Ceilings: what all modules of a tenant in a runtime may use together.

use super::cluster::output::says;
use super::cluster::{Cluster, Output, Running, component};

/// A controller with two modules, `a` and `b`, and one of tenant globex, `c`, of this component; `default` has this ceiling.
struct Shared {
    cluster: Cluster,
    server: Running,
}

impl Shared {
    fn new(guest: &str, ceiling: &str) -> Self {
        Self::with(guest, ceiling, "")
    }

    /// The same, with these keys in each module's table.
    fn with(guest: &str, ceiling: &str, keys: &str) -> Self {
        let cluster = Cluster::new();
        let path = component(guest);
        let module =
            |tenant, name| format!("[[module]]\npath = {path:?}\nname = {name:?}\ntenant = {tenant:?}\n{keys}\n");
        let modules = [module("default", "a"), module("default", "b"), module("globex", "c")].concat();
        let config = format!("[runtime]\ncontroller = true\n[tenant.default]\n{ceiling}\n{modules}");
        let server = cluster.bare("server").config(&config).ready();
        Self { cluster, server }
    }

    fn call(&self, process: &str, call: &str) -> Output {
        self.cluster.run(["call", "--tenant", tenant_of(process), "--receiver", process, call])
    }

    /// A call that goes on until it is killed.
    fn held(&self, process: &str, mark: &str) -> Running {
        let call = format!("hold({mark:?}, 60000)");
        self.cluster.calling(&["--tenant", tenant_of(process), "--receiver", process, &call])
    }

    /// A call that did not run, since its tenant has as much as this key says.
    #[track_caller]
    fn refuses(&self, process: &str, call: &str, key: &str) {
        says(self.call(process, call).one_line_error(3), &["overloaded", "tenant default", key]);
    }
}

fn tenant_of(process: &str) -> &'static str {
    if process == "c" { "globex" } else { "default" }
}

#[test]
fn memory_of_a_tenant_is_shared_by_its_modules() {
    let shared = Shared::new("fixtures", "max-memory = '96MiB'");
    shared.call("a", "grow(60)").success();
    let refused = shared.call("b", "grow(60)");
    assert_eq!(refused.code(), 1, "{refused:#?}");
    says(&refused.stderr, &["tenant default", "max-memory"]);
    shared.call("c", "grow(60)").success();
    shared.call("b", "count()").success();
    // Nor is there room for an instance.
    let shared = Shared::new("fixtures", "max-memory = '64KiB'");
    shared.refuses("a", "count()", "max-memory");
}

#[test]
fn instances_of_a_tenant_are_shared_and_what_ended_makes_room() {
    let shared = Shared::new("fixtures", "max-instances = 1");
    shared.call("a", "count()").success();
    shared.refuses("b", "count()", "max-instances");
    shared.call("c", "count()").success();
    shared.call("a", "trap-unreachable()");
    shared.call("b", "count()").success();
}

#[test]
fn calls_that_run_in_a_tenant_are_shared_and_those_that_wait_too() {
    for guest in ["fixtures", "fixtures-concurrent"] {
        let keys = "concurrency = 1";
        let shared = Shared::with(guest, "max-concurrency = 1\nmax-queue = 1", keys);
        let first = shared.held("a", "first");
        shared.server.wait_for_line("first started");
        shared.refuses("b", "hold(\"no\", 1)", "max-concurrency");
        let _other = shared.held("c", "other");
        shared.server.wait_for_line("other started");
        // One waits behind it, and no more do.
        let second = shared.held("a", "second");
        shared.cluster.has_in_flight("a", 2);
        shared.refuses("a", "hold(\"no\", 1)", "max-queue");
        assert!(!second.ended() && !first.ended());
    }
}

#[test]
fn a_tenant_is_called_no_more_often_than_its_rate_says() {
    let shared = Shared::new("fixtures", "max-call-rate = 2");
    let refused = (0..).find_map(|turn| {
        let output = shared.call(["a", "b"][turn % 2], "add(1, 2)");
        (output.code() != 0).then_some(output)
    });
    says(
        refused.unwrap().one_line_error(3),
        &["overloaded", "tenant default takes 2 calls", "max-call-rate", "again in"],
    );
    shared.call("c", "add(1, 2)").success();
}

#[test]
fn streams_that_modules_of_a_tenant_have_open_are_shared() {
    let cluster = Cluster::new();
    let module =
        |name: &str| format!("[[module]]\npath = {:?}\nname = {name:?}\ntenant = 'default'\n", component(name));
    let modules = ["fixtures-streams", "fixtures-streamer"].map(module).concat();
    let config = format!("[runtime]\ncontroller = true\n[tenant.default]\nmax-open-streams = 8\n{modules}");
    let _server = cluster.bare("server").config(&config).ready();
    let drive = |call: &str| cluster.run(["call", call]);
    // Each has two ends here.
    assert_eq!(drive("open(4)").success(), "4");
    let refused = drive("open(5)");
    assert_eq!(refused.code(), 1, "{refused:#?}");
    says(&refused.stderr, &["hang-after", "tenant default may have 8 open streams and futures", "max-open-streams"]);
}

#[test]
fn handles_and_schedules_of_a_tenant_are_shared() {
    let shared = Shared::new("fixtures-hostile", "max-handles = 100");
    says(shared.call("a", "leak-handles(60)").success(), &["ok"]);
    let refused = shared.call("b", "leak-handles(60)");
    says(refused.success(), &["err", "not-run overloaded", "tenant default may have 100 handles", "max-handles"]);
    says(shared.call("c", "leak-handles(1000)").success(), &["ok"]);

    let shared = Shared::new("fixtures", "max-schedules = 2");
    let add = |process: &str| {
        let tenant = tenant_of(process);
        let plan = ["--every", "1h", "--tenant", tenant, "--receiver", process];
        shared.cluster.run(["schedule", "add", "add(1, 2)"].iter().chain(&plan))
    };
    let first = add("a");
    add("b").success();
    says(add("b").one_line_error(3), &["overloaded", "tenant default may have 2 schedules", "max-schedules"]);
    add("c").success();
    let id = first.success().trim();
    shared.cluster.run(["schedule", "cancel", id]).success();
    add("b").success();
}

#[test]
fn handles_of_wasi_count_among_those_of_a_tenant_and_what_is_closed_makes_room() {
    let cluster = Cluster::new();
    let _server = files(&cluster);
    let keep = |process: &str, times: u32| {
        let call = format!("keep-files(\"/data/note\", {times})");
        cluster.run(["call", "--tenant", tenant_of(process), "--receiver", process, &call])
    };
    // Each may have 256 by itself, and the adapter in the component has room for 128.
    says(keep("a", 60).success(), &["ok"]);
    let refused = keep("b", 60);
    says(refused.one_line_error(1), &["limit-exceeded", "tenant default may have 100 handles", "max-handles"]);
    says(keep("c", 110).success(), &["ok"]);
    // What the instance had that has ended is free, and what is closed is: an instance needs a few for itself.
    says(keep("b", 20).success(), &["ok"]);
    cluster.run(["call", "--receiver", "a", "close-files()"]).success();
    says(keep("b", 60).success(), &["ok"]);
}

/// Modules `a` and `b` of the tenant `default`, which may have 100 handles, and `c` of globex, which read a folder.
fn files(cluster: &Cluster) -> Running {
    std::fs::create_dir(cluster.path("data")).unwrap();
    cluster.file("data/note", "a note");
    let module = |name: &str| {
        let (path, tenant) = (component("fixtures-hostile"), tenant_of(name));
        format!(
            "[[module]]\npath = {path:?}\nname = {name:?}\ntenant = {tenant:?}\n\
             preopens = [{{ host = 'data', guest = '/data' }}]\n"
        )
    };
    let modules = ["a", "b", "c"].map(module).concat();
    let config = format!("[runtime]\ncontroller = true\n[tenant.default]\nmax-handles = 100\n{modules}");
    cluster.bare("server").config(&config).ready()
}

#[test]
fn what_open_calls_of_a_tenant_hold_is_shared_and_comes_back_when_they_end() {
    let cluster = Cluster::new();
    // Each calls the one that holds calls, of its own tenant.
    let path = component("fixtures");
    let module = |tenant: &str, name: &str, keys: &str| {
        format!("[[module]]\npath = {path:?}\nname = {name:?}\ntenant = {tenant:?}\n{keys}\n")
    };
    let caller = "callbacks = ['fixtures:guest/calls*']";
    let holder = "callbacks = ['fixtures:guest/state*']\ninstances = 'per-call'";
    let modules = [
        module("default", "a", caller),
        module("default", "b", caller),
        module("default", "holder", holder),
        module("globex", "c", caller),
        module("globex", "keeper", holder),
    ];
    let modules = modules.concat();
    let config = format!("[runtime]\ncontroller = true\n[tenant.default]\nmax-held = '64KiB'\n{modules}");
    let _server = cluster.bare("server").config(&config).ready();
    let begin = |process: &str| {
        let arguments = format!("[\"{}\", 60000]", "x".repeat(40_000)).replace('"', "\\\"");
        let call = format!("begin(\"hold\", \"{arguments}\", 1)");
        cluster.run(["call", "--tenant", tenant_of(process), "--receiver", process, &call])
    };
    // Each may hold 64 MiB by itself.
    says(begin("a").success(), &["ok"]);
    says(begin("b").success(), &["err", "overloaded", "tenant default may have 65536 bytes", "max-held"]);
    says(begin("c").success(), &["ok"]);
    assert_eq!(cluster.run(["call", "--receiver", "a", "forget()"]).success(), "1");
    cluster.has("a", "open-calls", 0);
    says(begin("b").success(), &["ok"]);
}

/// Two modules of the tenant `default`, which may have 1.5 MiB of large items on their way, and one of globex, that do what
/// their scripts say.
fn scripted(cluster: &Cluster, scripts: [&[&str]; 3]) -> Running {
    let path = component("script");
    let module = |(name, steps): (&str, &[&str])| {
        let (tenant, steps) = (tenant_of(name), steps.join("\n"));
        format!("[[module]]\npath = {path:?}\nname = {name:?}\ntenant = {tenant:?}\nenv = {{ SCRIPT = {steps:?} }}\n")
    };
    let modules: String = ["a", "b", "c"].into_iter().zip(scripts).map(module).collect();
    let config = format!("[runtime]\ncontroller = true\n[tenant.default]\nmax-stream-bytes = '1536KiB'\n{modules}");
    cluster.bare("server").config(&config).start()
}

/// A process of each tenant, in runtimes of their own, that writes and reads what it is asked to.
fn peers(cluster: &Cluster) -> [Running; 2] {
    ["default", "globex"].map(|tenant| {
        let peer = cluster.runtime(&format!("peer-{tenant}")).module("peer", "fixtures-streams");
        peer.args(["--instances", "per-call", "--tenant", tenant]).start()
    })
}

/// What scripts wait for: a process of this name.
fn signal(cluster: &Cluster, name: &str) -> Running {
    cluster.runtime(name).module(name, "fixtures").ready()
}

const READY: &str = "wait-callback hold-blobs 60000";

#[test]
fn large_items_that_guests_of_a_tenant_wrote_are_shared_and_the_writer_waits() {
    let cluster = Cluster::new();
    // Of each stream the first item goes to the reader's runtime, and the second stays here while that is not read.
    let two = ["stream readers#hold-blobs [0, 0]", "blob 0 1048576", "blob 0 1048576", "print has written two"];
    let a: [&[&str]; 3] =
        [&[READY], &two[..], &["wait-process full 60000", "wait-process over 60000", "drop-reply", "ended 0"]];
    let b: [&[&str]; 3] = [
        &["wait-process full 60000", "stream-within 2000 readers#hold-blobs [0, 0]", "blob 0 1048576", "ended 0"],
        &["print waited", "wait-process free 60000"],
        &two[..],
    ];
    let c: [&[&str]; 2] = [&[READY], &two[..]];
    let server = scripted(&cluster, [&a.concat(), &b.concat(), &c.concat()]);
    let _peers = peers(&cluster);
    server.wait_for_line("a | has written two");
    server.wait_for_line("globex::c | has written two");
    let _full = signal(&cluster, "full");
    let refused = server.wait_for_line("b | write failed");
    says(&refused, &["deadline-exceeded"]);
    server.wait_for_line("b | waited");
    let _over = signal(&cluster, "over");
    server.wait_for_line("a | 0 failed");
    let _free = signal(&cluster, "free");
    server.wait_for_line("b | has written two");
}

#[test]
fn large_items_that_guests_of_a_tenant_are_to_read_are_shared_and_stay_with_their_writers() {
    let cluster = Cluster::new();
    let comes = ["stream writers#blobs [[1048576, 1048576, 1048576]]", "reply", "arrives 0"];
    let all = ["drain 0", "print has read all"];
    let a: [&[&str]; 4] = [&[READY], &comes[..], &["wait-process over 60000"], &all[..]];
    let b: [&[&str]; 4] = [
        &["wait-process full 60000", "stream-within 2000 writers#blobs [[1048576]]", "reply", "read 0"],
        &["wait-process free 60000"],
        &comes[..],
        &all[..],
    ];
    let c: [&[&str]; 3] = [&[READY], &comes[..], &all[..]];
    let server = scripted(&cluster, [&a.concat(), &b.concat(), &c.concat()]);
    let _peers = peers(&cluster);
    server.wait_for_line("a | 0 has something");
    let _full = signal(&cluster, "full");
    says(&server.wait_for_line("b | 0 failed"), &["deadline-exceeded"]);
    server.wait_for_line("globex::c | has read all");
    let _over = signal(&cluster, "over");
    says(&server.wait_for_line("a | 0 gave"), &["3 in all"]);
    let _free = signal(&cluster, "free");
    says(&server.wait_for_line("b | 0 gave"), &["3 in all"]);
}

#[test]
fn guests_of_a_tenant_print_no_faster_than_it_may() {
    let shared = Shared::with("fixtures", "max-output-rate = '1KiB'", "instances = 'per-call'");
    let print = format!("print({:?})", "x".repeat(60_000));
    for process in ["a", "b"] {
        let call = ["call", "--timeout", "500ms", "--receiver", process, &print];
        says(shared.cluster.run(call).one_line_error(1), &["print", "deadline"]);
    }
    shared.call("c", &print).success();
}
