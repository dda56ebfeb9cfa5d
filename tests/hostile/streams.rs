//! Attacks with streams: that are not read, not written, never end, or whose ends trap.

use super::{Arena, Case, Group, either};

pub const GROUP: Group = Group {
    name: "streams",
    cases: &[
        Case {
            attack: "a reader that does not read",
            stopped_by: "the window of a stream: its writer waits",
            sees: "held back",
            run: slow_reader,
        },
        Case {
            attack: "a writer that does not write",
            stopped_by: "`max-call-time` without progress",
            sees: "its own end, or the other's",
            run: |arena| standstill(arena, r#"drive#stall-after(30, "MARK")"#),
        },
        Case {
            attack: "a stream that is held open for ever",
            stopped_by: "`max-call-time` without progress",
            sees: "its own end, or the other's",
            run: |arena| standstill(arena, r#"drive#hang-after(30, "MARK")"#),
        },
        Case { attack: "a stream that never ends", stopped_by: "the end of its reader", sees: "stopped", run: endless },
        Case {
            attack: "streams without end",
            stopped_by: "`open-streams`",
            sees: "limit of open streams",
            run: |arena| arena.said("streamer", "drive#open(300)"),
        },
        Case {
            attack: "a trap of a writer",
            stopped_by: "the end of its instance: its readers are told",
            sees: "after 25 items",
            run: |arena| arena.said("streamer", "drive#trap-after(25)"),
        },
        Case {
            attack: "a trap of a reader",
            stopped_by: "the end of its instance: its writers are told",
            sees: "failed trap",
            run: |arena| arena.said("streamer", "drive#trap-at(100000, 50)"),
        },
    ],
};

/// Both ends are stopped at the same time: whichever is first tells the caller.
fn standstill(arena: &Arena, call: &str) -> String {
    let said = arena.said("streamer", call);
    either(&said, &["max-call-time", "the instance that wrote it has ended"], "its own end, or the other's")
}

/// What was written while nobody read: no more than the windows on the way hold.
fn slow_reader(arena: &Arena) -> String {
    let most: u64 = arena.call("streamer", "drive#dawdle(100000, 10, 50)").success().parse().unwrap();
    if most < 10_000 { "held back".to_owned() } else { format!("{most} items were written") }
}

/// Reads some of a stream of 2^64-1 items, and goes.
fn endless(arena: &Arena) -> String {
    let (reader, stdin) = arena
        .cluster
        .bare("reader")
        .args(["call", "--stream", "--receiver", "streams", "writers#count(18446744073709551615, 100)"])
        .start_fed();
    drop(stdin);
    reader.wait_for_line("3000");
    reader.kill();
    arena.cluster.becomes_idle();
    "stopped".to_owned()
}
