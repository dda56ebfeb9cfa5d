//! What a guest's writes wait for.

use daffi_proto::signature::Signature;
use daffi_proto::stream::CHUNK_BYTES;
use daffi_proto::value::Limits as ValueLimits;
use futures::FutureExt;

use super::*;
use crate::guest::transcode::stream::ItemRoom as Rooms;

const LARGE: usize = CHUNK_BYTES as usize + 1;

/// A stream of items.
fn stream(rooms: &Rooms) -> Shared {
    let signature = Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false };
    Shared {
        items: Items::of_calls(&signature, ValueLimits::for_payload(LARGE)),
        flow: Flow::Items,
        callback: "f".to_owned(),
        rooms: rooms.of_stream(),
        state: Mutex::default(),
        given: Notify::new(),
        moved: Notify::new(),
    }
}

/// What the guest's write of an item of this size comes to, where it need not wait.
fn write(stream: &Shared, bytes: usize) -> Option<Result<(), CallError>> {
    let item = Bytes::from(vec![0; bytes]);
    let room = stream.has_room_for(&item).now_or_never()?;
    Some(room.map(|room| stream.take(item, room)))
}

/// What goes to the mesh next.
fn gives(stream: &Shared) -> Chunk {
    match stream.step() {
        Some(Step::Give(chunk)) => chunk,
        _ => panic!("there is no chunk"),
    }
}

#[test]
fn a_large_item_waits_for_room_among_those_of_all_streams_and_small_ones_do_not() {
    let rooms = Rooms::new(2 * LARGE);
    let (one, two, three) = (stream(&rooms), stream(&rooms), stream(&rooms));
    for stream in [&one, &two] {
        assert!(write(stream, 10).is_some() && write(stream, LARGE).is_some());
    }
    assert!(write(&three, LARGE).is_none() && write(&three, 10).is_some());
    assert_eq!((gives(&one).bytes.len(), gives(&two).bytes.len()), (10, 10));
    let large = gives(&one);
    assert_eq!((large.count, large.bytes.len()), (1, LARGE));
    // On its way it is in memory, too.
    assert!(write(&three, LARGE).is_none() && write(&one, LARGE).is_none() && write(&one, 10).is_some());
    drop(large);
    assert!(write(&three, LARGE).is_some());
    assert_eq!((gives(&three).bytes.len(), gives(&three).bytes.len()), (10, LARGE));
}

#[test]
fn a_stream_that_ends_lets_no_large_item_wait_for_room() {
    let rooms = Rooms::new(LARGE);
    let (one, two) = (stream(&rooms), stream(&rooms));
    assert!(write(&one, LARGE).is_some());
    let item = Bytes::from(vec![0; LARGE]);
    let mut waiting = Box::pin(two.has_room_for(&item));
    assert!((&mut waiting).now_or_never().is_none());
    two.say(Word::Fail(two.failure("no more")));
    let ended = waiting.now_or_never().unwrap().map(drop).unwrap_err();
    assert_eq!(ended.code, code::BAD_ARGUMENTS);
    drop(gives(&one));
    assert!(write(&one, LARGE).is_some(), "it takes no room any more");
}
