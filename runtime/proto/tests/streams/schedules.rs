//! Random schedules: whatever the order of pushes, deliveries, takes and ends, items arrive in order, within the
//! window, and each end learns one ending.

use daffi_proto::stream::*;
use proptest::prelude::*;

use super::pair::{MAX_ITEM_BYTES, Pair, chunk, failure};

#[derive(Clone, Copy, Debug)]
enum Act {
    /// The writer has so many items of so many bytes.
    Push(u32, usize),
    Down,
    Up,
    Take,
    Finish,
    Fail,
    Cancel,
    CancelFor,
    Break,
}

fn act(flow: Flow) -> impl Strategy<Value = Act> {
    let push = match flow {
        Flow::One => prop_oneof![9 => Just(Act::Push(1, 8)), 1 => Just(Act::Push(1, MAX_ITEM_BYTES))].boxed(),
        Flow::Bytes => (1..=CHUNK_OF_BYTES).prop_map(|count| Act::Push(count, 1)).boxed(),
        Flow::Items => prop_oneof![
            6 => (1..=CHUNK_ITEMS, 8..=256_usize).prop_map(|(count, bytes)| Act::Push(count, bytes)),
            2 => (8..=CHUNK_BYTES as usize).prop_map(|bytes| Act::Push(1, bytes)),
            2 => (8..=MAX_ITEM_BYTES).prop_map(|bytes| Act::Push(1, bytes)),
        ]
        .boxed(),
    };
    prop_oneof![
        30 => push,
        30 => Just(Act::Down),
        30 => Just(Act::Up),
        30 => Just(Act::Take),
        1 => Just(Act::Finish),
        1 => Just(Act::Fail),
        1 => Just(Act::Cancel),
        1 => Just(Act::CancelFor),
        1 => Just(Act::Break),
    ]
}

fn schedule() -> impl Strategy<Value = (Flow, Vec<Act>)> {
    prop::sample::select(vec![Flow::Bytes, Flow::Items, Flow::One])
        .prop_flat_map(|flow| (Just(flow), prop::collection::vec(act(flow), 0..200)))
}

/// Runs a schedule to its end. Gives what the writer's chunks were.
fn run(pair: &mut Pair, acts: &[Act]) -> Vec<Chunk> {
    let mut pushed: Vec<Chunk> = Vec::new();
    let mut endings = (None, None);
    for act in acts {
        match *act {
            Act::Push(count, bytes) => {
                let first = pushed.iter().map(|chunk| u64::from(chunk.count)).sum();
                let chunk = chunk(first, count, bytes);
                assert_eq!(
                    pair.outlet.is_ready(),
                    pair.outlet.push(chunk.clone()).map(|()| pushed.push(chunk)).is_ok()
                );
                pair.send();
            }
            Act::Down => pair.deliver_down(),
            Act::Up => pair.deliver_up(),
            Act::Take => pair.take(),
            Act::Finish => pair.outlet.finish(),
            Act::Fail => pair.outlet.fail(failure()),
            Act::Cancel => pair.inlet.cancel(None),
            Act::CancelFor => pair.inlet.cancel(Some(failure())),
            Act::Break => pair.break_link(),
        }
        pair.send();
        let now = (pair.outlet.ending().cloned(), pair.inlet.ending().cloned());
        assert!(endings.0.is_none() || endings.0 == now.0, "{endings:?}, and then {now:?}");
        assert!(endings.1.is_none() || endings.1 == now.1, "{endings:?}, and then {now:?}");
        endings = now;
    }
    pair.settle();
    pair.outlet.finish();
    pair.send();
    pair.settle();
    pushed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn items_arrive_in_order_within_the_window_and_both_ends_learn_one_ending((flow, acts) in schedule()) {
        let mut pair = Pair::new(flow);
        let pushed = run(&mut pair, &acts);

        prop_assert!(pair.taken.len() <= pushed.len());
        prop_assert_eq!(&pair.taken[..], &pushed[..pair.taken.len()], "in order, and each once");

        let (items, bytes) = pair.most_in_flight();
        let large = if flow == Flow::Bytes { 0 } else { MAX_ITEM_BYTES as u64 };
        let window = flow.window();
        prop_assert!(items <= window.items, "{items} items in flight");
        prop_assert!(bytes <= window.bytes + large, "{bytes} bytes in flight");
        prop_assert_eq!((pair.inlet.beyond(), pair.inlet.wants()), (0, None));

        let (writer, reader) = (pair.outlet.ending().cloned(), pair.inlet.ending().cloned());
        let (Some(writer), Some(reader)) = (writer, reader) else {
            return Err(TestCaseError::fail("an end without an ending"));
        };
        prop_assert!(pair.outlet.is_closed() && pair.inlet.is_closed());
        if !pair.broken || (writer != Ending::Lost && reader != Ending::Lost) {
            prop_assert_eq!(&writer, &reader);
        }
        if reader == Ending::Finished {
            prop_assert_eq!(pair.taken.len(), pushed.len(), "everything arrived");
        }
        if writer == Ending::Lost || reader == Ending::Lost {
            prop_assert!(pair.broken);
        }
    }

    #[test]
    fn whatever_a_peer_sends_is_taken_or_refused((flow, mut acts) in schedule(), pushes in prop::collection::vec(any_push(), 0..20)) {
        acts.truncate(20);
        let mut pair = Pair::new(flow);
        run(&mut pair, &acts);
        let mut pair_of_stranger = Pair::new(flow);
        let mut received = (0_u64, 0_u64);
        for push in pushes {
            let size = match &push {
                Push::Items(chunk) => (u64::from(chunk.count), chunk.bytes.len() as u64),
                Push::Want(_) | Push::End(_) => (0, 0),
            };
            prop_assert!(pair.inlet.receive(push.clone(), pair.now).is_err(), "after its end");
            match pair_of_stranger.inlet.receive(push, pair.now) {
                Ok(()) => received = (received.0 + size.0, received.1 + size.1),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
        prop_assert!(received.0 <= flow.window().items);
        prop_assert!(received.1 <= flow.window().bytes, "nothing was allowed");
    }
}

fn any_push() -> impl Strategy<Value = Push> {
    prop_oneof![
        6 => (0..=2 * CHUNK_ITEMS, 0..2000_usize).prop_map(|(count, bytes)| {
            Push::Items(Chunk { count, bytes: vec![0; bytes].into() })
        }),
        2 => (0..=2 * MAX_ITEM_BYTES).prop_map(|bytes| Push::Items(Chunk { count: 1, bytes: vec![0; bytes].into() })),
        2 => (0..=2 * MAX_ITEM_BYTES as u64).prop_map(Push::Want),
        1 => Just(Push::End(End::Finished)),
        1 => Just(Push::End(End::Stopped)),
        1 => Just(Push::End(End::Failed(Box::new(failure())))),
    ]
}
