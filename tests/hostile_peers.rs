//! Peers that mean harm: they may connect, and some may join, since they are of the same user. What they do costs them their
//! own link at most, and a bystander's calls go on.
//!
//! Single frames that are wrong are in [`super::faults`], in the protocol's own tests (`runtime/proto/tests/mesh/handshake.rs`,
//! `faults.rs`, `names.rs`) and in its fuzz targets; handshakes of TLS are in [`super::tls`]. Here is what takes sockets, time
//! or memory. `docs/hostile-peers.md` lists all of it with the tests' names, and a test keeps that list true.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::channel;

use bytes::{Bytes, BytesMut};
use daffi_proto::call::{CallbackSpec, Hop};
use daffi_proto::frame::{DEFAULT_MAX_PAYLOAD_BYTES, Frame, Header, LastWord, MAX_HEADER_BYTES, Side, StreamRef};
use daffi_proto::id::{CallId, NodeKey, ProcessName, ProcessRef, SessionId, TenantName, Ticket};
use daffi_proto::registry::{Callback, CallbackTable, MAX_CALLBACKS_PER_PROCESS};
use daffi_proto::session::{Role, refusal};
use daffi_proto::signature::Signature;
use daffi_proto::stream::Credit;

use super::cluster::components::root;
use super::cluster::impostor::callbacks;
use super::cluster::output::says;
use super::cluster::peer::Peer;
use super::cluster::{Cluster, Running};
use super::hostile::bystander::Bystander;

/// The most memory that the controller may have had, in KiB: many times what it has at rest, and a fraction of what the peers
/// here ask for.
const MOST_MEMORY_KIB: u64 = 512 << 10;

/// Carries out an attack on a controller with a neighbour, and another runtime, beside a bystander.
fn withstands(attack: impl FnOnce(&Cluster, &Running)) {
    let cluster = Cluster::new();
    let server =
        cluster.runtime("server").controller().module("neighbour", "fixtures").module("other", "fixtures").ready();
    let far = cluster.runtime("far").module("far", "fixtures").ready();
    let bystander = Bystander::start(&cluster);
    attack(&cluster, &server);
    let latency = bystander.stop();
    println!("{} calls beside it, p50 {:?}, p99 {:?}", latency.calls, latency.p50, latency.p99);
    cluster.becomes_idle();
    assert_eq!((server.ended(), far.ended(), far.count("lost")), (false, false, 0));
    let peak = server.peak_memory_kib();
    assert!(peak < MOST_MEMORY_KIB, "{peak} KiB");
}

#[test]
fn half_handshakes_are_closed_after_their_time_and_hold_nobody_up() {
    withstands(|cluster, _| {
        // Nothing; a length; a length and less than it says; each with the socket left open.
        let beginnings: [&[u8]; 3] = [&[], &[200, 0, 0, 0], &[200, 0, 0, 0, 1, 2, 3]];
        let mut slow: Vec<_> = (0..300).map(|at| (cluster.raw(), beginnings[at % 3])).collect();
        for (peer, beginning) in &mut slow {
            peer.write(beginning);
        }
        assert_eq!(cluster.call("plain-greeting(\"you\")").success(), "\"hello, you\"");
        for (mut peer, _) in slow {
            peer.closed();
        }
    });
}

#[test]
fn strangers_at_the_socket_of_a_node_are_closed_and_direct_calls_go_on() {
    withstands(|cluster, _| {
        let steps = ["wait-process other 60000", "times 400 call add [1, 2]", "print done"];
        let sockets = || {
            let names = std::fs::read_dir(cluster.sockets()).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.extension().is_some_and(|kind| kind == "sock")).collect::<Vec<_>>()
        };
        let before = sockets();
        assert_eq!(before.len(), 2, "of the server and of the other runtime: {before:?}");
        let script = cluster.runtime("script").script(&steps).start();
        let visit = Frame::new(Header::Visit { version: 1, session: SessionId(1), ticket: Ticket([7; 16]) });
        let mut buffer = BytesMut::new();
        visit.encode_into(&mut buffer).unwrap();
        let garbage: [&[u8]; 5] = [b"GET / HTTP/1.1\r\n\r\n", &[255; 64], &[], &[200, 0, 0, 0, 1, 2], &buffer];
        let mut strangers: Vec<_> = (0..200).map(|at| (cluster.raw_at(&before[at % 2]), garbage[at % 5])).collect();
        for (stranger, said) in &mut strangers {
            stranger.write(said);
        }
        script.wait_for_line("done");
        for (mut stranger, _) in strangers {
            stranger.closed();
        }
    });
}

#[test]
fn a_name_that_lives_is_not_given_to_another_key() {
    withstands(|cluster, _| {
        let mut victim = cluster.peer().joined(Role::Node, NodeKey([1; 16]));
        victim.register("victim", callbacks());
        assert!(matches!(registered(&mut victim), Header::Registered { .. }));
        let mut thief = cluster.peer().joined(Role::Node, NodeKey([2; 16]));
        for name in ["victim", "neighbour", "far"] {
            thief.register(name, callbacks());
            let Header::NotRegistered { message, .. } = registered(&mut thief) else { panic!("{name} was given away") };
            says(&message, &[name, "is held by"]);
        }
        victim.write(Frame::new(Header::Leave));
    });
}

/// The answer to a registration.
fn registered(peer: &mut super::cluster::peer::Peer) -> Header {
    let answers = ["Registered", "NotRegistered"];
    std::iter::from_fn(|| peer.next())
        .map(|frame| frame.header)
        .find(|header| answers.contains(&header.kind()))
        .unwrap()
}

#[test]
fn guessed_ids_of_calls_and_streams_reach_nobody_elses() {
    withstands(|cluster, server| {
        let held = cluster.calling(&["--receiver", "other", r#"hold("x", 2000)"#]);
        server.wait_for_line("x started");
        let all = |id: CallId| {
            let stream = StreamRef { call: id, from: Side::Caller, number: 0 };
            let reply = Header::Reply { id, process: None, open: false, channels: [].into() };
            [
                Header::Cancel { id, lost: false },
                Header::Ended { id },
                Header::Fail { id, runs_on: false },
                reply,
                Header::Items { stream, count: 1 },
                Header::End { stream, last: LastWord::Finished },
                Header::Grant { stream, total: Credit::default() },
                Header::Halt { stream },
            ]
        };
        for role in [Role::Client, Role::Node] {
            for id in (0..64).map(CallId) {
                for header in all(id) {
                    // One that is wrong closes the link, so each has its own.
                    let mut peer = cluster.peer().joined(role, NodeKey([3; 16]));
                    peer.write(Frame::new(header));
                    peer.write(Frame::new(Header::Leave));
                    peer.closed();
                }
            }
        }
        assert_eq!(held.output().success(), r#""x""#);
    });
}

#[test]
fn registrations_without_end_are_refused_and_their_names_are_free_again() {
    withstands(|cluster, _| {
        let mut peer = cluster.peer().joined(Role::Node, NodeKey([4; 16]));
        for n in 0..3000 {
            peer.register(&format!("p{n}"), callbacks());
        }
        peer.write(Frame::new(Header::Leave));
        let refused = |frame: &Frame| matches!(frame.header, Header::NotRegistered { .. } | Header::Close { .. });
        assert!(peer.closed().iter().any(refused));
        let _next = cluster.runtime("p1").module("p1", "fixtures").ready();
    });
}

/// As many callbacks as a process may have, with names as long as they may be.
fn many_callbacks() -> Bytes {
    let signature = Arc::new(Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false });
    let name = |at: usize| format!("test:mesh/talk#n{at}{}", "x".repeat(450)).parse().unwrap();
    let callbacks =
        (0..MAX_CALLBACKS_PER_PROCESS).map(|at| CallbackSpec { name: name(at), signature: signature.clone() });
    CallbackTable::encode(&callbacks.map(|spec| Callback::new(&spec)).collect::<Vec<_>>()).unwrap()
}

#[test]
fn registrations_of_very_many_callbacks_fill_no_more_memory_than_all_callbacks_may() {
    withstands(|cluster, server| {
        let table = many_callbacks();
        let peers: Vec<_> = (10..16).map(|key| cluster.peer().joined(Role::Node, NodeKey([key; 16]))).collect();
        let lines: Vec<_> = peers.iter().map(Peer::socket).collect();
        let (done, all) = channel();
        let codes: BTreeSet<String> = std::thread::scope(|scope| {
            // Each has a thread, so that none is silent for long while others register.
            for (at, (mut peer, done)) in peers.into_iter().zip(std::iter::repeat(done)).enumerate() {
                let table = &table;
                scope.spawn(move || {
                    for n in 0..40 {
                        peer.register(&format!("p{at}-{n}"), table.clone());
                        if let Header::NotRegistered { code, .. } = registered(&mut peer) {
                            done.send(code).unwrap();
                        }
                    }
                    drop(done);
                    peer.closed();
                });
            }
            let codes = all.iter().collect();
            let mut leave = BytesMut::new();
            Frame::new(Header::Leave).encode_into(&mut leave).unwrap();
            lines.into_iter().for_each(|mut line| line.write_all(&leave).unwrap());
            codes
        });
        assert_eq!(codes, [refusal::BAD_PROCESS, refusal::FULL].map(str::to_owned).into());
        println!("{} KiB", server.peak_memory_kib());
        let _next = cluster.runtime("p0-1").module("p0-1", "fixtures").ready();
    });
}

#[test]
fn a_call_in_the_name_of_somebody_elses_process_closes_the_link_of_who_makes_it() {
    withstands(|cluster, server| {
        let name = ProcessRef { tenant: TenantName::default(), name: ProcessName::new("other").unwrap() };
        let (of_other, of_client) = (Hop { process: Some(name), instance: 0 }, Hop { process: None, instance: 0 });
        for (role, chain) in [
            (Role::Client, vec![of_other.clone()]),
            (Role::Node, vec![of_other.clone()]),
            (Role::Node, vec![of_client, of_other]),
            (Role::Client, Vec::new()),
        ] {
            let mut peer = cluster.peer().joined(role, NodeKey([8; 16]));
            let target = peer.target("other", "fixtures:guest/sandbox@0.1.0#print");
            let arguments = postcard::to_stdvec(&("was called",)).unwrap();
            peer.begin_as(target, arguments.into(), chain);
            peer.closed();
        }
        assert_eq!(server.count("was called"), 0);
    });
}

#[test]
fn frames_of_the_largest_size_are_taken_and_unfinished_ones_hold_no_memory() {
    withstands(|cluster, _| {
        let largest = u32::try_from(MAX_HEADER_BYTES + DEFAULT_MAX_PAYLOAD_BYTES).unwrap();
        let _unfinished: Vec<_> = (0..100)
            .map(|_| {
                let peer = cluster.peer().joined(Role::Client, NodeKey([5; 16]));
                let mut socket = peer.socket();
                std::io::Write::write_all(&mut socket, &largest.to_le_bytes()).unwrap();
                std::io::Write::write_all(&mut socket, &[7; 1000]).unwrap();
                peer
            })
            .collect();
        let mut peer = cluster.peer().joined(Role::Client, NodeKey([6; 16]));
        for _ in 0..8 {
            let target = peer.target("far", "fixtures:guest/payload@0.1.0#take");
            let arguments = Bytes::from(vec![0xff; DEFAULT_MAX_PAYLOAD_BYTES]);
            peer.call(target, arguments).unwrap_err();
        }
        let mut socket = peer.socket();
        std::io::Write::write_all(&mut socket, &(largest + 1).to_le_bytes()).unwrap();
        peer.closed();
    });
}

#[test]
fn who_asks_and_does_not_read_the_answers_loses_his_link() {
    withstands(|cluster, _| {
        let mut peer = cluster.peer().joined(Role::Client, NodeKey([7; 16]));
        let target = peer.target("other", "fixtures:guest/payload@0.1.0#big-result");
        for _ in 0..200 {
            peer.begin(target, Bytes::from_static(&[0xc0, 0x84, 0x3d])); // 1,000,000 in postcard
        }
        // It shows signs of life, and takes nothing: that alone ends its link.
        while peer.write(Frame::new(Header::Ping)) {
            cluster.call("plain-greeting(\"you\")");
        }
    });
}

#[test]
fn the_table_of_what_peers_do_names_tests_that_there_are_and_all_of_these() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let docs = read("docs/hostile-peers.md");
    let rows: Vec<Vec<&str>> = docs
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("` |"))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    for row in &rows {
        let &[_, _, file, test] = row.as_slice() else { panic!("{row:?}") };
        let forms = [format!("#[test]\nfn {test}("), format!("#[tokio::test]\nasync fn {test}(")];
        let text = read(file);
        assert!(forms.iter().any(|form| text.contains(form)), "{file} has no test {test}");
    }
    let listed: BTreeSet<&str> = rows.iter().map(|row| row[3]).collect();
    let here = read("tests/hostile_peers.rs");
    let here = here.split("#[test]\nfn ").skip(1).filter_map(|test| test.split('(').next());
    for test in here.filter(|test| !test.starts_with("the_table_of")) {
        assert!(listed.contains(test), "docs/hostile-peers.md does not list {test}");
    }
}
