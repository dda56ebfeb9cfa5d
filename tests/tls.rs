//! TLS between runtimes: who gets in, as what, and what those are told who do not.

mod direct;
mod times;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;

use super::cluster::output::says;
use super::cluster::{CONNECTED, Cluster, Running, Start};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// A cluster with certificates of an authority of its own.
struct Mesh {
    cluster: Cluster,
    url: String,
}

impl Mesh {
    /// With a certificate for the controller.
    fn new() -> Self {
        let cluster = Cluster::new();
        let address = cluster.loopback();
        let host = address.split(':').next().unwrap().to_owned();
        let mesh = Self { url: format!("tls://{address}"), cluster };
        mesh.certs(&["init"]);
        mesh.certs(&["issue", "mesh", "--controller", "--host", &host]);
        mesh
    }

    fn certs(&self, words: &[&str]) {
        self.cluster.run(["certs"].iter().chain(words)).success();
    }

    /// The flags that name these files in the folder `certs`.
    fn files(&self, flags: &[(&str, &str)]) -> Vec<String> {
        let path = |file: &str| self.cluster.path("certs").join(file).display().to_string();
        flags.iter().flat_map(|(flag, file)| [(*flag).to_owned(), path(file)]).collect()
    }

    /// The flags of one who has a certificate.
    fn shows(&self, name: &str) -> Vec<String> {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        self.files(&[("--tls-ca", "ca.pem"), ("--tls-cert", &cert), ("--tls-key", &key)])
    }

    fn token(&self, name: &str, token: &str) {
        let path = self.cluster.path("certs").join(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
        writeln!(file, "{token}").unwrap();
    }

    fn controller(&self, flags: &[String]) -> Running {
        let controller = self.cluster.bare("controller").args(["--controller", "--no-node", "--listen", &self.url]);
        let controller = controller.args(flags).start();
        controller.wait_for_line(&format!("listening on {}", self.url));
        controller
    }

    fn node(&self, name: &str, flags: &[String]) -> Start<'_> {
        self.cluster.runtime(name).args(["--connect", &self.url]).args(flags)
    }

    fn call(&self, call: &str, flags: &[String]) -> super::cluster::Output {
        self.cluster.bare("call").args(["call", call, "--connect", &self.url]).args(flags).finish()
    }
}

#[test]
fn a_controller_with_the_certificate_of_a_node_does_not_start() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "alice"]);
    let controller = mesh.cluster.bare("controller").args(["--controller", "--no-node", "--listen", &mesh.url]);
    let refused = controller.args(mesh.shows("alice")).finish();
    says(
        refused.one_line_error(2),
        &["--tls-cert", "alice.pem: it is for a node", "certs issue NAME --controller --host"],
    );
}

#[test]
fn who_takes_a_port_of_tls_for_one_without_is_told_so() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "alice"]);
    let _controller = mesh.controller(&mesh.shows("mesh"));
    let url = mesh.url.replace("tls://", "tcp://");
    for command in [&["ps"][..], &["call", "add(1, 2)", "--eta", "1ms"], &["call", "add(1, 2)", "--wait-ready"]] {
        let told = mesh.cluster.bare("client").args(command).args(["--connect", &url]).finish();
        says(told.one_line_error(5), &[&format!("{url}: "), "what listens there speaks TLS: is it a tls:// address?"]);
    }
    let node = mesh.cluster.runtime("math").args(["--connect", &url]).module("math", "fixtures").start();
    assert_eq!(node.exit_code(), 5);
    says(&node.lines().join("\n"), &[&url, "is it a tls:// address?"]);
}

#[test]
fn two_runtimes_and_a_client_meet_over_tls() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server", "--process", "math*"]);
    mesh.certs(&["issue", "caller", "--process", "script"]);
    mesh.certs(&["issue", "alice"]);
    let controller = mesh.controller(&mesh.shows("mesh"));
    let _server = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
    controller.wait_for_line_with(&["math joined", "certificate of server"]);
    let steps = ["wait-process math 60000", "call add [5, 15]"];
    let script = mesh.node("script", &mesh.shows("caller")).script(&steps).start();
    script.wait_for_line("add = 20");
    assert_eq!(script.exit_code(), 0);
    assert_eq!(mesh.call("add(1, 2)", &mesh.shows("alice")).success(), "3");
    // Frames that no socket takes at once come through, both ways.
    let long = "x".repeat(100_000);
    let greeting = mesh.call(&format!("plain-greeting({long:?})"), &mesh.shows("alice"));
    assert_eq!(greeting.success(), format!("{:?}", format!("hello, {long}")));
}

#[test]
fn the_files_of_tls_can_stand_in_the_config() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server", "--process", "*"]);
    let files = |name: &str| {
        format!("tls-ca = \"certs/ca.pem\"\ntls-cert = \"certs/{name}.pem\"\ntls-key = \"certs/{name}.key\"\n")
    };
    let controller =
        format!("[runtime]\ncontroller = true\nno-node = true\nlisten = [{:?}]\n{}", mesh.url, files("mesh"));
    let controller = mesh.cluster.bare("controller").config(&controller).start();
    controller.wait_for_line("listening on tls://");
    let server = format!("[runtime]\nconnect = {:?}\n{}", mesh.url, files("server"));
    let _server = mesh.cluster.runtime("math").config(&server).module("math", "fixtures").ready();
    controller.wait_for_line_with(&["math joined", "certificate of server"]);
}

#[test]
fn a_node_that_claims_a_name_that_is_not_its_own_is_refused_with_the_names_that_are() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "edge", "--process", "sensor-*"]);
    let controller = mesh.controller(&mesh.shows("mesh"));
    let squatter = mesh.node("math", &mesh.shows("edge")).module("math", "fixtures").start();
    assert_eq!(squatter.exit_code(), 5);
    let told = ["\"math\" is not for the node \"edge\"", "allows \"sensor-*\"", "--process math"];
    says(&squatter.lines().join("\n"), &told);
    controller.wait_for_line_with(&["math of math was refused", "allows \"sensor-*\""]);
    let _rightly = mesh.node("sensor-1", &mesh.shows("edge")).module("sensor-1", "fixtures").ready();
}

#[test]
fn a_certificate_for_a_tenant_lets_its_node_register_there_and_nowhere_else_also_when_it_is_renewed() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "edge", "--process", "acme::sensor-*", "--process", "globex::log"]);
    mesh.certs(&["issue", "alice", "--tenant", "acme"]);
    let controller = mesh.controller(&mesh.shows("mesh"));
    for renewed in [false, true] {
        if renewed {
            mesh.certs(&["issue", "edge", "--renew"]);
            mesh.certs(&["issue", "alice", "--renew"]);
        }
        let of = |tenant: &str, name: &str| {
            let flags = [mesh.shows("edge"), vec!["--tenant".to_owned(), tenant.to_owned()]].concat();
            mesh.node(name, &flags).module(name, "fixtures")
        };
        let sensor = of("acme", "sensor-1").ready();
        controller.wait_for_line_with(&["sensor-1 joined", "certificate of edge"]);
        let _log = of("globex", "log").ready();
        let squatter = of("globex", "sensor-2").start();
        assert_eq!(squatter.exit_code(), 5);
        let told = ["\"globex::sensor-2\" is not for", "\"sensor-*\" of tenant acme", "--process globex::sensor-2"];
        says(&squatter.lines().join("\n"), &told);
        for tenant in ["default", "initech"] {
            let stranger = of(tenant, "sensor-1").start();
            assert_eq!(stranger.exit_code(), 5);
            says(
                &stranger.lines().join("\n"),
                &[&format!("the tenant {tenant:?} is not open to the node \"edge\""), "of tenant acme", "--tenant"],
            );
        }
        let alice = |tenant: &str| {
            let flags = [mesh.shows("alice"), vec!["--tenant".to_owned(), tenant.to_owned()]].concat();
            mesh.call("add(1, 2)", &flags)
        };
        assert_eq!(alice("acme").success(), "3");
        says(alice("default").one_line_error(5), &["the tenant \"default\" is not open", "only be in tenant acme"]);
        // Of another tenant than hers she asks as little.
        let explain = |caller: &str| {
            let words = ["explain", caller, "add", "--connect", &mesh.url].map(str::to_owned);
            mesh.cluster.run([words.to_vec(), mesh.shows("alice")].concat())
        };
        says(&explain("acme::sensor-1").stdout, &["only the caller itself has it"]);
        says(
            explain("globex::log").one_line_error(5),
            &["the tenant \"globex\" is not open", "only be in tenant acme"],
        );
        sensor.terminate();
        assert_eq!(sensor.exit_code(), 0);
    }
}

#[test]
fn without_a_certificate_of_that_authority_nobody_gets_in_and_each_is_told_why() {
    let mesh = Mesh::new();
    let controller = mesh.controller(&mesh.shows("mesh"));
    // Of another authority.
    mesh.certs(&["init", "--dir", "theirs"]);
    mesh.certs(&["issue", "mallory", "--process", "*", "--dir", "theirs"]);
    let theirs = |file: &str| mesh.cluster.path("theirs").join(file).display().to_string();
    let ours = mesh.files(&[("--tls-ca", "ca.pem")]);
    let mallory =
        [ours.clone(), vec!["--tls-cert".into(), theirs("mallory.pem"), "--tls-key".into(), theirs("mallory.key")]];
    let refused = mesh.node("mallory", &mallory.concat()).module("m", "fixtures").start();
    assert_eq!(refused.exit_code(), 5);
    says(&refused.lines().join("\n"), &[&mesh.url, "does not accept the certificate of this node", "--tls-ca"]);
    controller.wait_for_line_with(&["was turned away", "no authority in --tls-ca has signed it"]);
    // One that takes the other authority's controller for granted.
    let misled = ["--tls-ca".to_owned(), theirs("ca.pem")];
    let misled = [&misled[..], &mesh.shows("mesh")[2..]].concat();
    says(mesh.call("add(1, 2)", &misled).one_line_error(5), &["its certificate is not accepted", "--tls-ca"]);
    controller.wait_for_line_with(&["was turned away", "certificate of this controller"]);
    // With a token, where none is taken.
    mesh.token("token", TOKEN);
    let token = [ours, mesh.files(&[("--join-token-file", "token")])].concat();
    says(mesh.call("add(1, 2)", &token).one_line_error(5), &["wants a certificate of this node", "--tls-cert"]);
    controller.wait_for_line_with(&["was turned away", "shows no certificate"]);
}

#[test]
fn a_join_token_lets_in_and_is_told_to_nobody() {
    let mesh = Mesh::new();
    mesh.token("token", TOKEN);
    mesh.token("wrong", "another-token-of-some-length");
    let logs = ["--log".to_owned(), "trace".to_owned()];
    let shows = mesh.files(&[("--tls-cert", "mesh.pem"), ("--tls-key", "mesh.key"), ("--join-token-file", "token")]);
    let controller = mesh.controller(&[&shows[..], &logs].concat());
    let with =
        |token: &str| [mesh.files(&[("--tls-ca", "ca.pem"), ("--join-token-file", token)]), logs.to_vec()].concat();
    let server = mesh.node("math", &with("token")).module("math", "fixtures").ready();
    controller.wait_for_line_with(&["math joined", "join token"]);
    assert_eq!(mesh.call("add(1, 2)", &with("token")).success(), "3");
    let refused = mesh.call("add(1, 2)", &with("wrong"));
    assert_eq!(refused.code(), 5);
    says(&refused.stderr, &["the join token is not that of the controller", "--join-token-file"]);
    controller.wait_for_line_with(&["was turned away", "the join token is not"]);
    for said in [controller.lines(), server.lines(), vec![refused.stderr]] {
        let said = said.join("\n");
        assert!(!said.contains(TOKEN) && !said.contains("another-token"), "{said}");
    }
}

#[test]
fn half_handshakes_and_noise_hold_nobody_up() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server", "--process", "*"]);
    let controller = mesh.controller(&mesh.shows("mesh"));
    let address = mesh.url.trim_start_matches("tls://").to_owned();
    let connect = || TcpStream::connect(&address).unwrap();
    let hello = [22, 3, 1, 2, 0, 1];
    let half: Vec<TcpStream> = (0..400)
        .map(|at| {
            let mut stream = connect();
            // Some say nothing, some begin, some talk nonsense, which the controller may have answered already.
            let _ = stream.write_all([&[][..], &hello, b"GET / HTTP/1.1\r\n\r\n"][at % 3]);
            stream
        })
        .collect();
    let _server = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
    assert_eq!(mesh.call("add(1, 2)", &mesh.shows("server")).success(), "3");
    drop(half);
    assert_eq!(controller.count("was turned away"), 0, "noise is not in the log");
}

#[test]
fn renewed_certificates_are_used_without_a_restart_and_bad_ones_leave_all_as_it_was() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server", "--process", "*"]);
    let controller = mesh.controller(&mesh.shows("mesh"));
    let server = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
    let alice = mesh.shows("server");
    // A file that cannot be used.
    let good = std::fs::read(mesh.cluster.path("certs/mesh.pem")).unwrap();
    mesh.cluster.file("certs/mesh.pem", "nothing");
    assert_eq!(mesh.call("add(1, 2)", &alice).success(), "3");
    controller.wait_for_line_with(&["cannot be used, the former stay", "--tls-cert", "mesh.pem"]);
    mesh.cluster.file("certs/mesh.pem", good);
    // New ones: the controller's is for another host now, so that whoever comes anew notices it; who is in stays in.
    mesh.certs(&["issue", "mesh", "--controller", "--host", "elsewhere.example", "--renew"]);
    says(mesh.call("add(1, 2)", &alice).one_line_error(5), &["elsewhere.example", "--host"]);
    controller.wait_for_line("have changed and are in use from now on");
    let host = mesh.url.trim_start_matches("tls://").split(':').next().unwrap();
    mesh.certs(&["issue", "mesh", "--controller", "--host", host, "--renew"]);
    assert_eq!(mesh.call("who()", &alice).success(), "\"math\"");
    // The node's: when its link is lost it comes back with the new one, as the same node.
    mesh.certs(&["issue", "server", "--process", "math", "--renew"]);
    controller.kill();
    let controller = mesh.controller(&mesh.shows("mesh"));
    server.wait_for_line(CONNECTED);
    server.wait_for_line("have changed and are in use from now on");
    controller.wait_for_line_with(&["math joined", "certificate of server"]);
}

#[test]
fn a_node_that_was_in_goes_on_when_it_is_not_let_in_any_more() {
    let mesh = Mesh::new();
    mesh.certs(&["issue", "server", "--process", "*"]);
    let first = mesh.controller(&mesh.shows("mesh"));
    let server = mesh.node("math", &mesh.shows("server")).module("math", "fixtures").ready();
    first.kill();
    mesh.certs(&["init", "--dir", "theirs"]);
    let theirs = mesh.cluster.path("theirs/ca.pem").display().to_string();
    let strict = [&["--tls-ca".to_owned(), theirs][..], &mesh.shows("mesh")[2..]].concat();
    let strict = mesh.controller(&strict);
    server.wait_for_line_with(&["does not accept the certificate of this node", "trying again"]);
    strict.kill();
    let _last = mesh.controller(&mesh.shows("mesh"));
    server.wait_for_line(CONNECTED);
}

#[test]
fn what_tls_lacks_is_one_line_of_error() {
    let mesh = Mesh::new();
    let listen = ["--controller", "--no-node", "--listen", &mesh.url].map(str::to_owned);
    let run = |flags: &[String]| mesh.cluster.bare("wrong").args(&listen).args(flags).finish();
    says(run(&[]).one_line_error(2), &["--tls-cert and --tls-key"]);
    let shows = mesh.files(&[("--tls-cert", "mesh.pem"), ("--tls-key", "mesh.key")]);
    says(run(&shows).one_line_error(2), &["whom to let in", "--tls-ca", "--join-token-file"]);
    let none = mesh.files(&[("--tls-ca", "none.pem")]);
    says(run(&[shows, none].concat()).one_line_error(2), &["--tls-ca", "none.pem", "cannot be read"]);
    says(mesh.call("f()", &[]).one_line_error(2), &["must know its controller", "--tls-ca"]);
    says(mesh.call("f()", &mesh.files(&[("--tls-ca", "ca.pem")])).one_line_error(2), &["must prove itself"]);
}
