//! `make bench-growth`: what the protocol costs as work grows, by its real state machines, without sockets and guests.
//!
//! | module | grows |
//! |---|---|
//! | [`nodes`] | nodes on one controller, 1 to 1,000 |
//! | [`callbacks`] | callbacks, 10 to 100,000 |
//! | [`calls`] | calls in flight, 1 to 10,000 |
//! | [`tenants`] | tenants, 1 to 1,000 |
//! | [`processes`] | processes of one node, 1 to 1,000 |
//! | [`mesh`] | (the controller with simulated links, and the nodes) |
//! | [`watch`], [`memory`] | (what is measured: time and bytes) |
//! | [`table`] | (the tables, and what is said of each row) |
//!
//! What is inherently a message to each of so many is told a message.

#![expect(clippy::indexing_slicing, reason = "a benchmark may stop at what it did not expect")]

mod callbacks;
mod calls;
mod memory;
mod mesh;
mod nodes;
mod processes;
mod table;
mod tenants;
mod watch;

/// Names the file that gets the tables as JSON.
const JSON_ENV: &str = "DAFFI_GROWTH_JSON";

/// Measures one table.
type Measure = fn() -> anyhow::Result<table::Table>;

fn main() -> anyhow::Result<()> {
    // `cargo bench … -- tenants` measures that table. Cargo itself passes a flag.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let tables: [(&str, Measure); 5] = [
        ("nodes", nodes::measure),
        ("callbacks", callbacks::measure),
        ("calls", calls::measure),
        ("tenants", tenants::measure),
        ("processes", processes::measure),
    ];
    let mut results = Vec::new();
    for (name, measure) in tables {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let table = measure()?;
            print!("{}", table.text());
            results.push(table.json());
        }
    }
    println!("\n(!): grows faster than it should");
    if let Some(path) = std::env::var_os(JSON_ENV) {
        std::fs::write(path, serde_json::to_string_pretty(&results)?)?;
    }
    Ok(())
}
