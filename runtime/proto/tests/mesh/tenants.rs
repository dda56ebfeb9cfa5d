//! Two tenants on one mesh: the same names in both, and nothing of one to be had in the other.

use bytes::Bytes;
use daffi_proto::call::{
    Answer, CallRequest, Detail, GatherRequest, Hop, MemberEvent, Mode, Need, ResolveRequest, ScheduleRequest, WaitFor,
};
use daffi_proto::controller::MAX_TENANTS_PER_NODE;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::frame::{Frame, Header, LoadList, Target};
use daffi_proto::id::{CallId, EntryId, GroupId, LinkId, LocalId, MAX_NAME_BYTES, NodeKey};
use daffi_proto::node::{Command, NodeConfig};
use daffi_proto::schedule::{Plan, TaskOp};
use daffi_proto::session::{FEATURES, Hello, PROTOCOL_VERSION, PeerIdentity, Role, refusal};

use crate::net::{
    Behaviour, Net, SUM, below, call, call_in, callback, name, process, question, schedule, secs, tenant,
};

/// A callback that only globex has.
const SECRET: &str = "globex:vault/keys#open-the-vault";

/// A node of acme, one of globex, each with a process `shop` that has SUM; globex's has SECRET too.
fn two_shops(net: &mut Net) -> ((usize, LocalId), (usize, LocalId)) {
    let acme = net.runtime_of(&["acme"], Role::Node);
    let globex = net.runtime_of(&["globex"], Role::Node);
    let shop = |net: &mut Net, node, name: &str, callbacks: &[&str]| (node, net.add(node, name, callbacks));
    let shops = (shop(net, acme, "acme::shop", &[SUM]), shop(net, globex, "globex::shop", &[SUM, SECRET]));
    net.settle();
    shops
}

/// The error of a call by name, whichever of its two steps gives it.
fn refused(net: &mut Net, node: usize, request: CallRequest) -> CallError {
    let token = net.call(node, request);
    net.settle();
    net.error(node, token).clone()
}

/// A link of this tenant's that says what it likes.
fn stranger(net: &mut Net, of: &str) -> LinkId {
    let link = net.stranger();
    let tenants = vec![tenant(of)];
    let key = NodeKey([7; 16]);
    let hello = Hello {
        features: FEATURES,
        key,
        name: "stranger".into(),
        role: Role::Node,
        max_payload_bytes: 1 << 20,
        tenants,
        imports: Vec::new(),
    };
    let header = Header::Hello { version: PROTOCOL_VERSION };
    net.forge(link, Frame::with_payload(header, postcard::to_stdvec(&hello).unwrap().into()));
    link
}

#[test]
fn a_name_may_be_taken_once_in_each_tenant() {
    let mut net = Net::new(1);
    two_shops(&mut net);
    let both = net.runtime_of(&["acme", "globex"], Role::Node);
    for of in ["acme", "globex"] {
        let names: Vec<_> = net.list_of(both, tenant(of)).into_iter().map(|listed| listed.process).collect();
        assert_eq!(names, [process(&format!("{of}::shop"))]);
    }
    let second = net.runtime_of(&["acme"], Role::Node);
    net.add(second, "acme::shop", &[SUM]);
    net.settle();
    assert!(net.nodes[second].log.last().unwrap().contains("\"shop\" is held"), "{:?}", net.nodes[second].log);
    assert_eq!(net.list_of(both, tenant("globex")).len(), 1);
}

#[test]
fn nothing_is_kept_of_a_tenant_that_has_no_nodes_any_more() {
    let mut net = Net::new(1);
    let ((acme, _), (globex, shop)) = two_shops(&mut net);
    let both = net.runtime_of(&["acme", "globex", "initech"], Role::Client);
    let tenants = |net: &Net| net.controller.as_ref().unwrap().counts().tenants;
    assert_eq!(tenants(&net), 3);
    net.command(both, Command::Leave);
    net.command(globex, Command::RemoveProcess(shop));
    net.settle();
    assert_eq!(tenants(&net), 2);
    for node in [acme, globex] {
        net.command(node, Command::Leave);
    }
    net.settle();
    assert_eq!(tenants(&net), 0);
}

#[test]
fn a_node_is_told_of_its_own_tenants_and_of_nothing_else() {
    let mut net = Net::new(2);
    let ((acme, acme_shop), (globex, shop)) = two_shops(&mut net);
    assert_eq!((net.count(acme).remotes, net.count(globex).remotes), (0, 0));
    let late = net.runtime_of(&["acme"], Role::Client);
    assert_eq!(net.count(late).remotes, 1);
    for (node, process) in [(acme, acme_shop), (globex, shop)] {
        net.command(node, Command::Usage { process, usage: Box::default() });
    }
    // Nor by asking for another tenant's, nor for what its processes do and have used.
    assert!(net.list_of(late, tenant("globex")).is_empty());
    let link = stranger(&mut net, "acme");
    net.told.clear();
    net.forge(link, Frame::new(Header::ListLoads { id: 1, detail: Detail::Usage }));
    let list: LoadList = postcard::from_bytes(&net.told.last().unwrap().payload).unwrap();
    assert_eq!((list.loads.len(), list.usages.len()), (1, 1));
    // Nor when it goes.
    net.told.clear();
    net.command(globex, Command::RemoveProcess(shop));
    net.settle();
    assert!(net.told.is_empty(), "{:?}", net.told);
}

#[test]
fn a_call_goes_to_the_callback_of_its_own_tenant() {
    let mut net = Net::new(3);
    let ((acme, _), (globex, _)) = two_shops(&mut net);
    let both = net.runtime_of(&["acme", "globex"], Role::Client);
    for _ in 0..4 {
        for (of, served, idle) in [("acme", acme, globex), ("globex", globex, acme)] {
            let before = (net.nodes[served].served.len(), net.nodes[idle].served.len());
            let token = net.call(both, call_in(of, SUM));
            net.settle();
            assert_eq!(net.result(both, token).as_ref().unwrap().process, name("shop"));
            let after = (net.nodes[served].served.len(), net.nodes[idle].served.len());
            assert_eq!(after, (before.0 + 1, before.1));
        }
    }
}

#[test]
fn two_tenants_of_one_node_are_as_far_apart_as_on_two() {
    let mut net = Net::new(4);
    let node = net.runtime_of(&["acme", "globex"], Role::Node);
    let caller = net.add(node, "acme::caller", &[]);
    net.add(node, "globex::shop", &[SUM, SECRET]);
    net.settle();
    let forbidden = refused(&mut net, node, call(Some(caller), SECRET));
    assert_eq!((forbidden.outcome, forbidden.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
}

#[test]
fn a_foreign_callback_and_one_that_nobody_has_give_the_same_error() {
    let mut net = Net::new(5);
    let ((acme, shop), _) = two_shops(&mut net);
    let unknown = "globex:vault/keys#open-the-fault";
    for (node, caller) in [(acme, Some(shop)), (net.runtime_of(&["acme"], Role::Client), None)] {
        let caller = call(caller, SUM).caller;
        let caller = if node == acme { caller } else { call_in("acme", SUM).caller };
        let mut errors = Vec::new();
        for name in [SECRET, unknown] {
            let asked = ResolveRequest { caller: caller.clone(), ..question(None, name) };
            let token = net.resolve(node, asked);
            let called = CallRequest { caller: caller.clone(), ..call(None, name) };
            let called = refused(&mut net, node, called);
            let resolved = net.nodes[node].resolved[&token].clone().unwrap_err();
            errors.push([resolved, called].map(|error| error.to_string().replace(name, "NAME")));
        }
        assert_eq!(errors[0], errors[1]);
        assert!(errors.iter().flatten().all(|error| !error.contains("vault")), "{errors:?}");
    }
}

#[test]
fn who_guesses_the_numbers_of_a_foreign_process_is_told_what_he_is_told_of_a_wrong_one() {
    let mut net = Net::new(6);
    let ((_, _), (globex, _)) = two_shops(&mut net);
    let link = stranger(&mut net, "acme");
    let mut id = 0;
    let mut told = |net: &mut Net, target| {
        id += 1;
        let header = Header::Call {
            id: CallId(id),
            target,
            timeout_ms: 1000,
            chain: [Hop { process: None, instance: 0 }].into(),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: [].into(),
            key: None,
        };
        net.told.clear();
        net.forge(link, Frame::with_payload(header, Bytes::from_static(b"args")));
        assert!(matches!(net.told[0].header, Header::Fail { .. }), "{:?}", net.told);
        net.told[0].payload.clone()
    };
    // Entries 1 and 2, groups 1 to 3: acme's come first.
    for (foreign, unknown) in [
        (Target::Any(GroupId(2)), Target::Any(GroupId(99))),
        (Target::Process(EntryId(2), GroupId(2)), Target::Process(EntryId(99), GroupId(99))),
        (Target::Tasks(EntryId(2)), Target::Tasks(EntryId(99))),
    ] {
        assert_eq!(told(&mut net, foreign), told(&mut net, unknown));
    }
    assert!(net.nodes[globex].served.is_empty());
}

#[test]
fn waits_watches_and_broadcasts_end_at_the_border() {
    let mut net = Net::new(7);
    let ((acme, shop), (globex, _)) = two_shops(&mut net);
    let both = net.runtime_of(&["acme", "globex"], Role::Client);
    let caller = call_in("acme", SUM).caller;
    let watch = net.token();
    net.command(both, Command::Watch { token: watch, tenant: tenant("acme") });
    let waits = [WaitFor::Process(name("vault")), WaitFor::Callback("open-the-vault".into())]
        .map(|what| net.wait_as(both, caller.clone(), what, secs(5)));
    net.add(globex, "globex::vault", &[SECRET, SUM]);
    net.settle();
    assert!(waits.iter().all(|wait| !net.nodes[both].waits.contains_key(wait)));
    net.run(secs(5));
    assert!(waits.iter().all(|wait| net.nodes[both].waits[wait].is_err()));
    let told = &net.nodes[both].members[&watch];
    assert!(matches!(&told[..], [MemberEvent::Joined(member)] if member.name == name("shop")), "{told:?}");

    let token = net.gather(both, GatherRequest { call: call_in("acme", SUM), need: Need::All, stall: None });
    net.settle();
    assert_eq!(net.nodes[both].entries[&token].len(), 1);
    assert!(net.nodes[globex].served.is_empty() && net.nodes[acme].served[0].process == shop);
}

#[test]
fn schedules_are_made_seen_and_cancelled_within_their_tenant() {
    let mut net = Net::new(8);
    let ((acme, _), (globex, _)) = two_shops(&mut net);
    let client = net.runtime_of(&["globex"], Role::Client);
    let ScheduleRequest { call, terms } = schedule(None, SUM, Plan::Every(secs(60)));
    let call = CallRequest { caller: call_in("globex", SUM).caller, ..call };
    let task = net.scheduled(client, ScheduleRequest { call, terms });
    let seen = |net: &mut Net, of: &str, node| {
        let tasks = net.ask_in(&tenant(of), node, "shop", TaskOp::List(None)).unwrap();
        tasks.len()
    };
    let both = net.runtime_of(&["acme", "globex"], Role::Client);
    assert_eq!((seen(&mut net, "globex", both), seen(&mut net, "acme", both)), (1, 0));
    let number = task.id.number;
    let of_acme = net.ask_in(&tenant("acme"), both, "shop", TaskOp::Cancel(number)).unwrap_err();
    assert_eq!(of_acme.code, code::NO_SUCH_TASK, "{of_acme}");
    assert_eq!(seen(&mut net, "globex", both), 1);
    net.run(secs(61));
    assert_eq!((net.nodes[acme].served.len(), net.nodes[globex].served.len()), (0, 1));
    // A name that only the other tenant has is no name here.
    net.add(globex, "globex::vault", &[SECRET]);
    net.settle();
    let [foreign, unknown] = ["vault", "nobody"].map(|process| {
        let error = net.ask_in(&tenant("acme"), both, process, TaskOp::List(None)).unwrap_err();
        error.to_string().replace(process, "NAME")
    });
    assert_eq!(foreign, unknown);
}

#[test]
fn calls_below_a_call_stay_in_the_tenant_of_the_process_that_makes_them() {
    let mut net = Net::new(9);
    let ((acme, shop), (globex, _)) = two_shops(&mut net);
    net.add(acme, "acme::store", &["acme:store/stock#count"]);
    net.nodes[acme].behaviours.insert(shop, Behaviour::Hold);
    net.settle();
    let client = net.runtime_of(&["acme"], Role::Client);
    let token = net.call(client, call_in("acme", SUM));
    net.settle();
    let parent = net.nodes[acme].served[0].clone();
    let mine = net.call(acme, below(&parent, "acme:store/stock#count"));
    net.settle();
    assert!(net.result(acme, mine).is_ok());
    assert_eq!(refused(&mut net, acme, below(&parent, SECRET)).code, code::NO_SUCH_CALLBACK);
    assert!(net.nodes[globex].served.is_empty() && !net.nodes[client].calls.contains_key(&token));
}

#[test]
fn a_node_keeps_to_the_tenants_that_it_claims() {
    let mut net = Net::new(10);
    let (acme, _) = two_shops(&mut net).0;
    let refused = net.try_add(acme, "globex::other", &[]).unwrap_err();
    assert!(refused.message.contains("does not belong to the tenant \"globex\""), "{refused}");
    let link = stranger(&mut net, "acme");
    let header =
        Header::Register { number: 1, process: process("globex::spy"), instances: String::new(), exports: Vec::new() };
    net.forge(link, Frame::new(header));
    let closed = net.closed.last().unwrap();
    assert_eq!(closed, "the process globex::spy is of a tenant that the node did not claim");
}

#[test]
fn a_node_may_claim_so_many_tenants_and_no_more() {
    let mut net = Net::new(11);
    let names: Vec<String> = (0..=MAX_TENANTS_PER_NODE).map(|number| format!("{number:0>MAX_NAME_BYTES$}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let node = net.runtime_of(&names[1..], Role::Node);
    assert_eq!(net.nodes[node].log, ["connected"]);
    let node = net.runtime_of(&names, Role::Node);
    let log = net.nodes[node].log.last().unwrap();
    assert!(log.starts_with(&format!("refused: {}: the node claims 257 tenants", refusal::BAD_HELLO)), "{log}");
}

#[test]
fn a_process_that_comes_back_is_not_taken_for_its_namesake_of_another_tenant() {
    let mut net = Net::new(12);
    let ((acme, _), (globex, _)) = two_shops(&mut net);
    net.cut(globex);
    // The name is kept in its own tenant alone.
    let other = net.runtime_of(&["initech"], Role::Node);
    net.add(other, "initech::shop", &[SUM]);
    net.run(secs(10));
    assert_eq!(net.nodes[other].log, ["connected"]);
    assert_eq!(net.nodes[globex].log.last().unwrap(), "connected");
    assert_eq!(net.nodes[acme].log, ["connected"]);
    let both = net.runtime_of(&["acme", "globex"], Role::Client);
    let token = net.call(both, call_in("globex", SECRET));
    net.settle();
    assert!(net.result(both, token).is_ok());
    assert_eq!(net.nodes[globex].served.last().unwrap().callback, 1, "{:?}", callback(SECRET));
}

#[test]
fn processes_of_one_tenant_share_the_tasks_that_it_may_have_in_a_runtime() {
    let mut net = Net::new(19);
    let node = net.runtime("of-tenants", Role::Node, PeerIdentity::Unix { uid: 1, pid: None });
    let (tenants, max_tasks) = (vec![tenant("acme"), tenant("globex")], [(tenant("acme"), 2)].into());
    net.replace(node, |config| NodeConfig { tenants, max_tasks, ..config });
    net.dial(node);
    for process in ["acme::a", "acme::b", "globex::c"] {
        net.add(node, process, &[SUM]);
    }
    net.settle();
    let make = |net: &mut Net, of: &str, receiver: &str| {
        let request = schedule(None, SUM, Plan::Every(secs(60)));
        let call = CallRequest { receiver: Some(name(receiver)), args: request.call.args, ..call_in(of, SUM) };
        let token = net.schedule(node, ScheduleRequest { call, ..request });
        net.settle();
        net.tasks_of(node, token)
    };
    let first = make(&mut net, "acme", "a").unwrap().remove(0);
    make(&mut net, "acme", "b").unwrap();
    let error = make(&mut net, "acme", "b").unwrap_err();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::OVERLOADED));
    assert!(error.message.contains("tenant acme may have 2 schedules"), "{error}");
    make(&mut net, "globex", "c").unwrap();
    net.ask_in(&tenant("acme"), node, "a", TaskOp::Cancel(first.id.number)).unwrap();
    make(&mut net, "acme", "b").unwrap();
}
