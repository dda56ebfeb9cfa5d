//! Tenants that all want more than there is: each has its weight's part of the processors, and no more than it may.

use std::time::{Duration, Instant};

use super::cluster::output::says;
use super::cluster::{Cluster, PATIENCE, Running, component};

/// A runtime with a process `worker` of the fixtures, of so many instances, in each tenant; with these keys for the tenants.
fn serving(cluster: &Cluster, tenants: &[(&str, &str)]) -> Running {
    let path = component("fixtures");
    let table = |(tenant, keys): &(&str, &str)| {
        format!(
            "[tenant.{tenant}]\n{keys}\n[[module]]\npath = '{}'\nname = 'worker'\ntenant = '{tenant}'\n\
             instances = 'pool:{SPINNERS}'\nmax-call-time = '10m'\nmax-call-cpu = '10m'\n",
            path.display()
        )
    };
    let config = cluster.file("fair.toml", tenants.iter().map(table).collect::<String>());
    cluster.runtime("host").controller().args(["--config", &config]).ready()
}

/// Busy instances of each tenant: more than this machine computes at a time.
const SPINNERS: usize = 8;

/// Calls that compute until the test is over.
fn spin(cluster: &Cluster, tenant: &str, spinners: usize) -> Vec<Running> {
    let one = || cluster.calling(&["spin()", "--tenant", tenant, "--timeout", "10m"]);
    (0..spinners).map(|_| one()).collect()
}

/// How long the guests of a tenant have computed so far, in seconds, as `ps` says.
fn computed(cluster: &Cluster, tenant: &str) -> f64 {
    let list = cluster.run(["ps", "--json", "--tenant", tenant]);
    let list: serde_json::Value = serde_json::from_str(list.success()).unwrap();
    list[0]["usage"]["cpu-seconds"].as_f64().unwrap_or_default()
}

/// Looks until this gives something.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "it does not come");
    }
}

/// How many times as long the second tenant's guests compute as the first's, from when both are at it.
fn ratio(cluster: &Cluster, [first, second]: [&str; 2]) -> f64 {
    let both = || (computed(cluster, first), computed(cluster, second));
    let before = until(|| Some(both()).filter(|(first, second)| *first > 0.0 && *second > 0.0));
    until(|| {
        let now = both();
        let (first, second) = (now.0 - before.0, now.1 - before.1);
        // What a process has used is told once a second, and not of all at the same moment.
        (first >= 2.0).then(|| second / first)
    })
}

#[test]
fn busy_tenants_compute_by_their_weights() {
    let cluster = Cluster::new();
    let _host = serving(&cluster, &[("light", ""), ("heavy", "weight = 300")]);
    let _spinning = [spin(&cluster, "light", SPINNERS), spin(&cluster, "heavy", SPINNERS / 2)];
    let ratio = ratio(&cluster, ["light", "heavy"]);
    assert!((1.8..5.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_tenant_of_few_guests_has_its_weights_part_where_it_wants_it() {
    let cluster = Cluster::new();
    let _host = serving(&cluster, &[("many", ""), ("few", "weight = 300")]);
    // As many as there are processors: it could have all of them.
    let few = std::thread::available_parallelism().map_or(1, usize::from).min(SPINNERS);
    let _spinning = [spin(&cluster, "many", SPINNERS), spin(&cluster, "few", few)];
    let ratio = ratio(&cluster, ["many", "few"]);
    assert!((1.8..5.0).contains(&ratio), "{ratio}");
}

#[test]
fn a_tenant_computes_no_longer_than_its_processors_allow_and_others_do_not_notice() {
    let cluster = Cluster::new();
    let _host = serving(&cluster, &[("tight", "max-cpu = 0.2"), ("free", "")]);
    let began = Instant::now();
    let _spinning = spin(&cluster, "tight", 2);
    until(|| {
        assert_eq!(cluster.run(["call", "add(1, 2)", "--tenant", "free"]).success(), "3");
        (computed(&cluster, "tight") >= 0.4).then_some(())
    });
    // Two seconds, less what it had in store.
    assert!(began.elapsed() >= Duration::from_millis(1700), "{:?}", began.elapsed());
    // Its own calls wait for their turn as well.
    assert_eq!(cluster.run(["call", "add(1, 2)", "--tenant", "tight"]).success(), "3");
}

#[test]
fn weights_and_processors_out_of_bounds_are_errors_with_their_place() {
    let cluster = Cluster::new();
    for (keys, why) in [
        ("weight = 0", "0 is out of bounds: it is from 1 to 10000"),
        ("max-cpu = 0", "0 is out of bounds: it is from 0.01 to 1000"),
        ("max-cpu = -2.5", "-2.5 is out of bounds"),
        ("max-cpu = nan", "NaN is out of bounds"),
    ] {
        let path = component("fixtures");
        let text = format!("[[module]]\npath = '{}'\ntenant = 'a'\n[tenant.a]\n{keys}\n", path.display());
        let config = cluster.file("bad.toml", text);
        says(cluster.run(["check", &config]).one_line_error(2), &["bad.toml:5:", why]);
    }
}
