//! Files of components, each opened once.

use std::path::PathBuf;
use std::sync::Arc;

use daffi_proto::name::NameGlob;

use super::*;
use crate::guest::component::cache::Cache;
use crate::guest::component::{Opener, Readable};
use crate::guest::engine::{EngineConfig, Engines};

/// A folder with files of these names and contents.
fn folder(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let put = |(name, bytes): &(&str, &[u8])| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths = files.iter().map(put).collect();
    (folder, paths)
}

fn plain(opener: &mut Opener, path: &Path) -> Arc<Readable> {
    opener.open(path, LoadOptions::default()).unwrap()
}

#[test]
fn a_component_is_loaded_from_a_file() {
    let (folder, paths) = folder(&[("guest.wasm", &demo("", "export f: func();"))]);
    let mut opener = Opener::default();
    let engines = Engines::new(EngineConfig::default()).unwrap();
    assert!(plain(&mut opener, &paths[0]).compile(&engines, &Cache::default()).is_ok());
    let error = opener.open(&folder.path().join("no.wasm"), LoadOptions::default()).err().unwrap();
    assert!(matches!(error, LoadError::NoSuchFile(_)));
}

#[test]
fn a_file_is_read_once_however_many_modules_have_it() {
    let (_folder, paths) = folder(&[("guest.wasm", &demo("", "export f: func();"))]);
    let mut opener = Opener::default();
    let first = plain(&mut opener, &paths[0]);
    std::fs::remove_file(&paths[0]).unwrap();
    assert!(Arc::ptr_eq(&first, &plain(&mut opener, &paths[0])));
}

#[test]
fn files_of_one_content_are_one_component() {
    let (one, other) = (demo("", "export f: func();"), demo("", "export g: func();"));
    let (_folder, paths) = folder(&[("a.wasm", &one), ("b.wasm", &one), ("c.wasm", &other)]);
    let mut opener = Opener::default();
    let opened: Vec<_> = paths.iter().map(|path| plain(&mut opener, path)).collect();
    assert!(Arc::ptr_eq(&opened[0], &opened[1]));
    assert_eq!(callbacks(&opened[2].description), ["g: func()"]);
}

#[test]
fn who_wants_other_callbacks_of_a_component_or_other_fetchers_gets_what_he_says() {
    let component = demo("interface i { f: func(); }", "import i; export f: func(); export g: func();");
    let (_folder, paths) = folder(&[("guest.wasm", &component)]);
    let mut opener = Opener::default();
    let all = plain(&mut opener, &paths[0]);
    let only = LoadOptions { callbacks: Some(vec![NameGlob::parse("g").unwrap()]), ..LoadOptions::default() };
    let one = opener.open(&paths[0], only).unwrap();
    assert_eq!((all.description.callbacks.len(), callbacks(&one.description)), (2, vec!["g: func()".to_owned()]));
    let table = vec![("demo:tutorial/i".to_owned(), "demo:tutorial/j".to_owned())];
    let elsewhere = opener.open(&paths[0], LoadOptions { fetchers: table, ..LoadOptions::default() }).unwrap();
    assert_ne!(fetchers(&all.description), fetchers(&elsewhere.description));
}
