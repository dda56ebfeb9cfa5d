//! BROADCAST: every process that has the callback, one entry each, at once or as they arrive.

use super::cluster::output::says;
use super::cluster::{Cluster, Running};

/// A controller in a runtime with processes `a` and `b` of the fixtures.
fn two(cluster: &Cluster) -> Running {
    cluster.runtime("server").controller().module("a", "fixtures").module("b", "fixtures").ready()
}

#[test]
fn every_process_that_has_the_callback_has_one_entry_a_value_or_an_error() {
    let cluster = Cluster::new();
    let _two = two(&cluster);
    let _c = cluster.runtime("c").module("c", "fixtures").ready();
    let steps = ["wait-process c 60000", "all - who []", "all - divide [1, 0]", "call who []"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().skip(1).collect();
    assert_eq!(said[..3], ["who at a = \"a\"", "who at b = \"b\"", "who at c = \"c\""]);
    for (line, name) in said[3..6].iter().zip(["a", "b", "c"]) {
        says(line, &[&format!("divide at {name} failed: failed trap"), "divide by zero"]);
    }
    assert!(said[6].starts_with("who = "), "the instances are made anew: {said:#?}");
    cluster.becomes_idle();
}

#[test]
fn who_does_not_answer_in_time_has_the_deadline_in_his_entry() {
    let cluster = Cluster::new();
    let two = two(&cluster);
    let _held = cluster.calling(&["--receiver", "b", r#"hold("at-b", 60000)"#]);
    two.wait_for_line("at-b started");
    let steps = ["all timeout=300 who []", "all stall=300 who []", "gather first=1 who []", "gather quorum=3 who []"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!((said[0], said[2]), ("who at a = \"a\"", "who at a = \"a\""));
    for line in [said[1], said[3]] {
        says(line, &["who at b failed: ", "deadline-exceeded"]);
    }
    // One is enough; three cannot come from two.
    assert_eq!(said[4..], ["who at a = \"a\"", "who ended: met", "who ended: unmet"]);
}

#[test]
fn who_leaves_has_an_entry_at_once() {
    let cluster = Cluster::new();
    let _a = cluster.serving("a");
    let b = cluster.runtime("b").module("b", "fixtures").ready();
    let _held = cluster.calling(&["--receiver", "b", r#"hold("at-b", 60000)"#]);
    b.wait_for_line("at-b started");
    let script = cluster.runtime("script").script(&["wait-process b 60000", "gather - who []"]).start();
    script.wait_for_line("who at a = \"a\"");
    b.kill();
    script.wait_for_line("who at b failed: ");
    script.wait_for_line("who ended: met");
    assert_eq!(script.exit_code(), 0);
    cluster.becomes_idle();
}

#[test]
fn a_typed_import_of_the_form_of_a_broadcast_waits_for_the_first_and_calls_all() {
    let cluster = Cluster::new();
    let _names = cluster.runtime("names").controller().module("names", "fixtures-names").ready();
    let script = cluster.runtime("script").script(&["print asking", "all-add 2 3"]).start();
    script.wait_for_line("asking");
    let _c = cluster.runtime("c").module("c", "fixtures").ready();
    script.wait_for_line("add at c = 5");
    script.wait_for_line("all have added");
    assert_eq!(script.exit_code(), 0);

    // Who has another kind of the callback has an entry too.
    let _kinds = cluster.runtime("kinds").module("d", "fixtures-kinds").ready();
    let steps = ["wait-process c 60000", "wait-process d 60000", "all-add 2 3"];
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().skip(2).collect();
    assert_eq!(said[0], "add at c = 5");
    says(said[1], &["add at d failed: not-run signature-mismatch"]);
}

#[test]
fn what_is_wrong_with_a_broadcast_is_a_value() {
    let cluster = Cluster::new();
    let _two = two(&cluster);
    let options = ["first=0", "quorum=0", "first=1,quorum=1", "stall=0", "timeout=0", "timeout=604800001"];
    let mut steps: Vec<String> = options.iter().map(|options| format!("all {options} who []")).collect();
    steps.extend(options.iter().map(|options| format!("gather {options} who []")));
    steps.push("all - add [1]".to_owned());
    steps.push("all - nothing-of-the-kind []".to_owned());
    steps.push("gather - nothing-of-the-kind []".to_owned());
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let output = cluster.runtime("script").script(&steps).finish();
    let said: Vec<&str> = output.success().lines().collect();
    for line in &said[..13] {
        says(line, &["failed: not-run bad-arguments"]);
    }
    for line in &said[13..] {
        says(line, &["failed: not-run no-such-callback"]);
    }
    assert_eq!(said.len(), 15);
    cluster.becomes_idle();
}

#[test]
fn a_broadcast_is_one_of_the_open_calls_of_its_module_and_gives_its_place_back() {
    let cluster = Cluster::new();
    let _two = two(&cluster);
    let steps = ["times 3 all - who []", "bg who []", "all - who []", "drop 0", "all first=1 who []"];
    let output = cluster.runtime("script").script(&steps).args(["--open-calls", "1"]).finish();
    let said: Vec<&str> = output.success().lines().collect();
    assert_eq!(said[..6], ["who at a = \"a\"", "who at b = \"b\""].repeat(3));
    says(said[6], &["who failed: not-run overloaded"]);
    assert!(said[7].starts_with("who at "), "{said:#?}");
    cluster.becomes_idle();
}

#[test]
fn the_command_line_ends_with_the_first_values_or_as_soon_as_a_quorum_is_out_of_reach() {
    let cluster = Cluster::new();
    let two = two(&cluster);
    let _held = cluster.calling(&["--receiver", "b", r#"hold("at-b", 60000)"#]);
    two.wait_for_line("at-b started");
    assert_eq!(cluster.run(["call", "who()", "--broadcast", "--first-n", "1"]).success(), "a: \"a\"");
    let output = cluster.run(["call", "who()", "--broadcast", "--quorum", "3", "--timeout", "1m"]);
    says(&output.stderr, &["of 3 values that were wanted", "only 2 processes have fixtures:guest/"]);
    let output = cluster.run(["call", "who()", "--broadcast", "--quorum", "2", "--stall", "300ms"]);
    assert_ne!(output.code(), 0, "{output:#?}");
    says(&output.stdout, &["a: \"a\"", "b: error: ", "deadline-exceeded"]);
    says(&output.stderr, &["of 2 values that were wanted 1 came"]);
    assert!(!output.stderr.contains("only"), "{output:#?}");
}

#[test]
fn options_of_a_broadcast_that_do_not_fit_are_errors() {
    let cluster = Cluster::new();
    for (flags, parts) in [
        (&["--first-n", "1"][..], &["--broadcast"][..]),
        (&["--stall", "1s"], &["--broadcast"]),
        (&["--broadcast", "--first-n", "1", "--quorum", "1"], &["--first-n", "--quorum", "cannot be used"]),
        (&["--broadcast", "--quorum", "0"], &["--quorum", "0"]),
        (&["--broadcast", "--stall", "0s"], &["--stall"]),
        (&["--broadcast", "--no-result", "--first-n", "1"], &["--no-result", "cannot be used"]),
    ] {
        let output = cluster.run(["call", "who()"].iter().chain(flags));
        says(output.one_line_error(2), parts);
    }
}
