//! What tenants share: exported by one, imported by the other, and by nobody else to be had.

use daffi_proto::call::{CallRequest, GatherRequest, Need, ResolveRequest, ScheduleRequest, WaitFor};
use daffi_proto::error::{CallError, code};
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::{LocalId, NodeKey, Token};
use daffi_proto::name::NameGlob;
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::schedule::Plan;
use daffi_proto::session::{Hello, PROTOCOL_VERSION, PeerIdentity, Role};
use daffi_proto::share::{Export, Import};

use crate::net::{Net, SUM, call, call_in, process, question, schedule, secs, tenant};

const PRICE: &str = "demo:shop/prices#of";
const STOCK: &str = "demo:shop/stock#of";

fn export(to: &str, callbacks: &str) -> Export {
    Export { to: tenant(to), callbacks: NameGlob::parse(callbacks).unwrap() }
}

fn import(into: &str, from: &str, callbacks: &str) -> Import {
    Import { into: tenant(into), from: tenant(from), callbacks: NameGlob::parse(callbacks).unwrap() }
}

/// A connected node of these tenants that imports so.
fn importer(net: &mut Net, tenants: &[&str], imports: &[Import]) -> usize {
    let node = net.runtime("importer", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
    let tenants = tenants.iter().map(|name| tenant(name)).collect();
    let node = net.replace(node, |config| NodeConfig { tenants, imports: imports.to_vec(), ..config });
    net.dial(node);
    net.settle();
    node
}

/// A node of acme whose process `shop` has PRICE and STOCK and exports them so.
fn shop(net: &mut Net, exports: &[Export]) -> (usize, LocalId) {
    shop_of(net, "acme::shop", exports)
}

/// The same with another name.
fn shop_of(net: &mut Net, name: &str, exports: &[Export]) -> (usize, LocalId) {
    let node = net.runtime_of(&["acme"], Role::Node);
    let id = net.add_exporting(node, name, &[PRICE, STOCK], exports);
    net.settle();
    (node, id)
}

/// A call from this tenant into acme.
fn of_acme(from: &str, name: &str) -> CallRequest {
    CallRequest { tenant: Some(tenant("acme")), ..call_in(from, name) }
}

fn called(net: &mut Net, node: usize, request: CallRequest) -> Result<(), CallError> {
    let token = net.call(node, request);
    net.settle();
    net.result(node, token).clone().map(drop)
}

fn asked(net: &mut Net, node: usize, from: &str, pattern: &str) -> Result<(), CallError> {
    let request = ResolveRequest { caller: call_in(from, SUM).caller, ..question(None, pattern) };
    let token = net.resolve(node, request);
    net.settle();
    net.nodes[node].resolved[&token].clone().map(drop)
}

#[test]
fn what_both_sides_name_can_be_called_and_nothing_else() {
    let mut net = Net::new(1);
    let (acme, _) = shop(&mut net, &[export("globex", "demo:shop/prices#*")]);
    let all = [import("globex", "acme", "*")];
    let globex = importer(&mut net, &["globex"], &all);
    assert!(called(&mut net, globex, of_acme("globex", PRICE)).is_ok());
    assert!(asked(&mut net, globex, "globex", "acme::prices#of").is_ok());
    assert_eq!(net.nodes[acme].served.len(), 1);
    // Imported and not exported; exported to another; never by its bare name; and no other tenant of the node.
    for (node, request) in [
        (globex, of_acme("globex", STOCK)),
        (globex, call_in("globex", PRICE)),
        (importer(&mut net, &["initech"], &[import("initech", "acme", "*")]), of_acme("initech", PRICE)),
        (importer(&mut net, &["globex"], &[]), of_acme("globex", PRICE)),
        (importer(&mut net, &["globex"], &[import("globex", "acme", "stock#*")]), of_acme("globex", PRICE)),
        (importer(&mut net, &["globex", "initech"], &all), of_acme("initech", PRICE)),
    ] {
        let error = called(&mut net, node, request).unwrap_err();
        assert_eq!(error.code, code::NO_SUCH_CALLBACK, "{error}");
        assert!(!error.message.contains("stock#of`?"), "{error}");
    }
    // What is like it and is shared is named as it is to be written.
    let error = asked(&mut net, globex, "globex", "acme::prices#off").unwrap_err();
    assert!(error.message.contains("did you mean `acme::demo:shop/prices#of`?"), "{error}");
    assert_eq!(net.nodes[acme].served.len(), 1);
}

#[test]
fn a_runtime_with_both_tenants_needs_both_sides_too() {
    for (exports, imports, open) in [
        (vec![export("globex", "prices#*")], vec![import("globex", "acme", "prices#*")], true),
        (vec![export("globex", "prices#*")], vec![], false),
        (vec![], vec![import("globex", "acme", "*")], false),
    ] {
        let mut net = Net::new(2);
        let node = importer(&mut net, &["acme", "globex"], &imports);
        net.add_exporting(node, "acme::shop", &[PRICE, STOCK], &exports);
        let caller = net.add(node, "globex::caller", &[PRICE]);
        // Another acme shop far away, without exports: it is seen whole in acme, and not at all from globex.
        shop(&mut net, &[]);
        net.settle();
        let from = |name| CallRequest { tenant: Some(tenant("acme")), ..call(Some(caller), name) };
        for _ in 0..3 {
            assert_eq!(called(&mut net, node, from(PRICE)).is_ok(), open);
            assert!(called(&mut net, node, from(STOCK)).is_err());
        }
        assert_eq!(net.nodes[node].served.len(), if open { 3 } else { 0 });
    }
}

#[test]
fn what_is_shared_is_listed_with_the_shared_callbacks_alone_and_for_the_tenant_that_imports_it() {
    let imports = [import("globex", "acme", "*"), import("initech", "acme", "stock#*")];
    // Far away, and in the same runtime, where the node has the whole process.
    for tenants in [&["globex", "initech"][..], &["globex", "initech", "acme"]] {
        let mut net = Net::new(4);
        let node = importer(&mut net, tenants, &imports);
        let exports = [export("globex", "prices#*"), export("initech", "*"), export("umbrella", "*")];
        match tenants.contains(&"acme") {
            true => _ = net.add_exporting(node, "acme::shop", &[PRICE, STOCK], &exports),
            false => _ = shop(&mut net, &exports),
        }
        shop_of(&mut net, "acme::silent", &[]);
        net.settle();
        let with = |callback: &str| vec![("acme::shop".to_owned(), vec![callback.to_owned()])];
        assert_eq!(net.shared(node, "acme", "globex"), with(PRICE));
        assert_eq!(net.shared(node, "acme", "initech"), with(STOCK));
        // Who imports nothing, a tenant that shares nothing, and one that nobody has, look the same.
        for (from, into) in [("acme", "umbrella"), ("globex", "initech"), ("nowhere", "globex"), ("acme", "acme")] {
            assert!(net.shared(node, from, into).is_empty());
        }
    }
}

#[test]
fn an_importer_is_told_of_what_is_shared_alone_and_when_it_goes() {
    let mut net = Net::new(3);
    let globex = importer(&mut net, &["globex"], &[import("globex", "acme", "*")]);
    let other = importer(&mut net, &["globex"], &[]);
    let wait =
        net.wait_as(globex, call_in("globex", SUM).caller, WaitFor::Callback("acme::prices#of".into()), secs(60));
    net.settle();
    assert!(!net.nodes[globex].waits.contains_key(&wait));
    let (acme, id) = shop(&mut net, &[export("globex", "prices#*"), export("initech", "*")]);
    shop_without_exports(&mut net);
    assert!(net.nodes[globex].waits[&wait].is_ok());
    assert_eq!((net.count(globex).remotes, net.count(other).remotes), (1, 0));
    // It is no process of globex, nor of anybody whom it may ask for.
    assert!(net.list_of(globex, tenant("globex")).is_empty() && net.list_of(globex, tenant("acme")).is_empty());
    net.command(acme, Command::RemoveProcess(id));
    net.settle();
    assert_eq!(net.count(globex).remotes, 0);
    assert!(called(&mut net, globex, of_acme("globex", PRICE)).is_err());
}

fn shop_without_exports(net: &mut Net) {
    let node = net.runtime_of(&["acme"], Role::Node);
    net.add(node, "acme::closed", &[PRICE]);
    net.settle();
}

#[test]
fn a_broadcast_reaches_those_who_share_and_a_receiver_is_one_of_theirs() {
    let mut net = Net::new(4);
    let (acme, _) = shop(&mut net, &[export("globex", "prices#*")]);
    shop_without_exports(&mut net);
    let globex = importer(&mut net, &["globex"], &[import("globex", "acme", "prices#*")]);
    net.add(globex, "globex::shop", &[PRICE]);
    net.settle();
    let token: Token =
        net.gather(globex, GatherRequest { call: of_acme("globex", PRICE), need: Need::All, stall: None });
    net.settle();
    assert_eq!(net.nodes[globex].entries[&token].len(), 1);
    let to = |receiver: &str| CallRequest { receiver: Some(crate::net::name(receiver)), ..of_acme("globex", PRICE) };
    assert!(called(&mut net, globex, to("shop")).is_ok());
    assert_eq!(net.nodes[acme].served.len(), 2);
    let [closed, nobody] = ["closed", "nobody"]
        .map(|name| called(&mut net, globex, to(name)).unwrap_err().to_string().replace(name, "NAME"));
    assert_eq!(closed, nobody);
}

#[test]
fn an_exporter_that_comes_back_is_seen_again_and_a_lost_link_shows_nothing() {
    let mut net = Net::new(5);
    let (acme, _) = shop(&mut net, &[export("globex", "prices#*")]);
    let globex = importer(&mut net, &["globex"], &[import("globex", "acme", "prices#*")]);
    for lost in [acme, globex] {
        net.cut(lost);
        net.run(secs(5));
        assert!(called(&mut net, globex, of_acme("globex", PRICE)).is_ok());
        assert_eq!(net.count(globex).remotes, 1);
    }
}

#[test]
fn a_shared_callback_is_called_and_not_scheduled() {
    let mut net = Net::new(6);
    shop(&mut net, &[export("globex", "*")]);
    let globex = importer(&mut net, &["globex"], &[import("globex", "acme", "*")]);
    let ScheduleRequest { terms, .. } = schedule(None, PRICE, Plan::Every(secs(60)));
    let token = net.schedule(globex, ScheduleRequest { call: of_acme("globex", PRICE), terms });
    net.settle();
    let error = net.tasks_of(globex, token).unwrap_err();
    assert!(error.code == code::BAD_ARGUMENTS && error.message.contains("another tenant"), "{error}");
    assert!(net.ask_in(&tenant("globex"), globex, "shop", daffi_proto::schedule::TaskOp::List(None)).is_err());
    assert_eq!(process("acme::shop").to_string(), "acme::shop");
}

#[test]
fn where_and_how_a_process_lives_is_told_to_its_own_tenant_alone() {
    let mut net = Net::new(20);
    net.direct = true;
    shop(&mut net, &[export("globex", "*")]);
    for (name, of, wanted) in [("globex", "", None), ("acme", "of-tenants", Some("singleton"))] {
        let link = net.stranger();
        let hello = Hello {
            features: 0,
            key: NodeKey([name.len() as u8; 16]),
            name: "stranger".to_owned(),
            role: Role::Node,
            max_payload_bytes: 1 << 20,
            tenants: vec![tenant(name)],
            imports: if name == "globex" { vec![import("globex", "acme", "*")] } else { Vec::new() },
        };
        let payload = postcard::to_stdvec(&hello).unwrap().into();
        net.told.clear();
        net.forge(link, Frame::with_payload(Header::Hello { version: PROTOCOL_VERSION }, payload));
        let entries: Vec<_> = net.told.iter().map(|frame| &frame.header).collect();
        let entry = entries.iter().find_map(|header| match header {
            Header::Entry { node, instances, host, .. } => Some((node.as_str(), instances.as_str(), host.is_some())),
            _ => None,
        });
        assert_eq!(entry, Some((of, wanted.unwrap_or_default(), wanted.is_some())), "{name}");
    }
}
