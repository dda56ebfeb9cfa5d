//! The journal: what is replayed is the table; what a crash leaves of it, and what is damage.

use std::time::Duration;

use daffi_proto::schedule::{
    Entry, Journal, JournalError, MAX_JOURNAL_BYTES, Overlap, Plan, Save, Snapshot, TaskId, TaskSpec, Tasks, Unwritten,
};
use proptest::prelude::*;

use super::disk::Disk;
use super::sim::{Sim, at, cron, every, process, spec, time, utc, with};

/// Writes down what is to be, as little as will do.
fn keep(sim: &mut Sim, disk: &mut Disk) {
    let save = match sim.tasks.unwritten() {
        Unwritten::Nothing => return,
        Unwritten::Tasks => Save::Table(Box::new(sim.tasks.take_table())),
        hurry => Save::Entries {
            entries: sim.tasks.take_entries(sim.clock, Unwritten::Counts),
            durable: hurry == Unwritten::Ticks,
        },
    };
    disk.write(&save, sim.clock);
    assert_eq!(sim.tasks.unwritten(), Unwritten::Nothing);
}

/// A table as text, whichever of its generations it is.
fn text(tasks: &Tasks, sim: &Sim) -> String {
    let text = tasks.snapshot(sim.clock).unwrap();
    text.lines().filter(|line| !line.contains("\"generation\"")).collect::<Vec<_>>().join("\n")
}

/// What a restart makes of what was written down.
fn kept(sim: &Sim, disk: &Disk) -> String {
    text(&disk.tasks(process(), 8, sim.clock), sim)
}

/// What a restart makes of the whole table.
fn whole(sim: &Sim) -> String {
    let snapshot = sim.tasks.snapshot(sim.clock).unwrap();
    text(&Tasks::restore(process(), 8, sim.clock, &snapshot).unwrap(), sim)
}

/// A table with a cron task, and a journal of a few of its runs, each of its frames durable when the next was written.
fn journal() -> (Sim, Disk) {
    let (mut sim, mut disk) = (Sim::new(), Disk::default());
    sim.add(cron("* * * * * *"));
    keep(&mut sim, &mut disk);
    for _ in 0..5 {
        sim.pass(time("1s"));
        let entries = sim.tasks.take_entries(sim.clock, Unwritten::Counts);
        disk.write(&Save::Entries { entries, durable: true }, sim.clock);
    }
    (sim, disk)
}

fn replayed(disk: &Disk, journal: &[u8]) -> Result<Snapshot, JournalError> {
    let mut snapshot = Snapshot::read(process(), &disk.table).unwrap();
    snapshot.replay(journal).map(|()| snapshot)
}

fn runs(sim: &Sim, disk: &Disk, journal: &[u8]) -> u64 {
    let tasks = replayed(disk, journal).unwrap().open(8, sim.clock).unwrap();
    tasks.list(sim.clock).next().unwrap().counts.runs
}

/// Where the frames of a journal begin.
fn frames(journal: &[u8]) -> Vec<usize> {
    (0..journal.len()).filter(|at| journal[*at..].starts_with(b"\ndj:")).collect()
}

#[test]
fn what_is_not_written_down_hurries_by_what_a_restart_would_make_of_it() {
    let mut sim = Sim::new();
    let mut disk = Disk::default();
    sim.takes = time("100ms");
    let id = sim.add(every("1s"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Tasks);
    keep(&mut sim, &mut disk);
    sim.pass(time("1500ms"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Counts, "a run whose beginning nobody wrote down");
    keep(&mut sim, &mut disk);
    sim.pass(time("550ms"));
    keep(&mut sim, &mut disk);
    sim.pass(time("100ms"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Ends, "a run that was written down as in flight");
    keep(&mut sim, &mut disk);
    sim.tasks.cancel(&id).unwrap();
    assert_eq!(sim.tasks.unwritten(), Unwritten::Tasks);
    keep(&mut sim, &mut disk);
    sim.add(at(&["2026-05-04T12:00:05Z", "2026-05-04T12:00:06Z"]));
    keep(&mut sim, &mut disk);
    sim.pass(time("3s"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Ticks);
    keep(&mut sim, &mut disk);
    sim.pass(time("2s"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Tasks, "it has finished");
}

#[test]
fn a_waiting_run_of_a_time_that_begins_is_written_down_as_its_tick_was() {
    let mut sim = Sim::new();
    sim.takes = time("1500ms");
    sim.add(with(cron("* * * * * *"), Overlap::QueueOne, Default::default()));
    sim.tasks.take_table();
    sim.pass(time("2200ms"));
    sim.tasks.take_entries(sim.clock, Unwritten::Counts);
    sim.pass(time("400ms"));
    assert_eq!(sim.tasks.unwritten(), Unwritten::Ticks, "it would run again");
}

#[test]
fn what_hurries_takes_along_only_what_hurries_too() {
    let (mut sim, mut disk) = (Sim::new(), Disk::default());
    sim.takes = time("3s");
    sim.add(cron("* * * * * *"));
    sim.add(every("1s"));
    keep(&mut sim, &mut disk);
    sim.pass(time("1500ms"));
    assert_eq!(sim.tasks.take_entries(sim.clock, Unwritten::Ends).len(), 1);
    assert_eq!(sim.tasks.unwritten(), Unwritten::Counts);
    sim.pass(time("3s"));
    // Of the two runs that are over one is in flight as it was written down.
    assert_eq!(sim.tasks.unwritten(), Unwritten::Ticks);
    assert_eq!(sim.tasks.take_entries(sim.clock, Unwritten::Ends).len(), 1);
    assert_eq!(sim.tasks.take_entries(sim.clock, Unwritten::Counts).len(), 1);
    assert_eq!(sim.tasks.unwritten(), Unwritten::Nothing);
}

#[test]
fn what_did_not_reach_the_disk_is_to_be_written_down_as_a_whole_in_its_time() {
    let mut sim = Sim::new();
    sim.add(every("1s"));
    let first = sim.tasks.take_table();
    sim.tasks.not_written();
    assert_eq!(sim.tasks.unwritten(), Unwritten::Counts);
    assert!(sim.tasks.take_table().generation() > first.generation());
}

#[test]
fn a_tick_and_its_end_take_some_fifty_bytes_each() {
    let (_, disk) = journal();
    let starts = frames(&disk.journal);
    assert_eq!(starts.len(), 5);
    assert!(starts.windows(2).all(|two| two[1] - two[0] < 70), "{starts:?}");
}

#[test]
fn what_a_crash_left_half_written_is_passed_over_and_what_is_before_it_counts() {
    let (sim, disk) = journal();
    let starts = frames(&disk.journal);
    for len in 0..=disk.journal.len() {
        let whole = starts.iter().skip(1).chain([&disk.journal.len()]).filter(|end| **end <= len).count() as u64;
        assert_eq!(runs(&sim, &disk, &disk.journal[..len]), whole, "{len}");
        // The system had made room for the rest.
        let mut zeros = disk.journal[..len].to_vec();
        zeros.resize(disk.journal.len() + 100, 0);
        // Some of what was cut off was zeros.
        assert!((whole..=whole + 1).contains(&runs(&sim, &disk, &zeros)), "{len}, and zeros");
    }
}

#[test]
fn a_frame_that_reached_the_disk_before_one_that_was_never_durable_is_no_damage() {
    let (mut sim, mut disk) = journal();
    let durable = disk.journal.len();
    for _ in 0..3 {
        sim.pass(time("1s"));
        let entries = sim.tasks.take_entries(sim.clock, Unwritten::Counts);
        disk.write(&Save::Entries { entries, durable: false }, sim.clock);
    }
    let mut holed = disk.journal.clone();
    holed[durable..durable + 20].fill(0);
    assert_eq!(runs(&sim, &disk, &holed), 5);
    assert_eq!(runs(&sim, &disk, &disk.journal), 8);
}

#[test]
fn damage_in_what_was_durable_is_an_error_wherever_it_is() {
    let (sim, disk) = journal();
    let last = *frames(&disk.journal).last().unwrap();
    for at in 0..disk.journal.len() {
        for flip in [1, 0xff, disk.journal[at]].into_iter().filter(|flip| *flip != 0) {
            let mut damaged = disk.journal.clone();
            damaged[at] ^= flip;
            if at >= last {
                assert_eq!(runs(&sim, &disk, &damaged), 4, "{at}: nobody can tell it from a crash");
            } else {
                let error = replayed(&disk, &damaged).map(drop).unwrap_err();
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
    }
}

#[test]
fn a_journal_of_another_generation_says_nothing() {
    let (mut sim, mut disk) = journal();
    let before = disk.journal.clone();
    sim.pass(time("1s"));
    disk.write(&Save::Table(Box::new(sim.tasks.take_table())), sim.clock);
    assert_eq!(runs(&sim, &disk, &before), 6, "the crash came before the journal was emptied");
    let new = Tasks::new(process(), 8, sim.clock);
    assert!(new.generation() > sim.tasks.generation(), "nor does that of a table that was moved away");
}

#[test]
fn what_is_no_journal_of_this_table_is_refused_with_the_reason() {
    let (mut sim, disk) = journal();
    let refused = |journal: &[u8]| replayed(&disk, journal).map(drop).unwrap_err();
    assert_eq!(refused(b"{}"), JournalError::NoJournal);
    assert_eq!(refused(b"daffi journal 2\n"), JournalError::Newer);
    let long = vec![0; MAX_JOURNAL_BYTES + 1];
    assert_eq!(refused(&long), JournalError::TooLong(long.len()));
    let generation = Snapshot::read(process(), &disk.table).unwrap().open(8, sim.clock).unwrap().generation();
    sim.add(every("1s"));
    sim.pass(time("1s"));
    let entries: Vec<Entry> = sim.tasks.take_entries(sim.clock, Unwritten::Counts);
    let unknown = Journal::new(generation).append(&entries[1..]).unwrap();
    assert!(matches!(refused(&unknown), JournalError::NoSuchTask(_)));
    let mut other = disk.clone();
    other.table = disk.table.replace("\"Cron\": \"* * * * * *\"", "\"Every\": \"1s\"");
    assert_ne!(other.table, disk.table);
    assert!(matches!(replayed(&other, &disk.journal).map(drop), Err(JournalError::OtherPlan(_))));
}

#[derive(Clone, Debug)]
enum Act {
    Add(TaskSpec),
    Cancel(usize),
    Pass(Duration),
    Pause(Duration),
    Takes(Duration, bool),
    Keep,
    Restart(Duration),
}

fn millis(most: u64) -> impl Strategy<Value = Duration> {
    (0..most).prop_map(Duration::from_millis)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let plan = prop_oneof![
        (500..5000u64).prop_map(|every| Plan::Every(Duration::from_millis(every))),
        (1..40u64).prop_map(|seconds| Plan::At(
            [30, 60].map(|more| utc("2026-05-04T12:00:00Z").plus(Duration::from_secs(seconds + more))).into()
        )),
        Just(Plan::Cron("*/3 * * * * *".parse().unwrap())),
    ];
    let overlap = prop_oneof![Just(Overlap::Skip), Just(Overlap::QueueOne), Just(Overlap::Parallel)];
    let act = prop_oneof![
        2 => (plan, overlap).prop_map(|(plan, overlap)| Act::Add(with(spec(plan), overlap, Default::default()))),
        1 => (0..8usize).prop_map(Act::Cancel),
        6 => millis(10_000).prop_map(Act::Pass),
        1 => millis(10_000).prop_map(Act::Pause),
        2 => (millis(8000), any::<bool>()).prop_map(|(takes, fails)| Act::Takes(takes, fails)),
        6 => Just(Act::Keep),
        1 => millis(10_000).prop_map(Act::Restart),
    ];
    proptest::collection::vec(act, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_replayed_is_the_table_whatever_was_done_to_it(acts in acts()) {
        let (mut sim, mut disk) = (Sim::new(), Disk::default());
        let mut ids: Vec<TaskId> = Vec::new();
        disk.write(&Save::Table(Box::new(sim.tasks.take_table())), sim.clock);
        for act in acts {
            match act {
                Act::Add(spec) => ids.extend(sim.tasks.add(sim.clock, spec)),
                Act::Cancel(place) => drop(ids.get(place).map(|id| sim.tasks.cancel(id))),
                Act::Pass(time) => sim.pass(time),
                Act::Pause(time) => sim.pause(time),
                Act::Takes(takes, fails) => (sim.takes, sim.fails) = (takes, fails),
                Act::Keep => {
                    keep(&mut sim, &mut disk);
                    prop_assert_eq!(kept(&sim, &disk), whole(&sim));
                    // What the disk has not seen for certain may be there or not: each journal that it may be is read.
                    let cut = disk.journal.len() / 2;
                    prop_assert!(replayed(&disk, &disk.journal[..cut]).is_ok());
                }
                Act::Restart(after) => {
                    keep(&mut sim, &mut disk);
                    sim.pause(after);
                    let tasks = disk.tasks(process(), 8, sim.clock);
                    sim = sim.goes_on_with(tasks, sim.clock);
                    // The first that a stay writes down is the table.
                    disk.write(&Save::Table(Box::new(sim.tasks.take_table())), sim.clock);
                }
            }
        }
        keep(&mut sim, &mut disk);
        prop_assert_eq!(kept(&sim, &disk), whole(&sim));
    }
}
