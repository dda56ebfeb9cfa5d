//! What a caller of another tenant is told when a callback fails that its tenant exports: what happened to the call, and
//! nothing of who else is there, what others said, and what the tenant may use; and how much of that is there for his calls.

use super::cluster::output::says;
use super::cluster::{Cluster, Running, component};

/// Modules of acme, each a name, a component and further keys, that exports `callbacks` to globex; in the controller.
fn acme(cluster: &Cluster, callbacks: &str, ceiling: &str, modules: &[(&str, &str, &str)]) -> Running {
    let module = |(name, guest, keys): &(&str, &str, &str)| {
        format!("[[module]]\npath = {:?}\nname = {name:?}\ntenant = 'acme'\n{keys}\n", component(guest))
    };
    let modules: String = modules.iter().map(module).collect();
    let exports = format!("exports = [{{ callbacks = ['{callbacks}'], to = ['globex'] }}]");
    let config = format!("[runtime]\ncontroller = true\n[tenant.acme]\n{exports}\n{ceiling}\n{modules}");
    cluster.bare("acme").config(&config).ready()
}

/// A script of globex, which imports all that acme exports.
fn globex(cluster: &Cluster, steps: &[&str]) -> Running {
    let keys = format!("env = {{ SCRIPT = {:?} }}", steps.join("\n"));
    let module = format!("[[module]]\npath = {:?}\nname = 'script'\ntenant = 'globex'\n{keys}\n", component("script"));
    let config = format!("[tenant.globex]\nimports = ['acme::*']\n{module}");
    cluster.runtime("globex").config(&config).start()
}

/// That nothing which a runtime printed has any of these texts.
#[track_caller]
fn never_says(running: &Running, secrets: &[&str]) {
    let said = running.lines().join("\n");
    let told: Vec<_> = secrets.iter().filter(|secret| said.contains(**secret)).collect();
    assert!(told.is_empty(), "{told:?} is told: {said}");
}

#[test]
fn a_call_whose_instance_ends_in_a_call_of_the_tenants_own_learns_nothing_of_that() {
    let cluster = Cluster::new();
    let acme = acme(&cluster, "fixtures:concurrent/tasks*#hold", "", &[("tasks", "fixtures-concurrent", "")]);
    let script = globex(&cluster, &["ready acme::hold [\"held\", 60000]"]);
    acme.wait_for_line("held started");
    let own = cluster.run(["call", "--tenant", "acme", r#"trap("customer 17 password hunter2", 0)"#]);
    assert_eq!(own.code(), 1, "{own:#?}");
    says(&own.stderr, &["hunter2"]);
    let told = script.wait_for_line("acme::hold failed");
    says(&told, &["failed trap fixtures:concurrent/tasks@0.1.0#hold ended with its instance, which trapped"]);
    never_says(&script, &["customer", "hunter2", "panicked", "tasks@0.1.0#trap"]);
    // Who runs acme's modules can see why.
    says(&acme.wait_for_line("was not told why"), &["hunter2"]);
}

#[test]
fn a_call_that_traps_itself_is_told_so_and_not_why_be_it_alone_or_one_of_a_broadcast() {
    let cluster = Cluster::new();
    let _acme = acme(&cluster, "fixtures:guest/faults*", "", &[("shop", "fixtures", "")]);
    let steps = ["ready acme::faults#trap [\"hunter2\"]", "all - acme::faults#trap [\"hunter2\"]", "print done"];
    let script = globex(&cluster, &steps);
    script.wait_for_line("done");
    says(&script.wait_for_line("trap failed"), &["failed trap ", "ended with its instance, which trapped"]);
    says(&script.wait_for_line("at shop failed"), &["failed trap ", "ended with its instance, which trapped"]);
    never_says(&script, &["hunter2", "panicked"]);
}

#[test]
fn a_callback_that_called_others_of_its_tenant_in_vain_does_not_name_them() {
    let cluster = Cluster::new();
    let modules = [("shop", "pipeline-shop", ""), ("secret-till", "pipeline-till", "queue = 1")];
    let _acme = acme(&cluster, "demo:pipeline/shop#buy", "", &modules);
    // Nobody knows taxes, so that the till waits; behind this one there is one place.
    let total = ["--tenant", "acme", "total(\"apple\")"];
    let _waiting = [cluster.calling(&total), cluster.calling(&total)];
    cluster.has_in("acme", "secret-till", "in-flight", 2);
    let own = cluster.run(["call", "--tenant", "acme", "buy(\"apple\")"]);
    says(&own.stderr, &["demo:pipeline/till#total", "secret-till has 1 calls in its queue"]);
    let script = globex(&cluster, &["ready acme::buy [\"apple\"]"]);
    let told = script.wait_for_line("acme::buy failed");
    says(&told, &["failed trap demo:pipeline/shop#buy ended with its instance, which trapped"]);
    never_says(&script, &["till"]);
}

#[test]
fn a_call_for_which_a_tenant_has_no_room_does_not_learn_how_much_it_has() {
    let cluster = Cluster::new();
    let modules = [("shop", "fixtures", "instances = 'pool:4'")];
    let acme = acme(&cluster, "fixtures:guest/state*#hold", "max-concurrency = 1", &modules);
    let _held = cluster.calling(&["--tenant", "acme", "hold(\"own\", 60000)"]);
    acme.wait_for_line("own started");
    let own = cluster.run(["call", "--tenant", "acme", "hold(\"more\", 1)"]);
    says(own.one_line_error(3), &["tenant acme may have 1 calls that run at once", "max-concurrency"]);
    let script = globex(&cluster, &["ready acme::hold [\"held\", 60000]"]);
    let told = script.wait_for_line("acme::hold failed");
    says(&told, &["not-run overloaded", "#hold was not called: there is no room for it now; try later"]);
    never_says(&script, &["max-concurrency", "tenant acme", "may have"]);
}

#[test]
fn the_reader_of_a_stream_whose_writer_traps_is_told_so_and_not_why() {
    let cluster = Cluster::new();
    let modules = [("writers", "fixtures-streams", "")];
    let _acme = acme(&cluster, "fixtures:streams/writers*", "", &modules);
    let steps = ["stream-ready acme::trap-after [3]", "reply", "drain 0", "print done"];
    let script = globex(&cluster, &steps);
    script.wait_for_line("done");
    says(&script.wait_for_line("0 failed"), &["failed trap ", "ended with its instance, which trapped"]);
    never_says(&script, &["panicked", "of writers"]);
}

#[test]
fn calls_from_another_tenant_leave_half_of_a_ceiling_to_the_tenants_own() {
    let cluster = Cluster::new();
    let modules = [("tasks", "fixtures-concurrent", ""), ("other", "fixtures", "")];
    let acme = acme(&cluster, "fixtures:concurrent/tasks*#hold", "max-concurrency = 2", &modules);
    let hold = |mark: &str| format!("bg acme::hold [\"{mark}\", 60000]");
    let script =
        globex(&cluster, &["wait-callback acme::hold 60000", &hold("one"), &hold("two"), "await 1", "await 0"]);
    acme.wait_for_line("one started");
    says(&script.wait_for_line("acme::hold failed"), &["not-run overloaded", "there is no room for it now"]);
    let add = ["call", "--tenant", "acme", "--receiver", "other", "add(40, 2)"];
    assert_eq!(cluster.run(add).success(), "42");
}
