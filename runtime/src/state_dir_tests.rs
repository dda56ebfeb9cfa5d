//! Tests of the state folder: its mode, its lock, its files.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use daffi_proto::id::{ProcessName, TenantName};
use daffi_proto::schedule::{Plan, TaskSpec, Utc};
use daffi_proto::signature::Fingerprint;

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

#[test]
fn tasks_come_back_from_a_private_folder_that_was_made_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    let state = StateDir::open(&path).unwrap();
    assert!(state.tasks(&process("worker"), 8, clock()).unwrap().is_empty());
    state.write_now(&process("worker"), &table("worker"), clock()).unwrap();
    drop(state);
    let state = StateDir::open(&path).unwrap();
    assert_eq!(state.tasks(&process("worker"), 8, clock()).unwrap().len(), 1);
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path.clone()), mode(path.join("schedules/default/worker.json"))), (0o700, 0o600));
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
    state.write_now(&process("other"), &table("other"), clock()).unwrap();
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
    let write = || state.write_now(&process("worker"), &table("worker"), clock());
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
    assert!(state.write_now(&process("worker"), &table("worker"), clock()).is_err());
}
