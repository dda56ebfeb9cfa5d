//! The bytes of every header. What a release has sent must be read by all later ones: a change here that is no addition
//! breaks the protocol.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use daffi_proto::call::{Answer, CallbackSpec, Detail, Hop, Load, Mode};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::frame::{
    Decoder, Frame, Header, LastWord, LoadList, MIN_PAYLOAD_LIMIT_BYTES, Side, StreamRef, Target,
};
use daffi_proto::id::{
    CallId, EntryId, GroupId, NodeKey, NodeMark, ProcessName, ProcessRef, RepeatKey, SessionId, TenantName, Ticket,
};
use daffi_proto::name::{CallbackName, NameGlob};
use daffi_proto::registry::{Callback, CallbackTable};
use daffi_proto::session::{Hello, PROTOCOL_VERSION, Role};
use daffi_proto::share::{Export, Import};
use daffi_proto::signature::{SignatureBuilder, Type};
use daffi_proto::stream::{Credit, Flow};
use daffi_proto::usage::{BUCKETS, Failures, Latencies, Usage};

fn glob() -> NameGlob {
    NameGlob::parse("s#*").unwrap()
}

fn process(name: &str) -> ProcessRef {
    ProcessRef { tenant: TenantName::default(), name: ProcessName::new(name).unwrap() }
}

fn stream(from: Side) -> StreamRef {
    StreamRef { call: CallId(300), from, number: 1 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every variant with the bytes that it has, in the order of their numbers.
fn headers() -> Vec<(Header, &'static str)> {
    let export = Export { to: TenantName::new("globex").unwrap(), callbacks: glob() };
    let chain: Arc<[Hop]> =
        [Hop { process: Some(process("a")), instance: 300 }, Hop { process: None, instance: 0 }].into();
    vec![
        (Header::Hello { version: PROTOCOL_VERSION }, "0001"),
        (
            Header::Welcome {
                features: 5,
                session: SessionId(300),
                heartbeat_ms: 2000,
                missed_heartbeats: 3,
                grace_ms: 5000,
                max_payload_bytes: 1 << 24,
            },
            "0105ac02d00f03882780808008",
        ),
        (
            Header::Refused { code: "version".into(), message: "no".into(), retryable: true },
            "020776657273696f6e026e6f01",
        ),
        (Header::Close { reason: "bye".into() }, "0303627965"),
        (Header::Ping, "04"),
        (Header::Pong, "05"),
        (
            Header::Register { number: 7, process: process("math"), instances: "pool:4".into(), exports: vec![export] },
            "06070764656661756c74046d61746806706f6f6c3a340106676c6f6265780373232a",
        ),
        (Header::Registered { number: 7, entry: EntryId(129) }, "07078101"),
        (
            Header::NotRegistered { number: 7, code: "name-taken".into(), message: "x".into(), retryable: false },
            "08070a6e616d652d74616b656e017800",
        ),
        (Header::Unregister { number: 7 }, "0907"),
        (
            Header::Entry {
                entry: EntryId(129),
                process: process("math"),
                node: "host-1".into(),
                instances: "singleton".into(),
                groups: vec![GroupId(1), GroupId(200)],
                exports: Vec::new(),
                host: Some(SessionId(300)),
            },
            "0a81010764656661756c74046d61746806686f73742d310973696e676c65746f6e0201c8010001ac02",
        ),
        (Header::Gone { entry: EntryId(129) }, "0b8101"),
        (Header::Synced, "0c"),
        (
            Header::Call {
                id: CallId(1),
                target: Target::Any(GroupId(200)),
                timeout_ms: 30_000,
                chain: chain.clone(),
                answer: Answer::Sent,
                mode: Mode::Each,
                channels: [Flow::Bytes, Flow::Items, Flow::One].into(),
                key: Some(RepeatKey { node: NodeMark([0xab; 16]), number: 129 }),
            },
            "0d0100c801b0ea0102010764656661756c740161ac02000002010300010201abababababababababababababababab8101",
        ),
        (
            Header::Reply {
                id: CallId(1),
                process: Some(ProcessName::new("math").unwrap()),
                open: true,
                channels: [Flow::Items].into(),
            },
            "0e0101046d617468010101",
        ),
        (Header::Fail { id: CallId(1), runs_on: true }, "0f0101"),
        (Header::Cancel { id: CallId(1), lost: true }, "100101"),
        (Header::Ended { id: CallId(1) }, "1101"),
        (
            Header::Load {
                number: 7,
                load: Load { instances: 4, in_flight: 200, schedules: 3, open_calls: 5, open_streams: 6, handles: 7 },
                apart: 129,
            },
            "120704c801030506078101",
        ),
        (Header::ListLoads { id: 3, detail: Detail::Usage }, "130301"),
        (Header::Loads { id: 3 }, "1403"),
        (Header::Drain, "15"),
        (Header::Leave, "16"),
        (Header::Accepted { id: CallId(1), process: Some(ProcessName::new("math").unwrap()) }, "170101046d617468"),
        (Header::Items { stream: stream(Side::Caller), count: 256 }, "18ac0200018002"),
        (Header::End { stream: stream(Side::Callee), last: LastWord::Failed }, "19ac02010101"),
        (
            Header::Grant { stream: stream(Side::Callee), total: Credit { items: 1024, bytes: 262_144 } },
            "1aac0201018008808010",
        ),
        (Header::Done { stream: stream(Side::Callee) }, "1bac020101"),
        (Header::Halt { stream: stream(Side::Callee) }, "1cac020101"),
        (Header::Want { stream: stream(Side::Caller), bytes: 16_777_216 }, "1dac02000180808008"),
        (Header::Usage { number: 7 }, "1e07"),
        (Header::Reachable { at: vec!["unix:///a".into()] }, "1f0109756e69783a2f2f2f61"),
        (Header::Meet { session: SessionId(300) }, "20ac02"),
        (
            Header::Meeting {
                session: SessionId(300),
                at: vec!["unix:///a".into()],
                ticket: Ticket([0xcd; 16]),
                identity: None,
            },
            "21ac020109756e69783a2f2f2f61cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd00",
        ),
        (
            Header::Expect {
                session: SessionId(300),
                node: "host-1".into(),
                ticket: Ticket([0xcd; 16]),
                mark: NodeMark([0xab; 16]),
                max_payload_bytes: 1 << 24,
                identity: Some(ProcessName::new("edge-7").unwrap()),
            },
            "22ac0206686f73742d31cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdabababababababababababababababab8080800801066564\
             67652d37",
        ),
        (
            Header::Vouch { session: SessionId(300), number: 7, process: process("math") },
            "23ac02070764656661756c74046d617468",
        ),
        (Header::Unvouch { session: SessionId(300), number: 7 }, "24ac0207"),
        (Header::Forget { session: SessionId(300) }, "25ac02"),
        (
            Header::Visit { version: PROTOCOL_VERSION, session: SessionId(300), ticket: Ticket([0xcd; 16]) },
            "2601ac02cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        ),
        (Header::Known { number: 7 }, "2707"),
        (Header::Busy { entry: EntryId(129), calls: 300 }, "288101ac02"),
    ]
}

#[test]
fn every_header_has_its_golden_bytes_and_comes_back_from_them() {
    for (number, (header, golden)) in headers().into_iter().enumerate() {
        let bytes = postcard::to_stdvec(&header).unwrap();
        assert_eq!(bytes[0] as usize, number, "{} is not in its place", header.kind());
        assert_eq!(hex(&bytes), golden, "{}", header.kind());
        assert_eq!(postcard::from_bytes::<Header>(&bytes).unwrap(), header);
    }
}

#[test]
fn every_variant_has_golden_bytes() {
    let next = headers().len() as u8;
    let mut bytes = [0; 64];
    bytes[0] = next;
    let unknown = postcard::take_from_bytes::<Header>(&bytes);
    assert!(unknown.is_err(), "variant {next} has no golden bytes: {unknown:?}");
}

#[test]
fn the_other_targets_of_a_call_have_their_golden_bytes() {
    let bytes = |target: Target| hex(&postcard::to_stdvec(&target).unwrap());
    assert_eq!(bytes(Target::Any(GroupId(200))), "00c801");
    assert_eq!(bytes(Target::Process(EntryId(129), GroupId(200))), "018101c801");
    assert_eq!(bytes(Target::Callback(7, 300)), "0207ac02");
    assert_eq!(bytes(Target::Tasks(EntryId(129))), "038101");
    assert_eq!(bytes(Target::TasksHere(7)), "0407");
    assert_eq!(bytes(Target::Direct(EntryId(129), 300)), "058101ac02");
}

#[test]
fn a_whole_frame_has_its_golden_bytes() {
    let frame = Frame::with_payload(
        Header::Reply { id: CallId(300), process: None, open: false, channels: [].into() },
        "result".into(),
    );
    let mut buffer = BytesMut::new();
    frame.encode_into(&mut buffer).unwrap();
    assert_eq!(hex(&buffer), "0c0000000eac02000000726573756c74");
    let mut decoder = Decoder::new(MIN_PAYLOAD_LIMIT_BYTES);
    assert_eq!(decoder.next(&mut buffer).unwrap(), Some(frame));
}

#[test]
fn the_payloads_of_the_protocol_have_their_golden_bytes() {
    let acme = TenantName::new("acme").unwrap();
    let hello = Hello {
        features: 1,
        key: NodeKey([9; 16]),
        name: "host-1".into(),
        role: Role::Client,
        max_payload_bytes: 1 << 24,
        tenants: vec![TenantName::default(), acme.clone()],
        imports: vec![Import { into: acme, from: TenantName::new("globex").unwrap(), callbacks: glob() }],
    };
    let error = CallError::not_run(code::OVERLOADED, "m", "f").at("p");
    let load = Load { instances: 1, in_flight: 2, schedules: 3, open_calls: 4, open_streams: 5, handles: 6 };
    let mut counts = [0; BUCKETS];
    counts[9] = 300;
    let usage = Usage {
        age: Duration::new(5, 0),
        latencies: Latencies::of(counts),
        served_time: Duration::new(1, 300),
        failures: vec![Failures { outcome: Outcome::Failed, code: code::TRAP.into(), calls: 4 }],
        cpu_time: Duration::new(2, 0),
        argument_bytes: 300,
        result_bytes: 6,
        stream_bytes_in: 7,
        stream_bytes_out: 8,
        memory_bytes: 9,
        memory_most_bytes: 10,
        queue_time: Duration::new(3, 0),
        queue_longest: Duration::new(4, 0),
    };
    let list = LoadList { loads: vec![(EntryId(129), load)], usages: vec![(EntryId(129), vec![1, 2].into())] };
    let signature = Arc::new(SignatureBuilder::new().function([("a", Type::S64)], Some(Type::String)).unwrap());
    let callback = |name: &str| {
        let name = CallbackName::parse(name).unwrap();
        Callback::new(&CallbackSpec { name, signature: signature.clone() })
    };
    let table = CallbackTable::encode(&[callback("a:b/c@1.0.0#f"), callback("g")]).unwrap();
    assert_eq!(
        hex(&postcard::to_stdvec(&hello).unwrap()),
        "010909090909090909090909090909090906686f73742d310180808008020764656661756c740461636d65010461636d6506676c6f6265780373232a"
    );
    assert_eq!(hex(&postcard::to_stdvec(&error).unwrap()), "000a6f7665726c6f61646564016d01660101700100");
    assert_eq!(
        hex(&postcard::to_stdvec(&list).unwrap()),
        "01810101020304050601810102" /* the usage */
            .to_owned()
            + "0102"
    );
    assert_eq!(hex(&usage.encode()), "05000109ac0201ac0201010474726170040200ac02060708090a03000400");
    assert_eq!(hex(&table), "010001016107010c00020d613a622f6340312e302e30236600016700");
    assert_eq!(CallbackTable::open(&table).unwrap().len(), 2);
}
