//! Files that are no component: each is told what it looks like, and nothing panics.

use super::*;
use crate::guest::component::{DEFAULT_MAX_COMPONENT_BYTES, read_file};

fn small() -> Vec<u8> {
    let interface = "interface i {
        use daffi:runtime/types@0.1.0.{call-error};
        record point { x: s32, y: list<string> }
        variant shape { dot, line(point) }
        f: func(p: point, q: option<shape>) -> result<list<u8>, call-error>;
    }";
    demo(interface, "import i; export i; export plain: func(a: tuple<u8, char>);")
}

#[test]
fn a_file_is_told_what_it_looks_like() {
    let cases: [(&[u8], &str); 20] = [
        (b"", "an empty file"),
        (b"   \n", "an empty text file"),
        (b"\0as", "binary data"),
        (b"\0asm\x0d\0", "only the first bytes"),
        (b"\0asm\x0c\0\x01\0", "a draft of the format"),
        (b"\0asm\x02\0\0\0", "a version that this runtime does not know"),
        (b"\x7fELF\x02\x01\x01", "a native ELF program"),
        (b"MZ\x90\0", "a Windows program"),
        (b"\x1f\x8b\x08\0", "a gzip archive"),
        (b"PK\x03\x04", "a zip archive"),
        (b"(component)", "WebAssembly text"),
        (b"\xef\xbb\xbf ;; text\n(module)", "WebAssembly text"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"#!/bin/sh\n", "a script"),
        (b"package demo:tutorial;\n", "WIT text"),
        (b"{\"a\": 1}", "JSON"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"fn main() {}", "a text file"),
        (b"\xff\xfe\x00\x01", "binary data"),
        (b"text with a zero \0 byte", "binary data"),
    ];
    for (bytes, what) in cases {
        let error = error(bytes, &LoadOptions::default()).to_string();
        assert!(error.contains(what), "{bytes:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn text_cut_in_the_middle_of_a_character_is_still_text() {
    let mut text = "x".repeat(4095).into_bytes();
    text.extend("é".as_bytes());
    assert!(error(&text, &LoadOptions::default()).to_string().contains("a text file"));
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let plain = error(&wat("(module)"), &LoadOptions::default()).to_string();
    assert!(plain.contains("wasm32-wasip2") && plain.contains("wasm-tools component new test.wasm"), "{plain}");
    assert!(!plain.contains("--adapt"));
    let preview1 = wat(r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#);
    assert!(error(&preview1, &LoadOptions::default()).to_string().contains("--adapt"));
}

#[test]
fn a_package_of_wit_is_told_apart() {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", "package a:b; interface i { f: func(); }").unwrap();
    let bytes = wit_component::encode(&resolve, package).unwrap();
    assert!(matches!(error(&bytes, &LoadOptions::default()), LoadError::WitPackage { .. }));
}

#[test]
fn a_truncated_component_is_told_where_it_ends() {
    let whole = small();
    for end in 8..whole.len() {
        let bytes = &whole[..end];
        // A cut between two sections leaves a smaller, complete component.
        let Err(error) = describe("test.wasm", bytes, &LoadOptions::default()) else { continue };
        match error {
            LoadError::Invalid { offset, bytes, .. } => assert!(offset <= bytes),
            LoadError::WitPackage { .. } => {}
            other => panic!("{end}: {other}"),
        }
    }
}

#[test]
fn flipped_bits_never_panic() {
    let whole = small();
    let mut refused = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            refused += usize::from(describe("test.wasm", &bytes, &LoadOptions::default()).is_err());
        }
    }
    assert!(refused > whole.len(), "most flips of types and names are found: {refused}");
}

#[test]
fn a_type_whose_tree_is_huge_is_read_as_a_table_or_refused() {
    let mut text = String::from("(component (type $t0 (tuple u8 u8))");
    for nth in 1..17 {
        text += &format!("(type $t{nth} (tuple $t{} $t{}))", nth - 1, nth - 1);
    }
    let table = described(&wat(&format!(r#"{text} (import "f" (func (param "x" $t16))))"#)));
    assert_eq!(table.fetchers[0].signature.defs.len(), 17);
    for nth in 17..60 {
        text += &format!("(type $t{nth} (tuple $t{} $t{}))", nth - 1, nth - 1);
    }
    let error = error(&wat(&format!(r#"{text} (import "f" (func (param "x" $t59))))"#)), &LoadOptions::default());
    assert!(matches!(error, LoadError::Invalid { .. }), "{error}");
}

#[test]
fn a_component_over_the_size_limit_is_refused() {
    let options = LoadOptions { max_bytes: 100, ..LoadOptions::default() };
    let error = error(&small(), &options).to_string();
    assert!(error.contains("more than the limit of 100"), "{error}");
}

#[test]
fn what_is_no_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let read = |path: &Path| read_file(path, DEFAULT_MAX_COMPONENT_BYTES);
    assert!(matches!(read(&folder.path().join("none.wasm")), Err(LoadError::NoSuchFile(_))));
    assert!(matches!(read(folder.path()), Err(LoadError::Directory(_))));
    assert!(matches!(read(Path::new("/dev/zero")), Err(LoadError::NotAFile(_))));
    let file = folder.path().join("a.wasm");
    std::fs::write(&file, [0; 11]).unwrap();
    assert!(matches!(read(&file.join("inside.wasm")), Err(LoadError::NoSuchFile(_))));
    assert!(matches!(read_file(&file, 10), Err(LoadError::TooLarge { bytes: 11, limit: 10, .. })));
    assert_eq!(read_file(&file, 11).unwrap(), [0; 11]);
}
