//! Tests of what `certs` makes, and of what it leaves alone.

use std::os::unix::fs::PermissionsExt;

use clap::Parser;

use super::*;
use crate::cli::args::{Cli, Command};
use crate::net::endpoint::Endpoint;
use crate::net::tls::{Client, NodeClient, Server, TlsFiles};

/// Runs `certs`, with words and a folder.
fn certs(dir: &Path, words: &str) -> Result<String, String> {
    let words = ["daffi-runtime", "certs"].into_iter().chain(words.split_whitespace()).map(str::to_owned);
    let cli = Cli::try_parse_from(words.chain(["--dir".to_owned(), dir.display().to_string()]));
    match cli.map_err(|error| error.to_string())?.command {
        Some(Command::Certs(command)) => run(&command).map_err(|failure| failure.message),
        other => panic!("{other:?}"),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files(dir: &Path, name: &str) -> TlsFiles {
    let path = |file: String| Some(dir.join(file));
    TlsFiles {
        ca: path("ca.pem".to_owned()),
        cert: path(format!("{name}.pem")),
        key: path(format!("{name}.key")),
        join_token: None,
    }
}

#[test]
fn the_folder_and_the_keys_are_closed_to_others_and_the_certificates_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    certs(&dir, "init").unwrap();
    let said = certs(&dir, "issue mesh --controller --host localhost --host ::1").unwrap();
    assert!(said.contains("mesh.pem") && said.contains("it may be a controller; it may register no process"), "{said}");
    let said = certs(&dir, "issue edge --process sensor-* --process edge --days 7").unwrap();
    assert!(said.contains("it may register \"sensor-*\", \"edge\"; it holds for 7 days"), "{said}");
    assert_eq!(mode(&dir), 0o700);
    for key in ["ca.key", "mesh.key", "edge.key"] {
        assert_eq!(mode(&dir.join(key)), 0o600, "{key}");
    }
    let left: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 6, "{left:?}");
    Server::of_controller(files(&dir, "mesh")).unwrap();
    Client::open(files(&dir, "edge")).unwrap();
    Server::of_node(files(&dir, "edge")).unwrap();
    NodeClient::open(files(&dir, "edge")).unwrap();
}

#[test]
fn what_is_there_stays_unless_it_is_to_be_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    certs(dir, "init").unwrap();
    assert!(certs(dir, "init").unwrap_err().contains("an authority is not replaced"));
    certs(dir, "issue edge").unwrap();
    let before = std::fs::read(dir.join("edge.pem")).unwrap();
    let error = certs(dir, "issue edge").unwrap_err();
    assert!(error.contains("edge.pem is there already") && error.contains("--renew"), "{error}");
    assert_eq!(std::fs::read(dir.join("edge.pem")).unwrap(), before);
    let said = certs(dir, "issue edge --renew").unwrap();
    assert!(!said.contains("the former one"), "{said}");
    assert_ne!(std::fs::read(dir.join("edge.pem")).unwrap(), before);
    assert_eq!(mode(&dir.join("edge.key")), 0o600);
    Client::open(files(dir, "edge")).unwrap();
}

#[test]
fn patterns_name_their_tenant_and_a_renewed_certificate_says_what_the_former_did() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    certs(&dir, "init").unwrap();
    for (words, may) in [
        ("edge --process acme::log --process sensor-*", "it may register \"log\" of tenant acme, \"sensor-*\";"),
        ("far --tenant acme --process log --process globex::x", "\"log\" of tenant acme, \"x\" of tenant globex;"),
        ("alice --tenant acme", "it may register no process at all, only be in tenant acme;"),
        ("bob", "it may register no process at all;"),
    ] {
        let name = words.split(' ').next().unwrap();
        for said in [certs(&dir, &format!("issue {words}")), certs(&dir, &format!("issue {name} --renew --days 3"))] {
            let said = said.unwrap();
            assert!(said.contains(may), "{words}: {said}");
        }
    }
    let said = certs(&dir, "issue edge --renew --process other --process sensor-*").unwrap();
    assert!(said.contains("it may register \"other\", \"sensor-*\";"), "{said}");
    assert!(said.ends_with("what the former one had and this one has not: --process 'acme::log'\n"), "{said}");
    certs(&dir, "issue mesh --controller --host h --process acme::log").unwrap();
    let error = certs(&dir, "issue mesh --renew").unwrap_err();
    let command =
        format!("certs issue mesh --renew --controller --host h --process 'acme::log' --dir {}`", dir.display());
    assert!(error.contains("mesh.pem is a controller's: say `daffi-runtime ") && error.contains(&command), "{error}");
    let said = certs(&dir, "issue mesh --renew --controller --host i").unwrap();
    assert!(said.contains("it may be a controller; it may register \"log\" of tenant acme;"), "{said}");
    assert!(said.ends_with("what the former one had and this one has not: --host h\n"), "{said}");
    let error = certs(&dir, "issue x --process a:b::c").unwrap_err();
    assert!(error.contains("before `::` stands the name of a tenant"), "{error}");
    std::fs::write(dir.join("bob.pem"), "nothing").unwrap();
    let error = certs(&dir, "issue bob --renew").unwrap_err();
    assert!(error.contains("bob.pem") && error.contains("cannot be kept"), "{error}");
}

#[test]
fn the_refusal_to_replace_a_certificate_gives_the_command_that_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    for words in ["init", "issue edge --process sensor-* --process acme::log", "issue alice --tenant acme"] {
        certs(&dir, words).unwrap();
    }
    for (words, command) in [
        ("issue edge", "certs issue edge --renew --process 'sensor-*' --process 'acme::log' --dir "),
        (
            "issue edge --process acme::log --process new",
            "certs issue edge --renew --process 'sensor-*' --process 'acme::log' --process 'new' --dir ",
        ),
        ("issue alice --days 3", "certs issue alice --renew --tenant 'acme' --dir "),
    ] {
        let error = certs(&dir, words).unwrap_err();
        assert!(error.contains(&format!("`daffi-runtime {command}{}`", dir.display())), "{words}: {error}");
    }
    // What cannot be read, or has no certificate, is not replaced by this command.
    std::fs::write(dir.join("alice.pem"), "nothing").unwrap();
    std::fs::remove_file(dir.join("edge.pem")).unwrap();
    for (words, file) in [("issue alice", "alice.pem"), ("issue edge", "edge.key")] {
        let error = certs(&dir, words).unwrap_err();
        assert!(error.contains(&format!("{file} is there already: remove it")), "{words}: {error}");
    }
}

#[test]
fn where_there_is_nothing_nothing_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    certs(&dir, "init").unwrap();
    let error = certs(&dir, "issue edge --renew").unwrap_err();
    assert!(error.contains("edge.pem is not there, so there is nothing to renew"), "{error}");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
}

#[test]
fn no_certificate_outlives_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    certs(&dir, "init --days 30").unwrap();
    let said = certs(&dir, "issue edge --days 9999").unwrap();
    assert!(said.contains("it holds for 29 days, until its authority ends, and no longer"), "{said}");
    assert_eq!(ends_at(&dir.join("edge.pem")).unwrap(), ends_at(&dir.join("ca.pem")).unwrap());
    let said = certs(&dir, "issue other --days 29").unwrap();
    assert!(said.contains("it holds for 29 days\n"), "{said}");
    assert!(ends_at(&dir.join("other.pem")).unwrap() < ends_at(&dir.join("ca.pem")).unwrap());
    // One whose time is over signs nothing.
    let (cert, key) = (dir.join(CA_CERT), dir.join(CA_KEY));
    let pair = KeyPair::from_pem(&std::fs::read_to_string(key).unwrap()).unwrap();
    let mut over = authority(&pair);
    over.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    over.not_after = OffsetDateTime::now_utc() - Duration::from_secs(60);
    std::fs::write(cert, over.self_signed(&pair).unwrap().pem()).unwrap();
    let error = certs(&dir, "issue late").unwrap_err();
    assert!(error.contains("ca.pem: the authority has expired"), "{error}");
    assert!(!dir.join("late.pem").exists());
}

#[test]
fn what_cannot_be_is_one_line_and_makes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    assert!(certs(&dir, "issue edge").unwrap_err().contains("certs init --dir"));
    certs(&dir, "init").unwrap();
    for (words, part) in [
        ("issue ca", "authority's own files"),
        ("issue a/b", "no process name"),
        ("issue é", "only ASCII"),
        ("issue edge --process a/b", "no pattern"),
        ("issue edge --days 0", "--days"),
        ("issue edge --controller", "--host"),
        ("issue edge --host h", "--controller"),
        ("issue edge --controller --host https://h:1", "without scheme"),
    ] {
        let error = certs(&dir, words).unwrap_err();
        assert!(error.contains(part), "{words}: {error}");
    }
    // Another authority's key signs nothing for this one.
    let other = folder.path().join("other");
    certs(&other, "init").unwrap();
    std::fs::copy(other.join("ca.key"), dir.join("ca.key")).unwrap();
    assert!(certs(&dir, "issue edge").unwrap_err().contains("the authority cannot sign"));
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(certs(&dir, "issue edge").unwrap_err().contains("mode 0755"));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
}

#[tokio::test]
async fn certificates_that_were_issued_bring_a_node_and_its_controller_together() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("certs");
    for words in ["init", "issue mesh --controller --host 127.0.0.1", "issue edge --process e*"] {
        certs(&dir, words).unwrap();
    }
    let url = Endpoint::parse("tls://127.0.0.1:0", false).unwrap();
    let listener = crate::net::listener::Listener::bind(&url, &files(&dir, "mesh")).await.unwrap();
    let target = crate::net::dial::Target::new(listener.endpoint().clone(), &files(&dir, "edge")).unwrap();
    let (sender, mut accepted) = tokio::sync::mpsc::channel(1);
    let cancel = tokio_util::sync::CancellationToken::new();
    let accepting = listener.run(sender, std::sync::Arc::new(tokio::sync::Semaphore::new(1)), cancel.clone());
    let connecting = async {
        let _connection = crate::net::dial::connect(&target).await.map_err(|error| error.to_string()).unwrap();
        let identity = accepted.recv().await.unwrap().identity.to_string();
        assert!(identity.starts_with("certificate of edge, 127.0.0.1:"), "{identity}");
        cancel.cancel();
    };
    tokio::join!(accepting, connecting);
}
