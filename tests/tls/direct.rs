//! Direct links over TLS: between nodes with certificates, with the node that is meant and nobody else, and by the controller where
//! there is none.

use std::io::Write;
use std::net::TcpStream;

use super::super::cluster::{CONNECTED, Running};
use super::{Mesh, says};

const DIRECTLY: [&str; 2] = ["--direct", "tls://127.0.0.1:0"];

/// A mesh with certificates for the nodes `b` and `script`.
fn mesh() -> Mesh {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "b", "--process", "b"]);
    mesh.certs(&["issue", "script", "--process", "script*"]);
    mesh
}

fn b(mesh: &Mesh, direct: &str) -> Running {
    mesh.node("b", &mesh.shows("b")).module("b", "fixtures").args(["--direct", direct]).ready()
}

fn script(mesh: &Mesh, steps: &[&str]) -> Running {
    mesh.node("script", &mesh.shows("script")).args(DIRECTLY).script(steps).start()
}

/// Calls `b` while the controller dies, which only a call over a direct link outlives; gives the next controller.
fn calls_directly(mesh: &Mesh, controller: Running, b: &Running) -> Running {
    let steps = ["wait-process b 60000", r#"call hold ["x", 3000]"#, "call add [1, 2]", "call who []"];
    let script = script(mesh, &steps);
    b.wait_for_line("x started");
    controller.kill();
    script.wait_for_line("hold = \"x\"");
    let next = mesh.controller(&mesh.shows("mesh"));
    b.wait_for_line(CONNECTED);
    assert_eq!(script.exit_code(), 0);
    let said = script.lines().join("\n");
    assert!(said.contains("add = 3") && said.contains("who = \"b\""), "{said}");
    assert_eq!(script.count("no direct link"), 0);
    next
}

/// Calls `b` by the controller, since no direct link is to be had, for this reason.
fn calls_by_the_controller(mesh: &Mesh, why: &[&str]) {
    let script = script(mesh, &["wait-process b 60000", "call add [1, 2]"]);
    says(&script.wait_for_line("no direct link to the node b: tls://127.0.0.1:"), why);
    script.wait_for_line("add = 3");
    assert_eq!(script.exit_code(), 0);
}

#[test]
fn nodes_with_certificates_call_each_other_directly_and_go_on_without_the_controller() {
    let mesh = mesh();
    let controller = mesh.controller(&mesh.shows("mesh"));
    let b = b(&mesh, "tls://127.0.0.1:0");
    let controller = calls_directly(&mesh, controller, &b);
    // Also with renewed certificates of both, without a restart.
    mesh.certs(&["issue", "b", "--renew"]);
    mesh.certs(&["issue", "script", "--renew"]);
    let _controller = calls_directly(&mesh, controller, &b);
    b.wait_for_line("have changed and are in use from now on");
}

#[test]
fn large_results_come_over_direct_links_with_tls() {
    let mesh = mesh();
    let _controller = mesh.controller(&mesh.shows("mesh"));
    let _b = b(&mesh, "tls://127.0.0.1:0");
    // More than a record of TLS holds, and than a read brings.
    let script = script(&mesh, &["wait-process b 60000", "call big-result [300000]", "call add [1, 2]"]);
    script.wait_for_line("big-result = ");
    script.wait_for_line("add = 3");
    assert_eq!(script.exit_code(), 0);
    assert_eq!(script.count("no direct link"), 0);
}

#[test]
fn somebody_else_of_the_same_authority_at_the_address_of_a_node_gets_no_calls() {
    let mesh = mesh();
    let _controller = mesh.controller(&mesh.shows("mesh"));
    let b = b(&mesh, "tls://127.0.0.1:0");
    // At the address of `b` is from now on who shows this one.
    mesh.certs(&["issue", "mallory", "--process", "*"]);
    for kind in ["pem", "key"] {
        let of = |name: &str| mesh.cluster.path("certs").join(format!("{name}.{kind}"));
        std::fs::rename(of("mallory"), of("b")).unwrap();
    }
    calls_by_the_controller(
        &mesh,
        &["it is of the node \"mallory\", and the controller says that the node \"b\" is there"],
    );
    // Who came is not named: it has shown nothing.
    says(&b.wait_for_line("was turned away"), &["the other side does not accept the certificate of this node"]);
}

#[test]
fn a_node_whose_certificate_is_of_an_authority_that_others_do_not_know_is_reached_by_the_controller() {
    let mesh = mesh();
    mesh.certs(&["init", "--dir", "theirs"]);
    mesh.certs(&["issue", "b", "--process", "b", "--dir", "theirs"]);
    let read = |path: &str| std::fs::read_to_string(mesh.cluster.path(path)).unwrap();
    let both = mesh.cluster.file("both.pem", read("certs/ca.pem") + &read("theirs/ca.pem"));
    let takes_both = |flags: &[String]| [&["--tls-ca".to_owned(), both.clone()][..], &flags[2..]].concat();
    let _controller = mesh.controller(&takes_both(&mesh.shows("mesh")));
    let theirs: Vec<String> = mesh.shows("b").iter().map(|word| word.replace("/certs/", "/theirs/")).collect();
    let b = mesh.node("b", &takes_both(&theirs)).module("b", "fixtures").args(DIRECTLY).ready();
    calls_by_the_controller(&mesh, &["its certificate is not accepted: no authority in --tls-ca has signed it"]);
    says(&b.wait_for_line("was turned away"), &["no authority in its --tls-ca has signed it"]);
}

#[test]
fn noise_and_half_handshakes_at_the_port_of_a_node_hold_no_direct_call_up() {
    let mesh = mesh();
    let controller = mesh.controller(&mesh.shows("mesh"));
    let address = mesh.cluster.loopback();
    let b = b(&mesh, &format!("tls://{address}"));
    let hello = [22, 3, 1, 2, 0, 1];
    let strangers: Vec<TcpStream> = (0..400)
        .map(|at| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let _ = stream.write_all([&[][..], &hello, b"GET / HTTP/1.1\r\n\r\n", &[255; 64]][at % 4]);
            stream
        })
        .collect();
    let _controller = calls_directly(&mesh, controller, &b);
    drop(strangers);
    assert_eq!(b.count("was turned away"), 0, "noise is not in the log");
}

#[test]
fn who_takes_the_port_of_a_node_for_a_controllers_is_told_so() {
    let mesh = mesh();
    let _controller = mesh.controller(&mesh.shows("mesh"));
    let address = mesh.cluster.loopback();
    let _b = b(&mesh, &format!("tls://{address}"));
    let words = ["ps", "--connect", &format!("tls://{address}")].map(str::to_owned);
    let ps = mesh.cluster.run([words.to_vec(), mesh.shows("script")].concat());
    says(ps.one_line_error(5), &[&address, "speaks something else than daffi inside TLS"]);
}

#[test]
fn what_direct_links_over_tls_lack_is_one_line_of_error() {
    let mesh = mesh();
    mesh.token("token", super::TOKEN);
    let token = mesh.files(&[("--tls-ca", "ca.pem"), ("--join-token-file", "token")]);
    let by_token = mesh.node("b", &token).module("b", "fixtures").args(DIRECTLY).finish();
    says(
        by_token.one_line_error(2),
        &["--direct tls://… proves nodes to each other", "give --connect tls://…, --tls-ca"],
    );
    let controller = ["--controller", "--listen", &mesh.url].map(str::to_owned);
    let own =
        mesh.cluster.runtime("b").args(controller).args(mesh.shows("mesh")).module("b", "fixtures").args(DIRECTLY);
    says(own.finish().one_line_error(2), &["the controller's own runtime"]);
    let elsewhere = mesh.node("b", &mesh.shows("b")).module("b", "fixtures").args(["--direct", "tls://192.0.2.1:0"]);
    let elsewhere = elsewhere.finish();
    says(elsewhere.one_line_error(2), &["direct links: cannot listen on tls://192.0.2.1:0"]);
}
