//! One call at a time, each timed by the guest's own clock. See `bench/README.md` for the lines that it prints.

#[path = "../../measure.rs"]
mod measure;

wit_bindgen::generate!({ path: "../wit", world: "caller", generate_all });

use daffi::bench::ops;
use daffi::bench::records::{self, Colour, Entry};
use measure::{Job, Op};

struct Caller;

/// Records of `OP=records`.
const RECORDS: u64 = 1000;

/// The record number `id`. The bench knows how many bytes it has in postcard (`runtime/benches/mesh/typed.rs`).
fn entry(id: u64) -> Entry {
    Entry {
        id,
        balance: -1_000,
        ratio: 0.5,
        grade: 'b',
        open: true,
        name: "a name of usual length".to_owned(),
        colour: Colour::Green,
        parent: Some(7),
        tags: vec!["first".to_owned(), "second".to_owned()],
        digest: vec![7; 16],
    }
}

impl exports::wasi::cli0_2_0::run::Guest for Caller {
    fn run() -> Result<(), ()> {
        let job = Job::from_env();
        let payload = vec![7u8; job.payload_bytes];
        let entries: Vec<Entry> = (0..RECORDS).map(entry).collect();
        let one = |i: u64| match job.op {
            Op::Sum => assert_eq!(ops::sum(i as i64 & 63, 1), (i as i64 & 63) + 1),
            Op::Echo => assert_eq!(ops::echo(&payload).len(), payload.len()),
            Op::Record => {
                let entry = &entries[(i % RECORDS) as usize];
                assert_eq!(records::echo_entry(entry).id, entry.id);
            }
            Op::Records => assert_eq!(records::echo_entries(&entries).len(), entries.len()),
            Op::Spin => loop {
                std::hint::black_box(i);
            },
        };
        (0..job.warm_up).for_each(one);
        measure::warm();
        let mut latencies = Vec::with_capacity(job.calls as usize);
        let started = measure::now();
        let mut sent = started;
        for i in 0..job.calls {
            one(i);
            // The end of a call is the beginning of the next: to look twice would cost a tenth of a local call.
            let answered = measure::now();
            latencies.push((answered - sent).as_nanos() as u64);
            sent = answered;
        }
        measure::done(measure::nanos(started), latencies);
        Ok(())
    }
}

export!(Caller);
