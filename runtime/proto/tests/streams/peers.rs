//! The rules one by one: what each end tells the other, what peers must not do, and the streams of a call together.

use std::time::Duration;

use bytes::Bytes;
use daffi_proto::signature::Type;
use daffi_proto::stream::*;
use daffi_proto::value::Channel;

use super::pair::{MAX_ITEM_BYTES, Pair, chunk, failure};

const NOW: Duration = Duration::ZERO;

fn inlet(flow: Flow) -> Inlet {
    let mut inlet = Inlet::new(flow, MAX_ITEM_BYTES, NOW);
    assert_eq!(inlet.transmit(NOW), Some(Pull::Grant(flow.window())));
    inlet
}

fn outlet(flow: Flow) -> Outlet {
    Outlet::new(flow, MAX_ITEM_BYTES, NOW)
}

fn items(count: u32, bytes: usize) -> Push {
    Push::Items(Chunk { count, bytes: vec![1; bytes].into() })
}

#[test]
fn the_flow_follows_from_the_type() {
    assert_eq!(Flow::of(&Channel::Stream(Some(Type::U8))), Flow::Bytes);
    assert_eq!(Flow::of(&Channel::Stream(Some(Type::Bool))), Flow::Items);
    assert_eq!(Flow::of(&Channel::Stream(Some(Type::Def(0)))), Flow::Items);
    assert_eq!(Flow::of(&Channel::Future(Some(Type::U8))), Flow::One);
    for flow in [Flow::Bytes, Flow::Items, Flow::One] {
        let (window, chunk) = (flow.window(), flow.chunk());
        assert!(chunk.items <= window.items.div_ceil(2) && chunk.bytes <= window.bytes / 2, "{flow:?}");
    }
}

#[test]
fn nothing_is_sent_before_it_is_granted_and_only_one_chunk_waits() {
    let mut outlet = outlet(Flow::Items);
    outlet.push(chunk(0, 3, 8)).unwrap();
    assert_eq!(outlet.transmit(NOW), None);
    assert!(!outlet.is_ready());
    assert_eq!(outlet.push(chunk(3, 1, 8)), Err(NotTaken::Full(chunk(3, 1, 8))));
    outlet.receive(Pull::Grant(Credit { items: 2, bytes: 100 }), NOW).unwrap();
    assert_eq!(outlet.transmit(NOW), None, "it does not fit");
    outlet.receive(Pull::Grant(Credit { items: 3, bytes: 100 }), NOW).unwrap();
    assert_eq!(outlet.transmit(NOW), Some(Push::Items(chunk(0, 3, 8))));
    assert!(outlet.is_ready());
}

#[test]
fn half_of_the_window_is_granted_anew_when_it_was_taken() {
    let mut inlet = inlet(Flow::Items);
    let (chunks, count) = (WINDOW_ITEMS / CHUNK_ITEMS, CHUNK_ITEMS);
    for _ in 0..chunks {
        inlet.receive(items(count, count as usize), NOW).unwrap();
    }
    inlet.take(NOW).unwrap();
    assert_eq!(inlet.transmit(NOW), None, "a quarter was taken");
    inlet.take(NOW).unwrap();
    let taken = u64::from(2 * count);
    let window = Flow::Items.window();
    let granted = Credit { items: taken + window.items, bytes: taken + window.bytes };
    assert_eq!(inlet.transmit(NOW), Some(Pull::Grant(granted)));
    assert_eq!(inlet.transmit(NOW), None);
}

#[test]
fn an_item_that_no_window_lets_through_is_asked_for_and_goes_when_there_is_room_for_it() {
    let mut pair = Pair::new(Flow::Items);
    pair.has_room = false;
    pair.outlet.push(chunk(0, 1, MAX_ITEM_BYTES)).unwrap();
    pair.send();
    assert!(pair.down.is_empty(), "the reader has not shown up");
    pair.deliver_up();
    assert_eq!(pair.down, [Push::Want(MAX_ITEM_BYTES as u64)]);
    pair.settle();
    assert_eq!((pair.inlet.wants(), pair.taken.len()), (Some(MAX_ITEM_BYTES as u64), 0));
    assert_eq!(pair.inlet.beyond(), 0);
    pair.inlet.allow(Duration::MAX);
    assert_eq!(pair.inlet.beyond(), (MAX_ITEM_BYTES - WINDOW_BYTES as usize) as u64);
    pair.outlet.finish();
    pair.settle();
    assert_eq!(pair.taken, [chunk(0, 1, MAX_ITEM_BYTES)]);
    assert_eq!((pair.inlet.beyond(), pair.outlet.ending()), (0, Some(&Ending::Finished)));
}

#[test]
fn smaller_items_need_no_asking_however_they_fall_into_the_window() {
    let half = WINDOW_BYTES as usize / 2;
    let items = [half, half - 1, half / 2 + 1, CHUNK_BYTES as usize].map(|bytes| (Flow::Items, 1, bytes));
    let pieces = [CHUNK_OF_BYTES, CHUNK_OF_BYTES - 1].map(|bytes| (Flow::Bytes, bytes, 1));
    for (flow, count, bytes) in items.into_iter().chain(pieces) {
        let mut pair = Pair::new(flow);
        pair.has_room = false;
        for number in 0..20 {
            while !pair.outlet.is_ready() {
                pair.deliver_down();
                pair.deliver_up();
                pair.take();
            }
            pair.outlet.push(chunk(number, count, bytes)).unwrap();
            pair.send();
            assert!(!pair.down.iter().any(|push| matches!(push, Push::Want(_))));
        }
        pair.outlet.finish();
        pair.settle();
        assert_eq!((pair.taken.len(), pair.outlet.ending()), (20, Some(&Ending::Finished)));
    }
}

#[test]
fn a_large_item_counts_and_holds_up_the_end_until_its_reader_is_done_with_it() {
    for how in ["finished", "failed", "cancelled", "lost"] {
        let mut pair = Pair::new(Flow::Items);
        pair.deliver_up();
        pair.outlet.push(chunk(0, 1, MAX_ITEM_BYTES)).unwrap();
        pair.send();
        pair.deliver_down();
        pair.deliver_up();
        pair.deliver_down();
        assert!(pair.inlet.take(NOW).is_some());
        match how {
            "finished" => pair.outlet.finish(),
            "failed" => pair.outlet.fail(failure()),
            "cancelled" => pair.inlet.cancel(None),
            _ => pair.break_link(),
        }
        pair.send();
        pair.deliver_down();
        pair.deliver_up();
        assert!(pair.inlet.ending().is_none() && !pair.inlet.is_closed() && pair.inlet.beyond() > 0, "{how}");
        pair.inlet.release(NOW);
        assert!(pair.inlet.ending().is_some() && pair.inlet.beyond() == 0, "{how}");
        pair.send();
        pair.settle();
        assert!(pair.inlet.is_closed() && pair.outlet.is_closed(), "{how}");
    }
}

#[test]
fn a_failure_overtakes_what_waits_but_not_what_was_sent() {
    let mut pair = Pair::new(Flow::Items);
    pair.deliver_up();
    pair.outlet.push(chunk(0, 1, 8)).unwrap();
    pair.send();
    // More than is granted: this one waits.
    for number in 1..=5 {
        let _ = pair.outlet.push(chunk(number, 1, CHUNK_BYTES as usize));
        pair.send();
    }
    pair.outlet.fail(failure());
    pair.send();
    let sent = pair.down.len() - 1;
    while !pair.down.is_empty() {
        pair.deliver_down();
    }
    assert_eq!(pair.inlet.ending(), None, "the items come first");
    pair.settle();
    assert_eq!(pair.taken.len(), sent);
    assert_eq!(pair.inlet.ending(), Some(&Ending::Failed(Box::new(failure()))));
    assert_eq!(pair.outlet.ending(), pair.inlet.ending());
}

#[test]
fn a_future_is_finished_by_its_value_and_needs_one() {
    let mut pair = Pair::new(Flow::One);
    pair.outlet.push(chunk(0, 1, 8)).unwrap();
    assert_eq!(pair.outlet.push(chunk(1, 1, 8)), Err(NotTaken::Ended));
    pair.settle();
    assert_eq!(pair.taken, [chunk(0, 1, 8)]);
    assert_eq!((pair.outlet.ending(), pair.inlet.ending()), (Some(&Ending::Finished), Some(&Ending::Finished)));

    // Who reads no further than the value has not cancelled it, though the end may not have arrived.
    let mut pair = Pair::new(Flow::One);
    pair.deliver_up();
    pair.outlet.push(chunk(0, 1, 8)).unwrap();
    pair.send();
    pair.deliver_down();
    pair.take();
    pair.inlet.cancel(None);
    pair.settle();
    assert_eq!((pair.outlet.ending(), pair.inlet.ending()), (Some(&Ending::Finished), Some(&Ending::Finished)));

    let mut pair = Pair::new(Flow::One);
    pair.outlet.finish();
    pair.settle();
    assert!(matches!(pair.inlet.ending(), Some(Ending::Failed(error)) if error.message.contains("before it had")));

    let mut inlet = inlet(Flow::One);
    assert_eq!(inlet.receive(Push::End(End::Finished), NOW), Err(BadStream::NoValue));
}

#[test]
fn what_was_there_before_the_link_broke_is_still_taken() {
    let mut pair = Pair::new(Flow::Items);
    pair.deliver_up();
    pair.outlet.push(chunk(0, 2, 8)).unwrap();
    pair.send();
    pair.deliver_down();
    pair.break_link();
    assert_eq!(pair.outlet.ending(), Some(&Ending::Lost));
    assert_eq!(pair.inlet.ending(), None);
    pair.take();
    assert_eq!(pair.inlet.ending(), Some(&Ending::Lost));

    // The whole stream was there: only the writer cannot know.
    let mut pair = Pair::new(Flow::Items);
    pair.deliver_up();
    pair.outlet.push(chunk(0, 2, 8)).unwrap();
    pair.outlet.finish();
    pair.send();
    pair.deliver_down();
    pair.deliver_down();
    pair.break_link();
    pair.take();
    assert_eq!((pair.outlet.ending(), pair.inlet.ending()), (Some(&Ending::Lost), Some(&Ending::Finished)));
}

#[test]
fn a_cancellation_tells_the_writer_why() {
    let mut pair = Pair::new(Flow::Items);
    pair.deliver_up();
    pair.outlet.push(chunk(0, 1, 8)).unwrap();
    pair.send();
    pair.inlet.cancel(Some(failure()));
    pair.send();
    pair.settle();
    let why = Ending::Cancelled(Some(Box::new(failure())));
    assert_eq!((pair.outlet.ending(), pair.inlet.ending()), (Some(&why), Some(&why)));
    assert!(pair.taken.is_empty() && pair.outlet.is_closed() && pair.inlet.is_closed());
}

#[test]
fn a_reader_is_told_what_a_writer_must_not_do() {
    let over = |count, bytes, items, left| BadStream::OverCredit { count, bytes, left: Credit { items, bytes: left } };
    let bad = |count, bytes| BadStream::BadChunk { count, bytes };
    let (chunk_items, chunk_bytes, piece) = (CHUNK_ITEMS, CHUNK_BYTES as usize, CHUNK_OF_BYTES);
    for (flow, before, push, error) in [
        (Flow::Items, vec![], items(0, 0), bad(0, 0)),
        (Flow::Items, vec![], items(3, 2), bad(3, 2)),
        (Flow::Items, vec![], items(chunk_items + 1, 2000), bad(chunk_items + 1, 2000)),
        (Flow::Items, vec![], items(2, chunk_bytes + 1), bad(2, chunk_bytes + 1)),
        (Flow::Bytes, vec![], items(2, 3), bad(2, 3)),
        (Flow::Bytes, vec![], items(piece + 1, piece as usize + 1), bad(piece + 1, piece as usize + 1)),
        (Flow::Bytes, vec![items(piece, piece as usize); 3], items(1, 1), over(1, 1, 0, 0)),
        (Flow::One, vec![], items(2, 2), bad(2, 2)),
        (Flow::One, vec![items(1, 1)], items(1, 1), over(1, 1, 0, u64::from(WINDOW_BYTES) - 1)),
        (Flow::Items, vec![items(chunk_items, 256); 4], items(1, 1), over(1, 1, 0, u64::from(WINDOW_BYTES) - 1024)),
        (Flow::Items, vec![items(1, chunk_bytes); 4], items(1, 1), over(1, 1, u64::from(WINDOW_ITEMS) - 4, 0)),
        (
            Flow::Items,
            vec![],
            items(1, MAX_ITEM_BYTES + 1),
            BadStream::ItemTooLarge { bytes: MAX_ITEM_BYTES + 1, limit: MAX_ITEM_BYTES },
        ),
        (Flow::Items, vec![], items(1, 300_000), over(1, 300_000, u64::from(WINDOW_ITEMS), u64::from(WINDOW_BYTES))),
        (Flow::Items, vec![], Push::Want(1000), BadStream::BadWish { bytes: 1000 }),
        (Flow::Bytes, vec![], Push::Want(u64::from(piece)), BadStream::BadWish { bytes: u64::from(piece) }),
        (Flow::Items, vec![Push::Want(300_000)], Push::Want(300_000), BadStream::BadWish { bytes: 300_000 }),
        (
            Flow::Items,
            vec![],
            Push::Want(MAX_ITEM_BYTES as u64 + 1),
            BadStream::ItemTooLarge { bytes: MAX_ITEM_BYTES + 1, limit: MAX_ITEM_BYTES },
        ),
        (Flow::Items, vec![Push::End(End::Finished)], Push::Want(300_000), BadStream::AfterEnd { what: "a wish" }),
        (Flow::Items, vec![Push::End(End::Finished)], items(1, 1), BadStream::AfterEnd { what: "items" }),
        (
            Flow::Items,
            vec![Push::End(End::Failed(Box::new(failure())))],
            Push::End(End::Finished),
            BadStream::AfterEnd { what: "the end" },
        ),
        (Flow::Items, vec![], Push::End(End::Stopped), BadStream::Unasked),
    ] {
        let mut inlet = inlet(flow);
        for push in before {
            inlet.receive(push, NOW).unwrap();
        }
        assert_eq!(inlet.receive(push, NOW), Err(error));
    }
}

#[test]
fn a_writer_is_told_what_a_reader_must_not_do() {
    let grant = |items| Pull::Grant(Credit { items, bytes: 10 });
    for (before, pull, error) in [
        (vec![grant(2)], grant(1), BadStream::LessCredit),
        (vec![], Pull::Done, BadStream::DoneTooEarly),
        (vec![Pull::Cancel(None)], grant(1), BadStream::AfterEnd { what: "a grant" }),
        (vec![Pull::Cancel(None)], Pull::Cancel(None), BadStream::AfterEnd { what: "a cancellation" }),
        (vec![Pull::Cancel(None)], Pull::Done, BadStream::AfterEnd { what: "a confirmation" }),
    ] {
        let mut outlet = outlet(Flow::Items);
        for pull in before {
            outlet.receive(pull, NOW).unwrap();
        }
        assert_eq!(outlet.receive(pull, NOW), Err(error));
    }
    let mut outlet = outlet(Flow::Items);
    let too_large = Chunk { count: 1, bytes: Bytes::from(vec![0; MAX_ITEM_BYTES + 1]) };
    assert!(matches!(outlet.push(too_large), Err(NotTaken::Bad(BadStream::ItemTooLarge { .. }))));
}

#[test]
fn the_time_of_the_last_progress_is_that_of_items_and_grants() {
    let at = Duration::from_secs;
    let (mut outlet, mut inlet) = (outlet(Flow::Items), inlet(Flow::Items));
    outlet.push(chunk(0, 1, 8)).unwrap();
    assert_eq!(outlet.transmit(at(1)), None);
    assert_eq!(outlet.last_progress(), NOW, "it waits");
    outlet.receive(Pull::Grant(Flow::Items.window()), at(2)).unwrap();
    assert_eq!(outlet.last_progress(), at(2));
    let push = outlet.transmit(at(3)).unwrap();
    assert_eq!(outlet.last_progress(), at(3));
    inlet.receive(push, at(4)).unwrap();
    assert_eq!(inlet.last_progress(), at(4));
    inlet.take(at(5)).unwrap();
    assert_eq!((inlet.take(at(6)), inlet.last_progress()), (None, at(5)));
}

#[test]
fn the_streams_of_a_call_are_told_apart_and_take_turns() {
    let mut here = Channels::default();
    let mut there = Channels::default();
    for number in 0..3 {
        here.add_outlet(number, outlet(Flow::Items));
        there.add_inlet(number, Inlet::new(Flow::Items, MAX_ITEM_BYTES, NOW));
    }
    // The result's first stream has the same number as the first of the arguments'.
    here.add_inlet(0, Inlet::new(Flow::Bytes, MAX_ITEM_BYTES, NOW));
    there.add_outlet(0, outlet(Flow::Bytes));
    for number in 0..3 {
        here.outlet(number).unwrap().push(chunk(number.into(), 1, 8)).unwrap();
    }
    there.outlet(0).unwrap().push(chunk(9, 5, 1)).unwrap();
    let mut exchange = |rounds: usize| {
        for _ in 0..rounds {
            while let Some((number, message)) = here.transmit(NOW) {
                there.receive(number, message, NOW).unwrap();
            }
            while let Some((number, message)) = there.transmit(NOW) {
                here.receive(number, message, NOW).unwrap();
            }
        }
    };
    exchange(3);
    for number in 0..3 {
        assert_eq!(there.inlet(number).unwrap().take(NOW), Some(chunk(number.into(), 1, 8)));
    }
    assert_eq!(here.inlet(0).unwrap().take(NOW), Some(chunk(9, 5, 1)));

    let mut busy = Channels::default();
    for number in 0..2 {
        let mut outlet = outlet(Flow::Items);
        outlet.receive(Pull::Grant(Flow::Items.window()), NOW).unwrap();
        busy.add_outlet(number, outlet);
    }
    let mut order = Vec::new();
    for at in 0..4 {
        for number in 0..2 {
            let _ = busy.outlet(number).unwrap().push(chunk(at, 1, 8));
        }
        order.push(busy.transmit(NOW).unwrap().0);
    }
    assert_eq!(order, [0, 1, 0, 1]);
}

#[test]
fn a_message_for_a_stream_that_the_call_does_not_have_is_refused() {
    let mut channels = Channels::default();
    channels.add_outlet(0, outlet(Flow::Items));
    let error = channels.receive(0, Message::Push(items(1, 1)), NOW).unwrap_err();
    assert_eq!(error.to_string(), "items for the stream 0, which the call does not have");
    let error = channels.receive(1, Message::Pull(Pull::Done), NOW).unwrap_err();
    assert_eq!(error, BadStream::Unknown { what: "a confirmation", number: 1 });
}

#[test]
fn streams_are_forgotten_when_both_ends_have_said_their_last_word() {
    let mut channels = Channels::default();
    channels.add_outlet(0, outlet(Flow::Items));
    channels.add_inlet(0, Inlet::new(Flow::Items, MAX_ITEM_BYTES, NOW));
    assert_eq!(channels.last_progress(), Some(NOW));
    channels.outlet(0).unwrap().finish();
    channels.inlet(0).unwrap().cancel(None);
    while channels.transmit(NOW).is_some() {}
    assert!(!channels.sweep());
    channels.receive(0, Message::Pull(Pull::Done), NOW).unwrap();
    assert!(!channels.sweep() && channels.outlet(0).is_none());
    channels.receive(0, Message::Push(Push::End(End::Stopped)), NOW).unwrap();
    assert!(channels.sweep() && channels.last_progress().is_none());

    channels.add_outlet(7, outlet(Flow::Items));
    channels.cut(&Ending::Lost, &Ending::Lost);
    assert_eq!(channels.outlet(7).unwrap().ending(), Some(&Ending::Lost));
    assert!(channels.sweep());
}
