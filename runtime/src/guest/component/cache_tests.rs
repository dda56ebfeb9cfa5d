//! What is taken from the folder of compiled code, and what is compiled anew.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::guest::component::tests::component;
use crate::guest::engine::{AllocatorChoice, EngineConfig, EngineKind, Engines};

fn bytes() -> Vec<u8> {
    component("package a:b; world w { export f: func(); }")
}

/// A folder of ours alone.
fn own() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn engines(config: EngineConfig) -> Engines {
    Engines::new(EngineConfig { allocator: AllocatorChoice::OnDemand, ..config }).unwrap()
}

fn engine() -> Engine {
    engines(EngineConfig::default()).get(EngineKind::Sync).unwrap()
}

/// Takes a component from the folder; says whether it had to be compiled.
fn compiles(folder: &Path, engine: &Engine, bytes: &[u8]) -> bool {
    let mut compiled = false;
    let component = Cache::in_folder(folder).get(engine, &digest(bytes), || {
        compiled = true;
        Component::new(engine, bytes)
    });
    assert!(component.unwrap().get_export_index(None, "f").is_some());
    compiled
}

/// The files of a folder, with what they have.
fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_component_is_compiled_once_for_a_folder() {
    let folder = own();
    let folder = folder.path().join("made/here");
    let (engine, bytes) = (engine(), bytes());
    assert!(compiles(&folder, &engine, &bytes));
    assert!(!compiles(&folder, &engine, &bytes));
    let [file] = files(&folder).try_into().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
    // Another engine with the same settings takes it too.
    assert!(!compiles(&folder, &self::engine(), &bytes));
}

#[test]
fn without_a_folder_modules_of_one_component_share_its_code() {
    let (cache, engine, bytes) = (Cache::default(), engine(), bytes());
    let first = cache.get(&engine, &digest(&bytes), || Component::new(&engine, &bytes)).unwrap();
    let second = cache.get(&engine, &digest(&bytes), || Err("compiled again")).unwrap();
    assert_eq!(first.image_range(), second.image_range());
}

#[test]
fn other_bytes_other_settings_and_other_engines_are_compiled_for_themselves() {
    let folder = own();
    let engines = engines(EngineConfig::default());
    let (engine, bytes) = (engines.get(EngineKind::Sync).unwrap(), bytes());
    assert!(compiles(folder.path(), &engine, &bytes));
    assert!(compiles(folder.path(), &engines.get(EngineKind::Concurrent).unwrap(), &bytes));
    let other_bytes = component("package a:b; world w { export f: func(); export g: func(); }");
    assert!(compiles(folder.path(), &engine, &other_bytes));
    let mut other = wasmtime::Config::new();
    other.epoch_interruption(true).concurrency_support(false).memory_reservation(1 << 20);
    assert!(compiles(folder.path(), &Engine::new(&other).unwrap(), &bytes));
    assert_eq!(files(folder.path()).len(), 4);
}

#[test]
fn a_damaged_file_is_a_miss_and_is_replaced() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    assert!(compiles(folder.path(), &engine, &bytes));
    let [file] = files(folder.path()).try_into().unwrap();
    let whole = std::fs::read(&file).unwrap();
    let cut = |at: usize| whole.iter().copied().take(at).collect::<Vec<u8>>();
    let flipped = |at: usize| {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        damaged
    };
    let ends = [0, 1, MAGIC.len(), MAGIC.len() + SUM_BYTES, whole.len() - 1];
    let damages = ends.map(cut).into_iter().chain([0, MAGIC.len(), whole.len() / 2, whole.len() - 1].map(flipped));
    for damaged in damages.chain([[whole.as_slice(), b"x"].concat()]) {
        std::fs::write(&file, damaged).unwrap();
        assert!(compiles(folder.path(), &engine, &bytes));
        assert!(!compiles(folder.path(), &engine, &bytes));
    }
    assert_eq!(files(folder.path()), [file]);
}

#[test]
fn code_under_the_name_of_another_component_is_damage() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    let other = component("package a:b; world w { export f: func(a: u32); }");
    assert!(compiles(folder.path(), &engine, &other));
    let [of_other] = files(folder.path()).try_into().unwrap();
    let name = hex(&key(&engine, &digest(&bytes))) + SUFFIX;
    std::fs::copy(of_other, folder.path().join(name)).unwrap();
    assert!(compiles(folder.path(), &engine, &bytes));
}

#[test]
fn what_is_no_file_of_ours_keeps_nobody_waiting_and_fills_no_memory() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    assert!(compiles(folder.path(), &engine, &bytes));
    let [file] = files(folder.path()).try_into().unwrap();
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o600.into()).unwrap();
    assert!(compiles(folder.path(), &engine, &bytes));
    File::options().write(true).open(&file).unwrap().set_len(MAX_FOLDER_BYTES + 1).unwrap();
    assert!(compiles(folder.path(), &engine, &bytes));
}

#[test]
fn code_that_others_may_have_written_is_not_used() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    let set = |path: &Path, mode: u32| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    assert!(compiles(folder.path(), &engine, &bytes));
    let [file] = files(folder.path()).try_into().unwrap();
    // As a file and a folder are that were copied from elsewhere.
    set(&file, 0o644);
    assert!(compiles(folder.path(), &engine, &bytes));
    assert!(!compiles(folder.path(), &engine, &bytes), "it was replaced");
    set(folder.path(), 0o755);
    assert!(compiles(folder.path(), &engine, &bytes));
    set(folder.path(), 0o700);
    let open = folder.path().join("open");
    let below = open.join("below");
    assert!(compiles(&below, &engine, &bytes));
    assert!(!compiles(&below, &engine, &bytes));
    set(&open, 0o777);
    assert!(compiles(&below, &engine, &bytes), "anybody could have put it there");
    set(&open, 0o1777);
    assert!(!compiles(&below, &engine, &bytes));
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&below, &link).unwrap();
    assert!(compiles(&link, &engine, &bytes));
    std::fs::remove_file(link).unwrap();
    let elsewhere = own();
    let moved = elsewhere.path().join("moved");
    std::fs::rename(&file, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &file).unwrap();
    assert!(compiles(folder.path(), &engine, &bytes), "a link is no file of ours");
}

#[test]
fn where_nothing_can_be_kept_components_are_compiled() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(compiles(&file, &engine, &bytes));
    assert!(compiles(&file.join("below"), &engine, &bytes));
    let failure = Cache::in_folder(folder.path()).get(&engine, &digest(&bytes), || Err("no such wasm"));
    assert_eq!(failure.err(), Some("no such wasm"));
    assert_eq!(files(folder.path()), [file]);
}

#[test]
fn what_was_not_used_for_longest_makes_room_and_what_was_never_finished_goes() {
    let folder = own();
    let now = SystemTime::now();
    let file = |name: &str, bytes: usize, hours: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, vec![0; bytes]).unwrap();
        let used = now - Duration::from_secs(hours * 60 * 60);
        File::options().write(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    };
    let (oldest, older, newer) = (file("a.cwasm", 100, 9), file("b.cwasm", 100, 8), file("c.cwasm", 100, 1));
    let (abandoned, begun) = (file(".unfinished-1", 1, 2), file(".unfinished-2", 10, 0));
    std::fs::create_dir(folder.path().join("z.cwasm")).unwrap();
    let other = file("of-somebody-else", 1000, 99);
    make_room(folder.path(), 50, 300).unwrap();
    assert_eq!([&oldest, &older, &newer].map(|path| path.exists()), [false, true, true]);
    assert_eq!([&abandoned, &begun, &other].map(|path| path.exists()), [false, true, true]);
    assert!(make_room(folder.path(), 301, 300).unwrap_err().to_string().contains("more than the folder may have"));
}

#[test]
fn the_use_of_a_file_is_noted() {
    let folder = own();
    let (engine, bytes) = (engine(), bytes());
    assert!(compiles(folder.path(), &engine, &bytes));
    let [path] = files(folder.path()).try_into().unwrap();
    let long_ago = SystemTime::now() - 2 * NOTE_USE_EVERY;
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    assert!(!compiles(folder.path(), &engine, &bytes));
    assert!(std::fs::metadata(&path).unwrap().modified().unwrap() > long_ago + NOTE_USE_EVERY);
}
