//! Who may name what, and who depends on whom: the rules of the layout, checked on the sources themselves.
//!
//! Comments may name anything; a file's unit tests may use more than the file itself.

use std::path::{Path, PathBuf};

use super::cluster::components::root;

/// A source file: its path from the root, and its code without comments and unit tests.
struct Source {
    path: String,
    text: String,
    code: String,
}

#[test]
fn every_source_file_opens_by_saying_what_it_is() {
    let silent: Vec<_> = sources(&["runtime", "tests", "guests", "examples"])
        .into_iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "files without a `//!` header: {silent:#?}");
}

#[test]
fn every_file_of_tests_is_a_part_of_them() {
    let main = std::fs::read_to_string(root().join("tests/main.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        assert!(module == "main" || main.contains(&format!("mod {module};\n")), "tests/main.rs has no `mod {module};`");
    }
}

#[test]
fn wasmtime_is_named_only_in_guest() {
    only_in(&["wasmtime::", "wasmtime_wasi::"], &["runtime/src/guest/", "runtime/benches/"]);
}

#[test]
fn rustls_is_named_only_in_tls() {
    only_in(&["rustls::", "tokio_rustls::", "webpki::"], &["runtime/src/net/tls", "runtime/benches/mesh/socket.rs"]);
}

#[test]
fn http_is_named_only_in_metrics() {
    only_in(&["hyper::"], &["runtime/src/metrics"]);
}

#[test]
fn postcard_is_named_only_in_the_codecs() {
    // The codecs of frames, of values, of what frames carry (tables of callbacks, usages), and of journals; and who feeds them
    // anything.
    let codecs = [
        "runtime/proto/src/frame",
        "runtime/proto/src/value/",
        "runtime/proto/src/registry/table.rs",
        "runtime/proto/src/schedule/journal.rs",
        "runtime/proto/src/usage.rs",
        "runtime/proto/fuzz/src/",
        "runtime/benches/mesh/typed.rs",
    ];
    only_in(&["postcard::"], &codecs);
}

#[test]
fn the_protocol_does_no_io_and_knows_no_clock() {
    let forbidden = [
        "tokio::",
        "wasmtime::",
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::os::unix::net",
        "std::io::Read",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
        "rand::",
    ];
    free_of("runtime/proto/src/", &forbidden);
}

#[test]
fn dependencies_point_from_main_through_app_guest_and_net_to_mesh_and_the_protocol() {
    free_of("runtime/src/mesh/", &["crate::guest", "crate::net", "crate::app", "crate::cli", "crate::config"]);
    free_of("runtime/src/net/", &["crate::guest", "crate::app", "crate::cli"]);
    free_of("runtime/src/guest/", &["crate::net", "crate::app", "crate::cli"]);
    free_of("runtime/src/app", &["crate::cli"]);
    let others = ["crate::guest", "crate::mesh", "crate::net", "crate::app", "crate::cli", "crate::config"];
    free_of("runtime/src/metrics", &others);
}

#[test]
fn guests_know_of_the_mesh_only_its_handle() {
    for source in sources(&["runtime/src/guest"]) {
        for (place, _) in source.code.match_indices("crate::mesh") {
            let used = source.code.get(place..).unwrap_or_default();
            assert!(used.starts_with("crate::mesh::handle"), "{} uses {:.60}", source.path, used);
        }
    }
}

#[test]
fn unsafe_code_is_in_the_transcoder_and_where_compiled_code_is_taken() {
    // And in the allocators that count for benches.
    let places = [
        "runtime/src/guest/transcode/",
        "runtime/src/guest/component/cache.rs",
        "runtime/proto/benches/growth/memory.rs",
        "runtime/benches/mesh/allocations.rs",
    ];
    only_in(&["unsafe "], &places);
}

/// Checks that of the runtime's and the protocol's sources only those under `places` name any of `words`.
#[track_caller]
fn only_in(words: &[&str], places: &[&str]) {
    for source in sources(&["runtime"]) {
        if places.iter().any(|place| source.path.starts_with(place)) || source.path.contains("/tests/") {
            continue;
        }
        source.lacks(words);
    }
}

#[track_caller]
fn free_of(place: &str, words: &[&str]) {
    for source in sources(&["runtime"]).into_iter().filter(|source| source.path.starts_with(place)) {
        source.lacks(words);
    }
}

impl Source {
    #[track_caller]
    fn lacks(&self, words: &[&str]) {
        for word in words {
            let line = self.code.lines().find(|line| names(line, word));
            assert!(line.is_none(), "{} must not name {word}: {}", self.path, line.unwrap_or_default().trim());
        }
    }
}

/// Whether the line names the word as a word of its own: `daffi_wasmtime::` does not name `wasmtime::`.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(place, _)| {
        let before = line.get(..place).and_then(|before| before.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    files.iter().map(|file| source(&root, file)).collect()
}

fn source(root: &Path, file: &Path) -> Source {
    let text = std::fs::read_to_string(file).unwrap();
    let own = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let code: Vec<&str> = own.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let path = file.strip_prefix(root).unwrap().display().to_string();
    Source { path, code: code.join("\n"), text }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | ".venv") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
