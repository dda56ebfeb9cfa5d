//! Guests that mean harm: what they do costs them, and nobody else.
//!
//! | module | attacks with |
//! |---|---|
//! | [`compute`] | time, memory, stack, output, traps |
//! | [`calls`] | calls: too many, too deep, in circles, under names of others |
//! | [`values`] | arguments and results |
//! | [`streams`] | streams |
//! | [`outside`] | what it was given of the host: folders, addresses |
//! | [`tenants`] | tenants beside its own |
//! | [`components`] | the component itself |
//! | [`bystander`] | (somebody honest, who calls on beside each attack) |
//!
//! An attack is a [`Case`], and its texts are a line of the table in `docs/hostile-guests.md`: a test keeps both equal.
//! Each runs beside a bystander, who calls a module of the same runtime and another runtime, and all of whose calls must
//! succeed. How long those took is written to `target/tmp/hostile-GROUP.txt`: it is the machine's, and no test of it.
//!
//! `make soak` does each a hundred times, in the same runtimes and within the same bounds.

pub mod bystander;
mod calls;
mod components;
mod compute;
mod outside;
mod streams;
mod tenants;
mod values;

use std::fmt::Write as _;
use std::path::Path;

use super::cluster::components::root;
use super::cluster::output::says;
use super::cluster::{Cluster, Output, Running, component};
use bystander::{Bystander, Latency};

/// One attack.
struct Case {
    /// What the guest does.
    attack: &'static str,
    /// The limit or rule that stops it.
    stopped_by: &'static str,
    /// What the attacker sees of that: his error contains this text.
    sees: &'static str,
    /// Does it, and gives what the attacker saw.
    run: fn(&Arena) -> String,
}

/// Attacks that go on in one arena.
struct Group {
    name: &'static str,
    cases: &'static [Case],
}

const GROUPS: [&Group; 7] = [
    &compute::GROUP,
    &calls::GROUP,
    &values::GROUP,
    &streams::GROUP,
    &outside::GROUP,
    &tenants::GROUP,
    &components::GROUP,
];

/// Where attacks go on: one runtime with the attackers and a neighbour, and another one, far.
struct Arena<'a> {
    cluster: &'a Cluster,
    server: Running,
    far: Running,
}

/// The attackers, and `neighbour`, which means no harm and has the same limits as they have.
const MODULES: [(&str, &str, &str); 11] = [
    ("villain", "fixtures", ""),
    // As many watches as there are handles: each is an open call.
    ("hostile", "fixtures-hostile", "open-calls = 20000"),
    ("accomplice-a", "fixtures-hostile", "instances = \"per-call\"\nconcurrency = 8\nqueue = 8"),
    ("accomplice-b", "fixtures-hostile", "instances = \"per-call\"\nconcurrency = 8\nqueue = 8"),
    ("streams", "fixtures-streams", ""),
    ("streamer", "fixtures-streamer", ""),
    (
        "visitor",
        "fixtures",
        "preopens = [{ host = 'data', guest = '/data' }]\nnetwork = ['10.0.0.0/8:443', '0.0.0.0/0:7']",
    ),
    ("outsider", "fixtures-hostile", "network = ['10.0.0.0/8:*', '127.0.0.1:*']"),
    ("teller", "fixtures", "tenant = 'bank'"),
    ("strongbox", "fixtures", "tenant = 'bank'"),
    ("neighbour", "fixtures", ""),
];

/// What all modules of the arena have.
const LIMITS: &str = "memory = \"64MiB\"\nmax-call-time = \"1s\"\noutput-rate = \"64KiB\"";

impl<'a> Arena<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let mut config = format!("[runtime]\ncontroller = true\nmax-payload = \"1MiB\"\n{}", tenants::SHARES);
        outside::make_folder(cluster);
        for (name, file, more) in MODULES {
            let path = component(file);
            write!(config, "\n[[module]]\nname = {name:?}\npath = {path:?}\n{LIMITS}\n{more}\n").unwrap();
        }
        let written = [
            ("starter", compute::STARTER),
            ("tables", compute::TABLES),
            ("maker", compute::MAKER),
            ("filler", compute::FILLER),
            ("caller", calls::FLOOD),
        ];
        for (name, wat) in written {
            let path = cluster.file(&format!("{name}.wasm"), wat::parse_str(wat).unwrap());
            write!(config, "\n[[module]]\nname = {name:?}\npath = {path:?}\n{LIMITS}\n").unwrap();
        }
        let server = cluster.runtime("server").config(&config).ready();
        let far = cluster.runtime("far").module("far", "fixtures").ready();
        Self { cluster, server, far }
    }

    /// Calls a callback of one of the attackers from the command line.
    fn call(&self, process: &str, expression: &str) -> Output {
        self.cluster.run(["call", "--receiver", process, expression])
    }

    /// The same, and gives the result or the error.
    fn said(&self, process: &str, expression: &str) -> String {
        let output = self.call(process, expression);
        output.stdout + &output.stderr
    }
}

/// This text where any of the words was said, and otherwise what was: which of several ends comes first is a matter of luck.
fn either(said: &str, words: &[&str], text: &str) -> String {
    let any = words.iter().any(|word| said.contains(word));
    if any { text } else { said }.to_owned()
}

/// How often each attack goes on at least.
fn times() -> usize {
    if std::env::var_os("DAFFI_SOAK").is_some() { 100 } else { 1 }
}

/// How often an attack is tried until the bystander's calls went on beside it. A busy machine may give him no turn in the
/// milliseconds that some take.
const TRIES: usize = 100;

/// Runs the attacks one after the other, each beside a bystander.
fn withstands(group: &Group) {
    let cluster = Cluster::new();
    let arena = Arena::new(&cluster);
    let mut report = String::new();
    for case in group.cases {
        let bystander = Bystander::start(&cluster);
        let mut beside = 0;
        for attempt in 1.. {
            let (calls_went_on, seen) = bystander.beside(|| (case.run)(&arena));
            says(&seen, &[case.sees]);
            beside += usize::from(calls_went_on);
            if beside > 0 && attempt >= times() {
                break;
            }
            assert!(attempt < TRIES.max(times()), "{}: nobody's calls went on beside it", case.attack);
        }
        let Latency { calls, p50, p99 } = bystander.stop();
        writeln!(report, "{}: {calls} calls beside it, p50 {p50:?}, p99 {p99:?}", case.attack).unwrap();
    }
    println!("{report}");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}.txt", group.name)), report).unwrap();
    cluster.becomes_idle();
    assert_eq!((arena.server.ended(), arena.far.ended(), arena.far.count("lost")), (false, false, 0));
    let peak = arena.server.peak_memory_kib();
    assert!(peak < 1 << 20, "{peak} KiB");
}

#[test]
fn attacks_with_time_memory_and_traps_harm_nobody_else() {
    withstands(&compute::GROUP);
}

#[test]
fn attacks_with_calls_harm_nobody_else() {
    withstands(&calls::GROUP);
}

#[test]
fn attacks_with_values_harm_nobody_else() {
    withstands(&values::GROUP);
}

#[test]
fn attacks_with_streams_harm_nobody_else() {
    withstands(&streams::GROUP);
}

#[test]
fn attacks_on_what_is_outside_harm_nobody_else() {
    withstands(&outside::GROUP);
}

#[test]
fn attacks_on_other_tenants_harm_nobody_else() {
    withstands(&tenants::GROUP);
}

#[test]
fn attacks_with_components_harm_nobody_else() {
    withstands(&components::GROUP);
}

#[test]
fn the_table_of_attacks_in_the_docs_is_the_list_of_cases() {
    let path = root().join("docs/hostile-guests.md");
    let docs = std::fs::read_to_string(&path).unwrap();
    let rows: Vec<&str> = docs.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let cases = GROUPS.iter().flat_map(|group| group.cases);
    let wanted: Vec<String> =
        cases.map(|case| format!("| {} | {} | `{}` |", case.attack, case.stopped_by, case.sees)).collect();
    assert_eq!(rows, wanted, "{} should have these lines:\n{}", path.display(), wanted.join("\n"));
}
