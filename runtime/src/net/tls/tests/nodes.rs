//! Two nodes, over real sockets: each is known by its name, and whoever else is there hears nothing.

use daffi_proto::id::ProcessName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::nodes::NodeSide;
use super::super::sides::provider;
use super::*;

const SHOP: Certificate<'_> = Certificate { uris: &["daffi:node/shop"], host: None, server: false, expired: false };
const MALLORY: Certificate<'_> =
    Certificate { uris: &["daffi:node/mallory"], host: None, server: false, expired: false };

fn node(name: &str) -> ProcessName {
    ProcessName::new(name).unwrap()
}

/// A node's own listener.
struct Shop {
    address: std::net::SocketAddr,
    accepted: mpsc::Receiver<Accepted>,
    _ends: DropGuard,
}

impl Shop {
    async fn start(files: &TlsFiles) -> Self {
        let endpoint = Endpoint::parse("tls://127.0.0.1:0", false).unwrap();
        let listener = Listener::bind_for_node(&endpoint, files).await.unwrap();
        assert!(listener.is_local());
        let address = listener.endpoint().to_string().trim_start_matches("tls://").parse().unwrap();
        let (sender, accepted) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        tokio::spawn(listener.run(sender, Arc::new(Semaphore::new(8)), cancel.clone()));
        Self { address, accepted, _ends: cancel.drop_guard() }
    }

    /// What keeps a node with these files from a direct link to one of this name here.
    async fn refusal(&self, files: &TlsFiles, name: &str) -> String {
        let client = NodeClient::open(files.clone()).unwrap();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let error = client.connect(&node(name), stream).await.err().unwrap();
        assert!(!error.passing, "{error:?}");
        error.message
    }

    async fn meets(&mut self, client: &NodeClient) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let connection = client.connect(&node("shop"), stream).await.map_err(|error| error.message).unwrap();
        let identity = self.accepted.recv().await.unwrap().identity;
        drop(connection);
        identity.certified().unwrap().to_string()
    }
}

/// What a node that looks for `shop` says to whoever listens with these settings, and what that one has of it.
async fn meeting_with(server: rustls::ServerConfig, files: &TlsFiles) -> (String, std::io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = NodeClient::open(files.clone()).unwrap();
    let dialing = async {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.connect(&node("shop"), stream).await.err().unwrap().message
    };
    let answering = async {
        let (stream, _) = listener.accept().await.unwrap();
        TlsAcceptor::from(Arc::new(server)).accept(stream).await.map(drop)
    };
    tokio::join!(dialing, answering)
}

/// Whether the handshake was ended by the dialer before it showed anything of itself.
#[track_caller]
fn was_told_nothing(had: &std::io::Result<()>) {
    let error: &rustls::Error = had.as_ref().unwrap_err().get_ref().unwrap().downcast_ref().unwrap();
    assert!(matches!(error, rustls::Error::AlertReceived(_)), "{error:?}");
}

#[tokio::test]
async fn two_nodes_meet_and_each_knows_whose_certificate_the_other_has() {
    let authority = Authority::new();
    let mut shop = Shop::start(&authority.node("shop", SHOP)).await;
    let client = NodeClient::open(authority.node("edge", EDGE)).unwrap();
    assert_eq!(shop.meets(&client).await, "edge");
}

#[tokio::test]
async fn somebody_else_of_the_same_authority_at_the_address_of_a_node_is_shown_nothing() {
    let authority = Authority::new();
    let edge = authority.node("edge", EDGE);
    let mallory = ServerSide::of_node(&authority.node("mallory", MALLORY)).unwrap();
    let (told, had) = meeting_with((*mallory.config).clone(), &edge).await;
    says(&told, &["not accepted: it is of the node \"mallory\"", "the node \"shop\" is there"]);
    was_told_nothing(&had);
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_proves_nothing() {
    let authority = Authority::new();
    let (edge, shop) = (authority.node("edge", EDGE), authority.node("shop", SHOP));
    let mallory = authority.node("mallory", MALLORY);
    let (chain, _) = files::own_identity(shop.cert.as_ref().unwrap(), shop.key.as_ref().unwrap()).unwrap();
    let (_, key) = files::own_identity(mallory.cert.as_ref().unwrap(), mallory.key.as_ref().unwrap()).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let mut config = (*ServerSide::of_node(&shop).unwrap().config).clone();
    config.cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
    let (told, had) = meeting_with(config, &edge).await;
    says(&told, &["its certificate is not accepted"]);
    was_told_nothing(&had);
}

#[tokio::test]
async fn certificates_of_other_authorities_and_those_that_hold_no_more_are_refused_on_both_sides() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let mut shop = Shop::start(&ours.node("shop", SHOP)).await;
    let stranger = TlsFiles { ca: Some(ours.path("ca.pem")), ..theirs.node("edge", EDGE) };
    says(&shop.refusal(&stranger, "shop").await, &["does not accept the certificate of this node", "--tls-ca"]);
    says(
        &shop.refusal(&theirs.node("edge", EDGE), "shop").await,
        &[
            "its certificate is not accepted",
            "no authority in --tls-ca has signed it; is it of the node that you mean?",
        ],
    );
    let late = ours.node("edge", Certificate { expired: true, ..EDGE });
    says(&shop.refusal(&late, "shop").await, &["certificate of this node", "it has expired"]);
    let alone = ours.node("edge", Certificate { server: true, ..EDGE });
    says(&shop.refusal(&alone, "shop").await, &["certificate of this node: it is not for a node"]);
    let nobody = ours.node("edge", Certificate { uris: &["spiffe://x/y"], ..EDGE });
    says(&shop.refusal(&nobody, "shop").await, &["the node does not let this node in", "daffi:node/NAME"]);
    assert!(shop.accepted.try_recv().is_err());
    // A visited one whose certificate has expired.
    let old = ours.node("shop", Certificate { expired: true, ..SHOP });
    let shop = Shop::start(&old).await;
    let told = shop.refusal(&ours.node("edge", EDGE), "shop").await;
    says(&told, &["its certificate is not accepted: it expired 1day", "the node needs a new one"]);
}

#[tokio::test]
async fn the_port_of_a_node_is_not_taken_for_a_controllers_nor_a_controllers_for_a_nodes() {
    let authority = Authority::new();
    let edge = authority.node("edge", EDGE);
    let shop = Shop::start(&authority.node("shop", SHOP)).await;
    let endpoint = Endpoint::parse(&format!("tls://{}", shop.address), false).unwrap();
    let error = dial::connect(&Target::new(endpoint, &edge).unwrap()).await.err().unwrap();
    says(&error.to_string(), &["speaks something else than daffi"]);
    let (controller, _) = ServerSide::with_any(&authority.files("shop")).unwrap();
    let (told, had) = meeting_with((*controller.config).clone(), &edge).await;
    says(&told, &["speaks something else than daffi"]);
    let had = had.unwrap_err();
    assert!(had.to_string().contains("known protocol"), "{had}");
    // Who names none.
    let mut silent = (*NodeSide::make(&edge).unwrap().config_for(&node("shop"))).clone();
    silent.alpn_protocols.clear();
    let stream = TcpStream::connect(shop.address).await.unwrap();
    let name = rustls::pki_types::ServerName::IpAddress(shop.address.ip().into());
    let mut stream = TlsConnector::from(Arc::new(silent)).connect(name, stream).await.unwrap();
    let Word::Refused(why) = Word::read(&mut stream).await.unwrap() else { panic!("it was let in") };
    says(&why, &["does not say that it speaks daffi"]);
    let mut config = (*ServerSide::of_node(&authority.files("shop")).unwrap().config).clone();
    config.alpn_protocols.clear();
    let told = meeting_with(config, &edge).await.0;
    says(&told, &["what listens there is no node of daffi-runtime"]);
}

#[tokio::test]
async fn renewed_files_are_used_by_both_nodes_at_once() {
    let authority = Authority::new();
    let mut shop = Shop::start(&authority.node("shop", SHOP)).await;
    let client = NodeClient::open(authority.node("edge", EDGE)).unwrap();
    assert_eq!(shop.meets(&client).await, "edge");
    authority.certificate("edge", Certificate { uris: &["daffi:node/edge-2"], ..EDGE });
    assert_eq!(shop.meets(&client).await, "edge-2");
    // The visited one is another node now.
    authority.certificate("shop", Certificate { uris: &["daffi:node/shop-2"], ..SHOP });
    says(&shop.refusal(&authority.files("edge"), "shop").await, &["it is of the node \"shop-2\""]);
    // What is for no node changes nothing.
    authority.certificate("shop", Certificate { server: true, ..SHOP });
    says(&shop.refusal(&authority.files("edge"), "shop").await, &["it is of the node \"shop-2\""]);
    authority.certificate("shop", SHOP);
    assert_eq!(shop.meets(&client).await, "edge-2");
}

#[tokio::test]
async fn a_node_does_not_listen_with_what_no_other_node_takes() {
    let authority = Authority::new();
    let start = |files: TlsFiles| Server::of_node(files).map(drop).map_err(|error| error.to_string());
    let alone = start(authority.node("alone", Certificate { server: true, ..SHOP })).unwrap_err();
    says(&alone, &["--tls-cert", "alone.pem: it is not for a node", "certs issue NAME"]);
    let nobody = start(authority.node("nobody", Certificate { uris: &[], ..SHOP })).unwrap_err();
    says(&nobody, &["nobody.pem: it names no node"]);
    let none = TlsFiles { ca: None, ..authority.node("shop", SHOP) };
    says(&start(none).unwrap_err(), &["--tls-ca is missing", "nodes that reach each other over tls://"]);
    // Time, or another --tls-ca, may mend these.
    start(authority.node("old", Certificate { expired: true, ..SHOP })).unwrap();
    let other = Authority::new();
    start(TlsFiles { ca: Some(other.path("ca.pem")), ..authority.files("shop") }).unwrap();
}
