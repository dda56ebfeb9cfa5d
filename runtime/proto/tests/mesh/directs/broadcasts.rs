//! Broadcasts between nodes that can reach each other.

use daffi_proto::call::{GatherRequest, Need};

use super::*;

impl Pair {
    fn broadcast(&mut self) -> daffi_proto::id::Token {
        let request = GatherRequest { call: call(Some(self.main), SUM), need: Need::All, stall: None };
        self.net.gather(self.consumer, request)
    }

    /// How many have given a value.
    fn values(&self, token: daffi_proto::id::Token) -> usize {
        let entries = self.net.nodes[self.consumer].entries.get(&token);
        entries.map_or(0, |entries| entries.iter().filter(|entry| entry.result.is_ok()).count())
    }

    fn relays(&self) -> usize {
        self.net.controller.as_ref().unwrap().counts().relays
    }
}

#[test]
fn a_broadcast_has_links_opened_to_all_and_none_of_its_parts_passes_the_controller() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed);
        let others = ["one", "two", "three"].map(|name| pair.net.member(name, &[SUM]));
        pair.net.settle();
        pair.does(Behaviour::Hold);
        for (node, process) in others {
            pair.net.nodes[node].behaviours.insert(process, Behaviour::Hold);
        }
        let token = pair.broadcast();
        pair.net.settle();
        assert_eq!((pair.net.count(pair.consumer).directs.0, pair.relays()), (4, 0), "seed {seed}");
        for node in others.map(|(node, _)| node).into_iter().chain([pair.publisher]) {
            let held = pair.net.nodes[node].served.last().unwrap().id;
            pair.net.answer(node, held, Ok(Bytes::from_static(b"\x02")));
        }
        pair.net.settle();
        assert_eq!(pair.values(token), 4);
        assert_eq!(pair.net.count(pair.consumer).waiting, 0);
    }
}

#[test]
fn a_broadcast_that_waits_for_its_links_keeps_its_place_among_calls() {
    for seed in 0..30 {
        let mut pair = Pair::new(seed);
        pair.net.settle();
        pair.does(Behaviour::Hold);
        let kinds = [false, true, false, true, true, false];
        for is_broadcast in kinds {
            let eta = call(Some(pair.main), SUM);
            let tag = if is_broadcast { b"\x04" } else { b"\x02" };
            let request = CallRequest { args: Bytes::from_static(tag), ..eta };
            match is_broadcast {
                true => {
                    pair.net.gather(pair.consumer, GatherRequest { call: request, need: Need::All, stall: None });
                }
                false => {
                    pair.net.call(pair.consumer, request);
                }
            }
        }
        pair.net.settle();
        let served = &pair.net.nodes[pair.publisher].served;
        let began: Vec<bool> = served.iter().map(|incoming| incoming.args[..] == [4]).collect();
        assert_eq!(began, kinds, "seed {seed}");
    }
}

#[test]
fn who_cannot_be_reached_gets_his_part_by_the_controller() {
    let mut pair = Pair::new(3);
    pair.net.direct = false;
    pair.net.member("hermit", &[SUM]);
    pair.net.direct = true;
    pair.net.settle();
    let token = pair.broadcast();
    pair.net.settle();
    assert_eq!(pair.values(token), 2);
    assert_eq!(pair.net.count(pair.consumer).directs.0, 1);
}

#[test]
fn a_broadcast_that_is_given_up_while_it_waits_for_its_links_leaves_nothing() {
    for seed in 0..10 {
        let mut pair = Pair::new(seed);
        pair.net.settle();
        let token = pair.broadcast();
        assert_eq!(pair.net.count(pair.consumer).waiting, 1, "seed {seed}");
        pair.net.command(pair.consumer, Command::Cancel(token));
        pair.net.settle();
        assert_eq!((pair.values(token), pair.net.count(pair.consumer).waiting), (0, 0), "seed {seed}");
        assert!(pair.net.nodes[pair.publisher].served.is_empty());
    }
}

#[test]
fn a_broadcast_waits_no_longer_for_a_link_than_calls_do() {
    let mut pair = Pair::new(4);
    pair.net.settle();
    // Nobody answers what the node asks the controller from here on, until it has given up.
    pair.net.silence(pair.publisher);
    pair.broadcast();
    pair.net.run(ROAD_PATIENCE - ms(100));
    assert_eq!(pair.net.count(pair.consumer).waiting, 1);
    pair.net.run(ms(200));
    assert_eq!(pair.net.count(pair.consumer).waiting, 0);
    assert_eq!(pair.relays(), 1);
}

#[test]
fn one_way_that_is_slow_to_open_holds_up_nobody_elses_part() {
    let mut pair = Pair::open(5);
    let (slow, _) = pair.net.member("slow", &[SUM]);
    pair.net.settle();
    pair.net.silence(slow);
    pair.does(Behaviour::Hold);
    let request = CallRequest { args: Bytes::from_static(b"\x04"), ..call(Some(pair.main), SUM) };
    pair.net.gather(pair.consumer, GatherRequest { call: request, need: Need::All, stall: None });
    let request = CallRequest { receiver: Some(name("publisher")), ..call(Some(pair.main), SUM) };
    pair.net.call(pair.consumer, request);
    pair.net.run(ms(500));
    assert_eq!(pair.net.count(pair.consumer).waiting, 1);
    let began: Vec<u8> =
        pair.net.nodes[pair.publisher].served.iter().skip(1).map(|incoming| incoming.args[0]).collect();
    assert_eq!(began.first(), Some(&4));
    assert_eq!(began.len(), 2);
}

#[test]
fn a_part_that_waited_for_its_way_has_its_deadline_all_the_same() {
    let mut pair = Pair::new(6);
    pair.net.settle();
    // Just enough for it to wait; and the way takes longer than any that is given up.
    let request = CallRequest { timeout: ROAD_PATIENCE * 2, ..call(Some(pair.main), SUM) };
    pair.net.silence(pair.consumer);
    let token = pair.net.gather(pair.consumer, GatherRequest { call: request, need: Need::All, stall: None });
    pair.net.run(ROAD_PATIENCE * 3);
    let entries = &pair.net.nodes[pair.consumer].entries[&token];
    assert_eq!(entries.len(), 1);
    assert!(entries[0].result.is_err());
    assert_eq!(pair.net.count(pair.consumer).waiting, 0);
}
