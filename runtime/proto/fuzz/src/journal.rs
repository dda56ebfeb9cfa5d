//! What stands in a journal of scheduled tasks, and beside which table.

use daffi_proto::id::ProcessName;
use daffi_proto::schedule::{Clock, Entry, Journal, Snapshot, Utc};

/// A table with a task of each kind of plan, of generation 7.
const TABLE: &str = include_str!("../../tests/schedule/snapshot-2.json");

const GENERATION: u64 = 7;

/// Reads it as a whole journal, and as the entries of one: what was read goes into the table, or is refused.
pub fn run(data: &[u8]) {
    replay(data);
    let Ok(entries) = postcard::from_bytes::<Vec<Entry>>(data) else { return };
    let mut journal = Journal::new(GENERATION);
    let mut bytes = journal.append(&entries).expect("what was read can be written");
    let whole = replay(&bytes);
    let frame = bytes.len();
    journal.made_durable();
    bytes.extend(journal.append(&[]).expect("nothing can be written"));
    assert_eq!(replay(&bytes), whole, "a frame without entries says nothing");
    // A byte of the first frame, which the second says was on the disk; and the end of the second, which nobody speaks for.
    let at = data.len() * 31 % frame;
    assert_eq!(replay(&bytes[..frame + at % (bytes.len() - frame)]), whole, "a torn end is passed over");
    bytes[at] ^= 0x55;
    assert_eq!(replay(&bytes), None, "damage is seen");
}

/// The table as the journal tells it, where it is one of it.
fn replay(journal: &[u8]) -> Option<String> {
    let name = ProcessName::new("backup").expect("it is a name");
    let table = TABLE.replacen("\"generation\": 0", &format!("\"generation\": {GENERATION}"), 1);
    let mut snapshot = Snapshot::read(name, &table).expect("it is a snapshot");
    if let Err(error) = snapshot.replay(journal) {
        assert!(!error.to_string().contains('\n'));
        return None;
    }
    let clock = Clock { mono: std::time::Duration::ZERO, utc: Utc::from_unix(1_777_896_000, 0) };
    let tasks = snapshot.open(8, clock).expect("a journal makes no task that cannot be");
    Some(tasks.snapshot(clock).expect("it can be written"))
}
