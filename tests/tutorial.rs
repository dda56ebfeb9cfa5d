//! The tutorial, stage by stage: each example's own `run.sh`, and what it prints.

use super::cluster::output::says;
use super::cluster::{Cluster, Output};

/// Checks that the example ended well and has all of these lines, in any order.
#[track_caller]
fn prints(output: &Output, lines: &[&str]) {
    let said = output.success();
    for line in lines {
        assert!(said.lines().any(|said| said == *line), "no line {line:?} in {output:#?}");
    }
}

#[test]
fn a_consumer_calls_a_publisher_over_the_unix_socket() {
    let cluster = Cluster::new();
    prints(&cluster.example("publisher-consumer", &[], &[]), &["==> publisher <==", "==> consumer <==", "Result = 20"]);
}

#[test]
fn a_consumer_calls_a_publisher_over_tcp() {
    let cluster = Cluster::new();
    let url = format!("tcp://{}", cluster.loopback());
    prints(&cluster.example("publisher-consumer", &["tcp"], &[("URL", &url)]), &["Result = 20"]);
}

#[test]
fn a_fetcher_is_an_ordinary_function_also_by_another_name_and_in_the_body_of_one() {
    let cluster = Cluster::new();
    prints(&cluster.example("fetcher", &[], &[]), &["Result = 20", "Total = 42"]);
}

#[test]
fn publisher_and_consumer_call_each_other_ten_times() {
    each_calls_the_other_ten_times("sync");
}

#[test]
fn publisher_and_consumer_call_each_other_ten_times_with_async_functions() {
    each_calls_the_other_ten_times("async");
}

#[track_caller]
fn each_calls_the_other_ten_times(variant: &str) {
    let cluster = Cluster::new();
    let output = cluster.example("bidirectional", &[variant], &[("PAUSE_MS", "5")]);
    prints(&output, &["publisher is done", "consumer is done"]);
    let (publisher, consumer) = output.stdout.split_once("==> consumer <==").unwrap();
    let times = publisher.lines().filter(|line| line.starts_with("consumer-time")).count();
    let sums = consumer.lines().filter(|line| line.starts_with("sum-of-two-numbers")).count();
    assert_eq!((times, sums), (10, 10), "{output:#?}");
}

#[test]
fn one_component_in_two_roles_calls_its_twin() {
    let cluster = Cluster::new();
    let output = cluster.example("callback-and-fetcher", &[], &[]);
    let (first, second) = output.success().split_once("==> second <==").unwrap();
    says(first, &["The other process is second"]);
    says(second, &["The other process is first"]);
}

#[test]
fn a_controller_of_its_own_serves_three_nodes() {
    let cluster = Cluster::new();
    let output = cluster.example("standalone-controller", &[], &[]);
    let visitor = output.success().split("==> visitor <==").nth(1).unwrap();
    says(visitor, &["greeter-1", "greeter-2"]);
}

#[test]
fn a_boss_works_on_while_its_worker_counts() {
    let cluster = Cluster::new();
    let output = cluster.example("background", &[], &[]);
    prints(&output, &["fibonacci(20) = 6765", "One more: 1", "One more: 2", "One more: 3", "One more: 5"]);
    says(&output.stdout, &["Meanwhile: 1229 primes below 10002"]);
    // What is shown is the story, as its README tells it: no log, and not a line for each round.
    let lines = output.stdout.lines().count();
    assert!(lines < 40 && !output.stdout.contains("info:"), "{output:#?}");
}

#[test]
fn a_waiter_awaits_dishes_that_one_cook_prepares_at_once() {
    let cluster = Cluster::new();
    let output = cluster.example("async", &[], &[]);
    prints(
        &output,
        &[
            "roast is on the stove",
            "salad is ready",
            "Here is a hot roast",
            "Here is a hot soup",
            "Here is a hot salad",
            "Here is a hot tea, and a hot coffee",
            "No stew today",
            "On the stove: 1",
        ],
    );
}

#[test]
fn a_sensor_streams_readings_to_the_call_that_averages_them() {
    let cluster = Cluster::new();
    prints(&cluster.example("stream-up", &[], &[]), &["Average = 20"]);
}

#[test]
fn a_spectator_reads_a_countdown_as_it_comes() {
    let cluster = Cluster::new();
    let output = cluster.example("stream-down", &[], &[]);
    let (_, spectator) = output.success().split_once("==> spectator <==").unwrap();
    let numbers: Vec<u32> = spectator.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers, [3, 2, 1, 0], "{output:#?}");
    prints(&output, &["Lift-off"]);
}

#[test]
fn a_guide_prints_the_menus_of_two_restaurants_as_a_table() {
    let cluster = Cluster::new();
    let output = cluster.example("broadcast", &[], &[]);
    prints(
        &output,
        &[
            "restaurant     | dish         |  price",
            "green-dragon   | mushrooms    |   7.50",
            "prancing-pony  | stew         |   9.25",
            "The first to answer has 2 dishes",
        ],
    );
}

#[test]
fn a_pipeline_returns_to_where_it_began_unless_the_only_instance_there_waits() {
    let cluster = Cluster::new();
    let output = cluster.example("pipeline", &[], &[]);
    prints(&output, &["ok(300)", "ok(480)"]);
    let refused = output.stdout.split("==> pipeline-shop as singleton <==").nth(1).unwrap();
    says(refused, &["err(", "was not called: (a client) -> shop -> till -> tax -> shop is a cycle"]);
}

#[test]
fn a_planner_has_plants_watered_by_three_plans_that_outlive_it() {
    let cluster = Cluster::new();
    let output = cluster.example("scheduler", &[], &[]);
    prints(
        &output,
        &[
            "demo:garden/beds#water is planned at gardener: every",
            "demo:garden/beds#water is planned at gardener: cron",
            "The roses had water 3 times, 0 in vain",
            "The cactus is finished",
            "The lawn's plan is cancelled",
        ],
    );
    says(&output.stdout, &["Watering the cactus", "cron 0 6 * * MON-FRI", "waiting", "beds#water(\"lawn\")"]);
}
