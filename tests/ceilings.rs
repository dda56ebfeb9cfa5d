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
fn guests_of_a_tenant_print_no_faster_than_it_may() {
    let shared = Shared::with("fixtures", "max-output-rate = '1KiB'", "instances = 'per-call'");
    let print = format!("print({:?})", "x".repeat(60_000));
    for process in ["a", "b"] {
        let call = ["call", "--timeout", "500ms", "--receiver", process, &print];
        says(shared.cluster.run(call).one_line_error(1), &["print", "deadline"]);
    }
    shared.call("c", &print).success();
}
