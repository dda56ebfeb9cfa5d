//! Tests of the state folder: its mode, its lock, its files; what crashes between two writes leave.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use daffi_proto::id::{ProcessName, TenantName};
use daffi_proto::schedule::{Clock, Plan, RunNumber, Save, Step, TaskSpec, Tasks, Unwritten, Utc};
use daffi_proto::signature::Fingerprint;

use super::schedules::JournalFile;
use super::*;

fn process(name: &str) -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() }
}

fn clock() -> Clock {
    Clock { mono: Duration::from_secs(7), utc: Utc::from_unix(1_777_896_000, 0) }
}

/// A table with one task.
fn table(name: &str) -> Tasks {
    let mut tasks = Tasks::new(ProcessName::new(name).unwrap(), 8, clock());
    let callback = "demo:jobs/jobs#backup".parse().unwrap();
    let plan = Plan::Every(Duration::from_secs(60));
    tasks.add(clock(), TaskSpec::new(callback, Fingerprint([7; 16]), "args".into(), plan)).unwrap();
    tasks
}

/// The same at a later time.
fn later(seconds: u64) -> Clock {
    let time = Duration::from_secs(seconds);
    Clock { mono: clock().mono + time, utc: clock().utc.plus(time) }
}

fn write_table(state: &StateDir, name: &str, tasks: &mut Tasks) -> io::Result<JournalFile> {
    state.write_now(&process(name), Save::Table(Box::new(tasks.take_table())), None, clock())
}

/// A run of the first task, and what that adds to its journal.
fn run(state: &StateDir, tasks: &mut Tasks, journal: JournalFile, seconds: u64, durable: bool) -> JournalFile {
    let Some(Step::Run(run)) = tasks.due(later(seconds)) else { panic!("nothing is due") };
    tasks.ended(later(seconds), &run.task, RunNumber(run.run.0), Ok(()));
    let save = Save::Entries { entries: tasks.take_entries(later(seconds), Unwritten::Counts), durable };
    state.write_now(&process("worker"), save, Some(journal), later(seconds)).unwrap()
}

/// How often the only task of `worker` has run, as a runtime finds it.
fn runs(state: &StateDir) -> u64 {
    let tasks = state.tasks(&process("worker"), 8, later(1)).unwrap();
    tasks.list(later(1)).next().unwrap().counts.runs
}

#[test]
fn tasks_come_back_from_a_private_folder_that_was_made_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let state = StateDir::open(&path).unwrap();
    assert!(state.tasks(&process("worker"), 8, clock()).unwrap().is_empty());
    write_table(&state, "worker", &mut table("worker")).unwrap();
    drop(state);
    let state = StateDir::open(&path).unwrap();
    assert_eq!(state.tasks(&process("worker"), 8, clock()).unwrap().len(), 1);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = ["json", "journal"].map(|kind| mode(path.join("schedules/default/worker").with_extension(kind)));
    assert_eq!((mode(path), files), (0o700, [0o600; 2]));
}

#[test]
fn what_was_appended_comes_back_until_the_table_takes_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    let mut tasks = table("worker");
    let mut journal = write_table(&state, "worker", &mut tasks).unwrap();
    for minute in 1..=3 {
        journal = run(&state, &mut tasks, journal, minute * 60, minute == 2);
        assert_eq!(runs(&state), minute);
    }
    let file = dir.path().join("state/schedules/default/worker.journal");
    let full = std::fs::read(&file).unwrap();
    let journal = write_table(&state, "worker", &mut tasks).unwrap();
    assert_eq!((runs(&state), std::fs::metadata(&file).unwrap().len()), (3, 0));
    // A crash between the two.
    std::fs::write(&file, &full).unwrap();
    assert_eq!(runs(&state), 3);
    std::fs::write(&file, "").unwrap();
    run(&state, &mut tasks, journal, 240, true);
    assert_eq!(runs(&state), 4);
}

#[test]
fn a_journal_is_read_up_to_its_torn_end_and_refused_where_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    let mut tasks = table("worker");
    let mut journal = write_table(&state, "worker", &mut tasks).unwrap();
    for minute in 1..=3 {
        journal = run(&state, &mut tasks, journal, minute * 60, true);
    }
    let file = dir.path().join("state/schedules/default/worker.journal");
    let full = std::fs::read(&file).unwrap();
    std::fs::write(&file, &full[..full.len() - 1]).unwrap();
    assert_eq!(runs(&state), 2);
    let mut damaged = full.clone();
    damaged[40] ^= 1;
    for content in [&damaged[..], b"{}", b"daffi journal 9\n"] {
        std::fs::write(&file, content).unwrap();
        let error = state.tasks(&process("worker"), 8, clock()).unwrap_err().to_string();
        assert!(error.contains("worker.journal") && error.contains("left as it is"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), content);
    }
    // As the error says.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(runs(&state), 0);
    std::fs::write(&file, &full).unwrap();
    std::fs::remove_file(file.with_extension("json")).unwrap();
    assert!(state.tasks(&process("worker"), 8, clock()).unwrap().is_empty(), "a journal without its table");
}

#[test]
fn nothing_is_appended_in_a_folder_that_was_moved_away_or_where_there_is_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let state = StateDir::open(&path).unwrap();
    let journal = write_table(&state, "worker", &mut table("worker")).unwrap();
    let nothing = || Save::Entries { entries: Vec::new(), durable: true };
    let append = |journal| state.write_now(&process("worker"), nothing(), journal, clock());
    let journal = append(Some(journal)).unwrap();
    std::fs::rename(&path, dir.path().join("away")).unwrap();
    assert!(append(Some(journal)).unwrap_err().to_string().contains("moved or removed"));
    std::fs::rename(dir.path().join("away"), &path).unwrap();
    assert!(append(None).unwrap_err().to_string().contains("no journal"));
}

#[test]
fn a_folder_is_one_runtimes_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let first = StateDir::open(&path).unwrap();
    let error = StateDir::open(&path).unwrap_err().to_string();
    assert!(error.contains("in use by another runtime"), "{error}");
    drop(first);
    StateDir::open(&path).unwrap();
}

#[test]
fn a_folder_that_others_can_look_into_or_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o750)).unwrap();
    let error = StateDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("mode 750") && error.contains("chmod 700"), "{error}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = StateDir::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("a folder of its own") && !error.contains("chmod"), "others may need it: {error}");
    assert!(StateDir::open(&file).unwrap_err().to_string().contains("no folder"));
    assert!(StateDir::open(&file.join("below")).is_err());
}

#[test]
fn what_cannot_be_understood_is_an_error_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    write_table(&state, "other", &mut table("other")).unwrap();
    let folder = dir.path().join("state/schedules/default");
    let foreign = std::fs::read(folder.join("other.json")).unwrap();
    for content in [&b""[..], b"{}", b"\xff\xfe", b"{\"version\": 99}", &foreign] {
        let file = folder.join("worker.json");
        std::fs::write(&file, content).unwrap();
        let error = state.tasks(&process("worker"), 8, clock()).unwrap_err().to_string();
        assert!(error.contains("worker.json") && error.contains("left as it is"), "{error}");
        assert_eq!(std::fs::read(&file).unwrap(), content);
    }
}

#[test]
fn a_folder_that_is_moved_away_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("state"), dir.path().join("away"));
    let state = StateDir::open(&path).unwrap();
    std::fs::rename(&path, &away).unwrap();
    let write = || write_table(&state, "worker", &mut table("worker"));
    assert!(write().unwrap_err().to_string().contains("moved or removed"));
    assert!(!path.exists());
    let another = StateDir::open(&path).unwrap();
    assert!(write().unwrap_err().to_string().contains("moved or removed"), "another runtime's");
    drop(another);
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    write().unwrap();
}

#[test]
fn a_file_that_cannot_be_read_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(&dir.path().join("state")).unwrap();
    let file = dir.path().join("state/schedules/default/worker.json");
    std::fs::create_dir_all(&file).unwrap();
    let error = state.tasks(&process("worker"), 8, clock()).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    assert!(write_table(&state, "worker", &mut table("worker")).is_err());
}
