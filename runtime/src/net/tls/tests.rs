//! Tests of the two sides over real sockets, with authorities and certificates that are made here.

mod nodes;

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use daffi_proto::session::PeerIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::accept::MAX_HANDSHAKES;
use super::admission::Word;
use super::faults::Whose;
use super::sides::ServerSide;
use super::*;
use crate::net::dial::{self, DialError, Target};
use crate::net::endpoint::Endpoint;
use crate::net::link::Connection;
use crate::net::listener::{Accepted, Listener};

const TOKEN: &str = "a-token-that-nobody-guesses";

/// An authority, and the folder of its certificates.
struct Authority {
    dir: tempfile::TempDir,
    key: KeyPair,
}

/// What is unusual about a certificate.
#[derive(Default)]
struct Certificate<'a> {
    uris: &'a [&'a str],
    /// It may be a controller at this host, and nothing else.
    host: Option<&'a str>,
    /// The same, without a host.
    server: bool,
    expired: bool,
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new() -> Self {
        let (dir, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        let mut params = params("authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let this = Self { dir, key };
        this.file("ca.pem", &params.self_signed(&this.key).unwrap().pem());
        this.certificate(
            "controller",
            Certificate { uris: &["daffi:node/c"], host: Some("127.0.0.1"), ..Default::default() },
        );
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner can read, anew, so that it is another one.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path("new"));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }

    /// Makes NAME.pem and NAME.key.
    fn certificate(&self, name: &str, Certificate { uris, host, server, expired }: Certificate<'_>) {
        let mut of_it = params(name);
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let hosts = host.iter().map(|host| SanType::IpAddress(host.parse().unwrap()));
        of_it.subject_alt_names = uris.chain(hosts).collect();
        of_it.extended_key_usages = vec![match server || host.is_some() {
            true => ExtendedKeyUsagePurpose::ServerAuth,
            false => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        if expired {
            of_it.not_before = OffsetDateTime::now_utc() - Duration::days(3);
            of_it.not_after = OffsetDateTime::now_utc() - Duration::days(1);
        }
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(params("authority"), &self.key);
        self.file(&format!("{name}.pem"), &of_it.signed_by(&key, &issuer).unwrap().pem());
        self.file(&format!("{name}.key"), &key.serialize_pem());
    }

    /// A node's certificate, and the files with which it dials.
    fn node(&self, name: &str, certificate: Certificate<'_>) -> TlsFiles {
        self.certificate(name, certificate);
        self.files(name)
    }

    fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            ca: Some(self.path("ca.pem")),
            cert: Some(self.path(&format!("{name}.pem"))),
            key: Some(self.path(&format!("{name}.key"))),
            join_token: None,
        }
    }

    /// The files of one that has no certificate, but a token.
    fn with_token(&self, token: &str) -> TlsFiles {
        TlsFiles { ca: Some(self.path("ca.pem")), join_token: Some(self.file("token", token)), ..TlsFiles::default() }
    }
}

/// A listener that runs.
struct Controller {
    endpoint: Endpoint,
    accepted: mpsc::Receiver<Accepted>,
    _ends: DropGuard,
}

impl Controller {
    async fn start(files: &TlsFiles) -> Self {
        let listener = Listener::bind(&Endpoint::parse("tls://127.0.0.1:0", false).unwrap(), files).await.unwrap();
        let endpoint = listener.endpoint().clone();
        let (sender, accepted) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        tokio::spawn(listener.run(sender, Arc::new(Semaphore::new(8)), cancel.clone()));
        Self { endpoint, accepted, _ends: cancel.drop_guard() }
    }

    fn address(&self) -> String {
        self.endpoint.to_string().trim_start_matches("tls://").to_owned()
    }

    async fn dial(&self, files: &TlsFiles) -> Result<Connection, DialError> {
        dial::connect(&Target::new(self.endpoint.clone(), files).unwrap()).await
    }

    /// Dials, and tells who the controller thinks that it is.
    async fn identity(&mut self, files: &TlsFiles) -> PeerIdentity {
        let _connection = self.dial(files).await.map_err(|error| error.to_string()).unwrap();
        self.accepted.recv().await.unwrap().identity
    }

    /// Dials in vain, for good, and gives the message.
    async fn refusal(&self, files: &TlsFiles) -> String {
        let error = self.dial(files).await.err().unwrap();
        assert!(error.is_refusal() && !error.is_passing(), "{error:?}");
        error.to_string()
    }
}

/// What a node is told by a controller with these files, also by one that would not start with them.
async fn refusal_of(controller: &TlsFiles, node: &TlsFiles) -> String {
    let (side, _) = ServerSide::with_any(controller).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&format!("tls://{}", listener.local_addr().unwrap()), false).unwrap();
    let target = Target::new(endpoint, node).unwrap();
    let answering = async {
        let (stream, _) = listener.accept().await.unwrap();
        tokio_rustls::TlsAcceptor::from(side.config).accept(stream).await.err()
    };
    let (connected, _) = tokio::join!(dial::connect(&target), answering);
    let error = connected.err().unwrap();
    assert!(error.is_refusal() && !error.is_passing(), "{error:?}");
    error.to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

const EDGE: Certificate<'_> = Certificate {
    uris: &["daffi:node/edge", "daffi:tenant/default?process=a*"],
    host: None,
    server: false,
    expired: false,
};

#[tokio::test]
async fn a_node_is_who_its_certificate_says() {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority.files("controller")).await;
    let PeerIdentity::Certificate { grants, address } = controller.identity(&authority.node("edge", EDGE)).await else {
        panic!("not by certificate");
    };
    assert_eq!(grants.uris(), EDGE.uris);
    assert!(address.ip().is_loopback());
}

#[tokio::test]
async fn who_knows_the_token_needs_no_certificate_and_who_has_a_certificate_no_token() {
    let authority = Authority::new();
    let files = TlsFiles { join_token: authority.with_token(TOKEN).join_token, ..authority.files("controller") };
    let mut controller = Controller::start(&files).await;
    assert!(matches!(controller.identity(&authority.with_token(TOKEN)).await, PeerIdentity::Token { .. }));
    let by_certificate = controller.identity(&authority.node("edge", EDGE)).await;
    assert!(matches!(by_certificate, PeerIdentity::Certificate { .. }));
}

#[tokio::test]
async fn a_wrong_token_is_refused_and_no_message_has_either() {
    let authority = Authority::new();
    let files =
        TlsFiles { ca: None, join_token: authority.with_token(TOKEN).join_token, ..authority.files("controller") };
    let controller = Controller::start(&files).await;
    let other = Authority::new();
    let wrong = TlsFiles { ca: Some(authority.path("ca.pem")), ..other.with_token("another-token-of-some-length") };
    let message = controller.refusal(&wrong).await;
    says(&message, &["tls://127.0.0.1:", "does not let this node in", "the join token is not that of the controller"]);
    assert!(!message.contains(TOKEN) && !message.contains("another-token"), "{message}");
    // Nor is there one of those that only begin alike.
    let longer = TlsFiles { ca: Some(authority.path("ca.pem")), ..other.with_token(&format!("{TOKEN}x")) };
    controller.refusal(&longer).await;
    let message = controller.refusal(&authority.node("edge", EDGE)).await;
    says(&message, &["wants a join token, since it takes no certificates", "--join-token-file"]);
}

#[tokio::test]
async fn a_node_that_shows_nothing_is_told_what_the_controller_wants() {
    let authority = Authority::new();
    let nothing = TlsFiles { ca: Some(authority.path("ca.pem")), ..TlsFiles::default() };
    let controller = Controller::start(&authority.files("controller")).await;
    says(&controller.refusal(&nothing).await, &["wants a certificate of this node", "--tls-cert and --tls-key"]);
    let files = TlsFiles { join_token: authority.with_token(TOKEN).join_token, ..authority.files("controller") };
    let controller = Controller::start(&files).await;
    says(&controller.refusal(&nothing).await, &["wants a join token, since this node shows no certificate"]);
}

#[tokio::test]
async fn sides_of_two_authorities_do_not_come_together_and_both_are_told_which_certificate_is_meant() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let controller = Controller::start(&ours.files("controller")).await;
    let stranger = TlsFiles { ca: Some(ours.path("ca.pem")), ..theirs.node("edge", EDGE) };
    says(&controller.refusal(&stranger).await, &["does not accept the certificate of this node", "--tls-ca"]);
    let misled = controller.refusal(&theirs.files("edge")).await;
    says(&misled, &["its certificate is not accepted", "no authority in --tls-ca has signed it"]);
}

#[tokio::test]
async fn an_expired_certificate_of_either_side_is_refused_as_such() {
    let authority = Authority::new();
    let controller = Controller::start(&authority.files("controller")).await;
    let late = authority.node("edge", Certificate { expired: true, ..EDGE });
    says(&controller.refusal(&late).await, &["certificate of this node", "it has expired"]);
    let old = Certificate { uris: &["daffi:node/c"], host: Some("127.0.0.1"), server: false, expired: true };
    let controller = Controller::start(&authority.node("old", old)).await;
    let message = controller.refusal(&authority.node("edge", EDGE)).await;
    says(&message, &["its certificate is not accepted: it expired 1day", "the controller needs a new one"]);
}

#[tokio::test]
async fn a_controller_is_known_by_its_host_and_a_nodes_certificate_is_none_for_a_controller() {
    let authority = Authority::new();
    let edge = authority.node("edge", EDGE);
    let elsewhere = Certificate { uris: &["daffi:node/c"], host: Some("10.9.8.7"), server: false, expired: false };
    let controller = Controller::start(&authority.node("elsewhere", elsewhere)).await;
    says(&controller.refusal(&edge).await, &["10.9.8.7", "not for the host \"127.0.0.1\" of --connect", "--host"]);
    says(
        &refusal_of(&edge, &edge).await,
        &["its certificate is not accepted: it is not for a controller", "--controller"],
    );
}

#[tokio::test]
async fn names_of_a_certificate_that_are_no_hosts_are_not_told_as_such() {
    let authority = Authority::new();
    let both = Certificate {
        uris: &["daffi:node/c", "daffi:tenant/t"],
        host: Some("10.9.8.7"),
        server: false,
        expired: false,
    };
    let message = refusal_of(&authority.node("elsewhere", both), &authority.node("edge", EDGE)).await;
    says(&message, &["it is for 10.9.8.7, and not for the host \"127.0.0.1\" of --connect", "--host 127.0.0.1"]);
    assert!(!message.contains("daffi:") && !message.contains('('), "{message}");
    let none = authority.node("none", Certificate { uris: &["daffi:node/c"], server: true, ..Default::default() });
    says(&refusal_of(&none, &authority.node("edge", EDGE)).await, &["it is for no host, and not for the host"]);
}

#[tokio::test]
async fn a_certificate_with_which_no_node_lets_itself_in_starts_no_controller_unless_time_may_mend_it() {
    let authority = Authority::new();
    let start = |files: TlsFiles| Server::of_controller(files).map(drop).map_err(|error| error.to_string());
    let edge = start(authority.node("edge", EDGE)).unwrap_err();
    says(&edge, &["--tls-cert", "edge.pem: it is for a node", "certs issue NAME --controller --host HOST"]);
    let none = Certificate { uris: &["daffi:node/c"], server: true, ..Default::default() };
    says(&start(authority.node("none", none)).unwrap_err(), &["none.pem: it names no host", "--host HOST"]);
    let authority_itself = TlsFiles {
        cert: Some(authority.path("ca.pem")),
        key: Some(authority.file("ca.key", &authority.key.serialize_pem())),
        ..authority.files("edge")
    };
    says(&start(authority_itself).unwrap_err(), &["ca.pem: no node would accept it of a controller", "--controller"]);
    let old = Certificate { uris: &["daffi:node/c"], host: Some("127.0.0.1"), server: false, expired: true };
    start(authority.node("old", old)).unwrap();
}

#[tokio::test]
async fn a_certificate_of_another_purpose_is_told_to_both_sides_as_what_it_is_not() {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority.files("controller")).await;
    let alone = Certificate { server: true, ..EDGE };
    let told = controller.refusal(&authority.node("alone", alone)).await;
    says(&told, &["the certificate of this node: it is not for a node", "`daffi-runtime certs issue NAME` makes one"]);
    assert!(!told.contains("--controller"), "{told}");
    assert!(controller.accepted.try_recv().is_err());
    let purpose = rustls::CertificateError::InvalidPurpose;
    let logged =
        faults::for_acceptor(&std::io::Error::other(rustls::Error::InvalidCertificate(purpose)), Whose::Controller)
            .message;
    says(&logged, &["its certificate is not accepted: it is not for a node"]);
}

#[test]
fn times_of_which_nothing_more_is_known_are_told_with_advice_too() {
    let error = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
    let told = faults::for_dialer(&std::io::Error::other(error), Whose::Controller).message;
    says(&told, &["it holds at no time, or not any more", "certs issue NAME --renew"]);
}

#[tokio::test]
async fn a_certificate_that_names_no_node_is_refused_with_what_it_lacks() {
    let authority = Authority::new();
    let controller = Controller::start(&authority.files("controller")).await;
    let nobody = authority.node("nobody", Certificate { uris: &["spiffe://x/y"], ..Certificate::default() });
    says(&controller.refusal(&nobody).await, &["does not let this node in", "daffi:node/NAME", "certs issue"]);
    let odd = authority.node("odd", Certificate { uris: &["daffi:node/odd", "daffi:only/on-sundays"], ..EDGE });
    says(&controller.refusal(&odd).await, &["daffi:only/on-sundays", "not understood"]);
}

#[tokio::test]
async fn half_handshakes_hold_nobody_up_however_many_there_are() {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority.files("controller")).await;
    let mut half = Vec::new();
    for _ in 0..MAX_HANDSHAKES + 20 {
        let mut stream = TcpStream::connect(controller.address()).await.unwrap();
        // The beginning of a ClientHello, and no more.
        stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
        half.push(stream);
    }
    // More than there are places for links: none of them has taken one.
    let identity = controller.identity(&authority.node("edge", EDGE)).await;
    assert!(matches!(identity, PeerIdentity::Certificate { .. }));
}

#[tokio::test]
async fn what_is_no_tls_is_named() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&format!("tls://{}", listener.local_addr().unwrap()), false).unwrap();
    let files = authority.node("edge", EDGE);
    let target = Target::new(endpoint, &files).unwrap();
    let answering = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (connected, _stream) = tokio::join!(dial::connect(&target), answering);
    says(&connected.err().unwrap().to_string(), &["does not speak TLS", "tcp://"]);
}

#[tokio::test]
async fn renewed_files_are_used_at_once_and_bad_ones_are_not() {
    let authority = Authority::new();
    let mut controller = Controller::start(&authority.files("controller")).await;
    let edge = authority.node("edge", EDGE);
    let target = Target::new(controller.endpoint.clone(), &edge).unwrap();
    dial::connect(&target).await.map_err(|error| error.to_string()).unwrap();
    controller.accepted.recv().await.unwrap();
    // Bad ones on both sides: what was read before stays.
    authority.file("controller.pem", "no certificate");
    authority.file("edge.key", "no key");
    dial::connect(&target).await.map_err(|error| error.to_string()).unwrap();
    controller.accepted.recv().await.unwrap();
    // The node's new ones.
    authority.certificate("edge", Certificate { uris: &["daffi:node/edge-2"], ..EDGE });
    dial::connect(&target).await.map_err(|error| error.to_string()).unwrap();
    let identity = controller.accepted.recv().await.unwrap().identity;
    says(&identity.to_string(), &["certificate of edge-2"]);
    // The controller's new ones: it has moved, as far as this certificate says.
    let moved = Certificate { uris: &["daffi:node/c"], host: Some("10.9.8.7"), server: false, expired: false };
    authority.certificate("controller", moved);
    says(&controller.refusal(&edge).await, &["10.9.8.7"]);
    // And an authority that is not trusted any more.
    authority.certificate(
        "controller",
        Certificate { uris: &["daffi:node/c"], host: Some("127.0.0.1"), server: false, expired: false },
    );
    let other = Authority::new();
    authority.file("ca.pem", &std::fs::read_to_string(other.path("ca.pem")).unwrap());
    let trusting = TlsFiles { ca: Some(other.path("both.pem")), ..edge };
    other.file("both.pem", &(std::fs::read_to_string(other.path("ca.pem")).unwrap()));
    says(&controller.refusal(&trusting).await, &["its certificate is not accepted"]);
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_flag() {
    let authority = Authority::new();
    let good = authority.node("edge", EDGE);
    let wrong = |files: TlsFiles| Server::of_controller(files).unwrap_err().to_string();
    let with = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = good.clone();
        change(&mut files);
        wrong(files)
    };
    says(&with(&|files| files.ca = Some(authority.path("none.pem"))), &["--tls-ca", "none.pem", "cannot be read"]);
    says(&with(&|files| files.ca = Some(authority.path("edge.key"))), &["--tls-ca", "no certificate in it"]);
    says(&with(&|files| files.key = Some(authority.path("edge.pem"))), &["--tls-key", "no private key in it"]);
    says(
        &with(&|files| files.key = Some(authority.path("controller.key"))),
        &["--tls-cert", "is not this certificate's"],
    );
    let short = authority.file("short", "secret");
    says(&with(&|files| files.join_token = Some(short.clone())), &["--join-token-file", "16 to 512", "/dev/urandom"]);
    let long = authority.file("long", &"x".repeat(2 * 1024 * 1024));
    says(&with(&|files| files.ca = Some(long.clone())), &["--tls-ca", "more than"]);
    std::fs::set_permissions(authority.path("edge.key"), std::fs::Permissions::from_mode(0o604)).unwrap();
    says(&wrong(good.clone()), &["--tls-key", "mode 0604", "chmod 600"]);
}

#[test]
fn a_token_does_not_show() {
    let authority = Authority::new();
    let token = files::join_token(&authority.file("token", &format!("{TOKEN}\n"))).unwrap();
    assert_eq!(format!("{token:?}"), "JoinToken(..)");
    assert!(token.is(TOKEN.as_bytes()) && !token.is(b"") && !token.is(b"a-token-that-nobody-guesseS"));
}

#[tokio::test]
async fn the_words_of_an_admission_are_read_as_they_were_written_and_no_longer_than_they_may_be() {
    for word in [Word::Welcome, Word::TokenWanted, Word::Refused("no: é".to_owned())] {
        let mut bytes = Vec::new();
        word.write(&mut bytes).await.unwrap();
        assert_eq!(Word::read(&mut bytes.as_slice()).await.unwrap(), word);
        for end in 0..bytes.len() {
            assert!(Word::read(&mut bytes.get(..end).unwrap()).await.is_err());
        }
    }
    let mut long = Vec::new();
    Word::Refused("é".repeat(5000)).write(&mut long).await.unwrap();
    assert!(matches!(Word::read(&mut long.as_slice()).await.unwrap(), Word::Refused(text) if text.len() == 1024));
    assert!(Word::read(&mut [2, 0xff, 0xff].as_slice()).await.is_err());
    assert!(Word::read(&mut [3].as_slice()).await.is_err());
    let ugly = [&[2, 0, 3][..], b"a\n\x1b"].concat();
    assert_eq!(Word::read(&mut ugly.as_slice()).await.unwrap(), Word::Refused("a".to_owned()));
    assert!(admission::read_token(&mut [2, 1].as_slice()).await.is_err());
}
