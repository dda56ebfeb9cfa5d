//! A runtime in which more guests spin than it has threads for guests: calls of others go on, and every deadline is kept.
//!
//! The spinners are of three tenants and of each kind that there is: synchronous callbacks, async ones, and a `run`. What is
//! kept in time is told by what happens while they still spin, which [`Siege::still_stands`] asserts last; how long it took
//! is the machine's, and nobody measures it.

use std::fmt::Write as _;
use std::num::NonZero;

use rustix::process::Signal;

use super::cluster::output::says;
use super::cluster::{CONNECTED, Cluster, Output, Running, component};

/// Longer than any test: what ends before it was ended.
const FOR_EVER: &str = "1h";

/// More than a peer may be silent for (three heartbeats of 2 s), in ticks of [`TICK`].
const TICKS: usize = 16;
const TICK: &str = "500ms";

/// The modules that mean no harm, all of the tenant `quiet`.
const QUIET: [(&str, &str, &str); 5] = [
    ("neighbour", "fixtures", "instances = 'pool:2'"),
    ("queuer", "fixtures", "queue-time = '200ms'"),
    ("brief", "fixtures", "max-call-time = '300ms'"),
    ("waiter", "fixtures-concurrent", ""),
    ("streams", "fixtures-streams", ""),
];

/// Asks for what takes too long, in every way that has a time; once the spinners spin, which `gate` tells by being there.
const SCRIPT: &str = r#"
wait-process gate 600000
watch
times 8 event 200
call-with timeout=300,receiver=gate state#hold ["by name", 600000]
bg-with timeout=300,receiver=gate state#hold ["in the background", 600000]
await 0
all timeout=300 tasks#hold ["to all", 2000]
call-with eta=300,receiver=gate who []
wait-process nobody 300
wait-callback nobody 300
stream-within 300 writers#hang-after [3]
reply
read-all 0
print all was said
"#;

/// A controller, and a runtime that spins.
struct Siege {
    cluster: Cluster,
    controller: Running,
    server: Running,
    gate: Running,
    spinning: Vec<Running>,
}

impl Siege {
    /// Begins: when this returns, all of them spin.
    fn begin() -> Self {
        let cluster = Cluster::new();
        let controller = cluster.bare("controller").args(["--controller", "--no-node"]).start();
        controller.wait_for_line("listening on");
        let threads = std::thread::available_parallelism().map_or(2, NonZero::get);
        let server = cluster.runtime("server").config(&config(threads)).ready();
        server.wait_for_line("it spins");
        let spin = |tenant, call| cluster.calling(&["--tenant", tenant, "--timeout", FOR_EVER, call]);
        let calls = (0..threads).flat_map(|_| [("acme", "spin()"), ("globex", "tasks#spin()")]);
        let spinning = calls.map(|(tenant, call)| spin(tenant, call)).collect();
        let gate = cluster.runtime("gate").module("gate", "fixtures");
        let gate = gate.args(["--tenant", "quiet", "--instances", "pool:2"]).ready();
        let siege = Self { cluster, controller, server, gate, spinning };
        siege.all_spin();
        siege
    }

    /// Waits until each has an instance that computes.
    fn all_spin(&self) {
        let each = u32::try_from(self.spinning.len() / 2).unwrap();
        self.cluster.has_in("acme", "spinner", "in-flight", each);
        self.cluster.has_in("globex", "spinner", "in-flight", each);
    }

    fn quiet(&self, args: &[&str]) -> Output {
        self.cluster.run([args, &["--tenant", "quiet"]].concat())
    }

    fn at(&self, receiver: &str, call: &str) -> Output {
        self.quiet(&["call", "--receiver", receiver, call])
    }

    /// Nobody has lost anybody, and no spinner has ended.
    fn still_stands(&self) {
        assert!(self.spinning.iter().all(|spinner| !spinner.ended()), "a spinner has ended");
        self.all_spin();
        for runtime in [&self.controller, &self.server, &self.gate] {
            assert_eq!(runtime.count("lost"), 0);
        }
        assert_eq!(self.server.count("its run"), 0, "the run that spins has ended");
    }
}

/// One spinner of each kind a thread, and those that mean no harm.
fn config(threads: usize) -> String {
    let mut config = "[runtime]\ndrain-timeout = '1s'\n".to_owned();
    let mut module = |tenant: &str, name: &str, file: &str, more: &str| {
        let path = component(file);
        write!(config, "\n[[module]]\npath = {path:?}\nname = {name:?}\ntenant = {tenant:?}\n{more}\n").unwrap();
    };
    let pool = format!("instances = 'pool:{}'\nmax-call-time = {FOR_EVER:?}", threads + 1);
    module("acme", "spinner", "fixtures", &pool);
    module("globex", "spinner", "fixtures-concurrent", &format!("{pool}\nasync-calls = 1"));
    module("initech", "spinner", "script", r#"env = { SCRIPT = "print it spins\nspin" }"#);
    for (name, file, more) in QUIET {
        module("quiet", name, file, more);
    }
    module("quiet", "script", "script", &format!("env = {{ SCRIPT = '''{SCRIPT}''' }}"));
    config
}

#[test]
fn calls_of_other_tenants_go_on_beside_more_spinning_guests_than_threads() {
    let siege = Siege::begin();
    // One that ends in the driver's task, those that wait for the host, and one to elsewhere.
    assert_eq!(siege.at("neighbour", "add(40, 2)").success(), "42");
    assert_eq!(siege.at("neighbour", r#"state#hold("x", 10)"#).success(), r#""x""#);
    assert_eq!(siege.at("waiter", r#"tasks#hold("x", 10)"#).success(), "1");
    assert_eq!(siege.at("gate", "who()").success(), r#""gate""#);
    let nested = r#"forward("who", "[]", some("gate"), none)"#;
    assert_eq!(siege.at("neighbour", nested).success(), r#"ok("\"gate\"")"#);
    // One that computes has its turns: the spinners are interrupted.
    assert_eq!(siege.at("neighbour", r#"burn("x", 50)"#).success(), r#""x""#);
    // A tenant that spins has another instance left, and is served in it too.
    assert_eq!(siege.cluster.run(["call", "--tenant", "acme", "add(1, 2)"]).success(), "3");
    siege.still_stands();
}

#[test]
fn deadlines_of_calls_hold_for_those_who_spin_and_beside_them() {
    let siege = Siege::begin();
    // Whose verdict is first, the callee's or the caller's, is a matter of luck on a machine that has more to do than it can.
    let deadline = |tenant: &str, receiver: &str, call: &str| {
        let args = ["call", "--tenant", tenant, "--receiver", receiver, "--timeout", "300ms", call];
        let output = siege.cluster.run(args);
        assert!(matches!(output.code(), 1 | 4), "{output:#?}");
        says(&output.stderr, &["deadline"]);
    };
    deadline("quiet", "neighbour", r#"state#hold("x", 600000)"#);
    deadline("quiet", "neighbour", "spin()");
    deadline("quiet", "waiter", r#"tasks#hold("x", 2000)"#);
    deadline("acme", "spinner", "spin()");
    deadline("globex", "spinner", "tasks#spin()");
    // The time of a module's calls.
    for call in ["spin()", r#"state#hold("x", 600000)"#] {
        says(siege.at("brief", call).one_line_error(1), &["max-call-time"]);
    }
    // The time in a queue.
    let held = siege.cluster.calling(&["--tenant", "quiet", "--receiver", "queuer", r#"state#hold("held", 600000)"#]);
    siege.server.wait_for_line("held started");
    says(siege.at("queuer", "count()").one_line_error(3), &["200ms", "queue-time"]);
    held.kill();
    siege.still_stands();
}

#[test]
fn waits_of_guests_and_streams_without_progress_end_in_time_beside_spinning_guests() {
    let siege = Siege::begin();
    siege.server.wait_for_line("all was said");
    let said = siege.server.lines().join("\n");
    for late in ["event", "nobody", "0", "tasks#hold at waiter"] {
        let line = said.lines().find(|line| line.contains(&format!("{late} failed: ")));
        says(line.unwrap_or_else(|| panic!("{late}: {said}")), &["deadline-exceeded"]);
    }
    let late =
        |what: &str| said.lines().filter(|line| line.contains(what) && line.contains("deadline-exceeded")).count();
    assert_eq!((late("state#hold failed: "), late("nobody failed: ")), (2, 2), "{said}");
    says(&said, &["who = \"gate\"", "0 gave 2"]);
    siege.still_stands();
}

#[test]
fn schedules_run_and_no_link_is_lost_beside_spinning_guests() {
    let siege = Siege::begin();
    let add = |call: &str, every: &str, more: &[&str]| {
        let args = ["schedule", "add", "--receiver", "neighbour", call, "--every", every];
        siege.quiet(&[&args, more].concat()).success().to_owned()
    };
    add(r#"state#hold("late", 600000)"#, TICK, &["--timeout", "200ms"]);
    siege.server.wait_for_line_with(&["neighbour/", "deadline"]);
    add(r#"print("tick")"#, TICK, &[]);
    for _ in 0..TICKS {
        siege.server.wait_for_line("tick");
    }
    // All this time the controller and the runtime that spins have given one another signs of life, and so has `gate`.
    siege.still_stands();
}

#[test]
fn a_runtime_that_spins_notices_that_its_controller_is_silent_and_when_it_is_back() {
    let siege = Siege::begin();
    siege.controller.signal(Signal::STOP);
    siege.server.wait_for_line_with(&["controller", "no sign of life"]);
    siege.controller.signal(Signal::CONT);
    siege.server.wait_for_line(CONNECTED);
    // Its spinners spin on: their callers were told, and nobody waits for them any more.
    assert_eq!(siege.at("neighbour", "add(40, 2)").success(), "42");
    assert_eq!(siege.server.count("its run"), 0);
}

#[test]
fn a_runtime_that_spins_drains_in_its_time_and_tells_the_callers_of_the_spinners() {
    let siege = Siege::begin();
    siege.server.terminate();
    assert_eq!(siege.server.exit_code(), 0);
    for spinner in &siege.spinning {
        says(spinner.output().one_line_error(1), &["spin was stopped", "its runtime ends"]);
    }
}
