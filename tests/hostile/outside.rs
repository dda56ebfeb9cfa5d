//! Attacks on what a module was given of the host: out of its folder, and to addresses that are not on its list.

use super::{Arena, Case, Group};
use crate::cluster::Cluster;

pub const GROUP: Group = Group {
    name: "outside",
    cases: &[
        Case {
            attack: "paths with `..` out of a folder that it may read",
            stopped_by: "`preopens`: no path leads out",
            sees: "Operation not permitted",
            run: |arena| {
                reads(arena, &["/data/../secret", "/data/inner/../../secret", "/data/inner/../../../etc/passwd"])
            },
        },
        Case {
            attack: "links in a folder that lead out of it",
            stopped_by: "`preopens`: no path leads out",
            sees: "Operation not permitted",
            run: |arena| reads(arena, &["/data/out", "/data/up", "/data/top/etc/passwd", "/data/chain"]),
        },
        Case {
            attack: "absolute paths",
            stopped_by: "`preopens`: there is nothing else",
            sees: "failed to find a pre-opened file descriptor",
            run: |arena| {
                let secret = arena.cluster.path("secret").display().to_string();
                reads(arena, &["/etc/passwd", &secret, "/proc/self/environ", "/"])
            },
        },
        Case {
            attack: "writing into a folder",
            stopped_by: "folders are read-only",
            sees: "Operation not permitted",
            run: writes,
        },
        Case {
            attack: "connections to loopback and to addresses that are not listed",
            stopped_by: "`network`",
            sees: "Permission denied",
            run: connects,
        },
        Case {
            attack: "listening, and datagrams",
            stopped_by: "guests have neither",
            sees: "Permission denied",
            run: |arena| {
                let tries = [r#"listen("0.0.0.0:0")"#, r#"listen("127.0.0.1:0")"#, r#"send-datagram("10.1.2.3:443")"#];
                each(arena, "outsider", &tries.map(str::to_owned))
            },
        },
    ],
};

/// Makes the folder of the module `visitor`, with links out of it beside what may be read.
pub fn make_folder(cluster: &Cluster) {
    let secret = cluster.file("secret", "secret");
    let folder = cluster.path("data");
    std::fs::create_dir_all(folder.join("inner")).unwrap();
    std::fs::write(folder.join("inner/given"), "12345").unwrap();
    for (link, to) in [("out", secret.as_str()), ("up", "../secret"), ("top", "/"), ("chain", "inner/../up")] {
        std::os::unix::fs::symlink(to, folder.join(link)).unwrap();
    }
}

/// What came of each of these calls, none of which may succeed: all of it, or the one that did.
fn each(arena: &Arena, process: &str, calls: &[String]) -> String {
    let said = calls.iter().map(|call| (call, arena.said(process, call)));
    let said: Vec<_> = said.collect();
    match said.iter().find(|(_, said)| !said.starts_with("err(")) {
        Some((call, said)) => format!("{call} gave {said}"),
        None => said.into_iter().map(|(_, said)| said).collect(),
    }
}

fn reads(arena: &Arena, paths: &[&str]) -> String {
    assert_eq!(arena.call("visitor", r#"read-file("/data/inner/given")"#).success(), "ok(5)");
    each(arena, "visitor", &paths.iter().map(|path| format!("read-file({path:?})")).collect::<Vec<_>>())
}

fn writes(arena: &Arena) -> String {
    let paths = ["/data/new", "/data/inner/given", "/data/out", "/data/../new"];
    let said = each(arena, "visitor", &paths.map(|path| format!("write-file({path:?})")));
    let kept = |path: &str| std::fs::read_to_string(arena.cluster.path(path)).unwrap_or_default();
    assert_eq!((kept("data/inner/given").as_str(), kept("secret").as_str()), ("12345", "secret"));
    assert!(!arena.cluster.path("data/new").exists() && !arena.cluster.path("new").exists());
    said
}

/// The visitor may connect to port 7 of every address, which does not mean this machine, and to a range elsewhere.
fn connects(arena: &Arena) -> String {
    let addresses =
        ["127.0.0.1:7", "0.0.0.0:7", "[::ffff:127.0.0.1]:7", "169.254.169.254:7", "8.8.8.8:53", "10.1.2.3:80"];
    each(arena, "visitor", &addresses.map(|address| format!("connect({address:?})")))
}
