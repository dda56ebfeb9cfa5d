//! Compiled code that is kept, through the real binary.

use super::cluster::Cluster;

/// The files of compiled code in the cluster's folder.
fn kept(cluster: &Cluster) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(cluster.path("cache")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn compiled_code_is_kept_used_again_and_made_anew_where_it_is_damaged() {
    let cluster = Cluster::new();
    let served = || {
        let server = cluster.runtime("server").controller().module("fixtures", "fixtures");
        let server = server.args(["--cache-dir", "cache", "--log", "debug"]).ready();
        assert_eq!(cluster.call("add(5, 15)").success(), "20");
        server.terminate();
        server.output().stderr
    };
    assert!(!served().contains("compiled code"));
    let [file] = kept(&cluster).try_into().unwrap();
    let whole = std::fs::read(&file).unwrap();
    assert!(!served().contains("compiled code"));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let log = served();
    assert!(log.contains("is damaged: it is compiled anew"), "{log}");
    assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
}

#[test]
fn without_a_cache_nothing_is_written_and_a_folder_that_cannot_be_used_is_told() {
    let cluster = Cluster::new();
    let serve = |args: &[&str]| {
        let server = cluster.runtime("server").controller().module("fixtures", "fixtures");
        let server = server.host_env("XDG_CACHE_HOME", cluster.path("home")).args(args).ready();
        assert_eq!(cluster.call("add(5, 15)").success(), "20");
        server.terminate();
        server.output().stderr
    };
    serve(&["--no-cache"]);
    assert!(!cluster.path("home").exists());
    let file = cluster.file("file", "");
    let log = serve(&["--cache-dir", &file]);
    assert!(log.contains("compiled code is not kept in"), "{log}");
    serve(&[]);
    assert!(cluster.path("home/daffi").is_dir());
}
