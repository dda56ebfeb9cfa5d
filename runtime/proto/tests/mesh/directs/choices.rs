//! Whom a call goes to that several processes could serve, where their nodes are linked directly, and where one is not.

use super::*;

#[test]
fn calls_that_several_processes_could_serve_go_to_the_one_with_the_fewest_whoever_called_it() {
    let mut net = Net::new(20);
    net.direct = true;
    let (busy, b) = net.member("b", &[SUM]);
    let (idle, _) = net.member("c", &[SUM]);
    let client = net.client();
    net.nodes[busy].behaviours.insert(b, Behaviour::Hold);
    for _ in 0..3 {
        let request = CallRequest { receiver: Some(name("b")), timeout: secs(600), ..call(None, SUM) };
        net.call(client, request);
    }
    net.settle();
    let (consumer, main) = net.member("consumer", &[]);
    // The first one waits for both links, with which both nodes say how busy they are.
    for _ in 0..3 {
        let token = net.call(consumer, call(Some(main), SUM));
        net.run(ms(100));
        assert!(net.result(consumer, token).is_ok());
    }
    assert_eq!(net.count(consumer).directs, (2, 0));
    let before = net.frames_sent_directly;
    for _ in 0..4 {
        let token = net.call(consumer, call(Some(main), SUM));
        net.settle();
        assert!(net.result(consumer, token).is_ok());
    }
    assert_eq!(net.nodes[idle].served.len(), 7, "none went to the busy one");
    assert!(net.frames_sent_directly - before >= 8);
    // And when it is free again, it is told so, and its turn comes.
    let held: Vec<_> = net.nodes[busy].served.iter().map(|incoming| incoming.id).collect();
    for id in held {
        net.answer(busy, id, Ok(Bytes::new()));
    }
    net.nodes[busy].behaviours.insert(b, Behaviour::Echo(ms(0)));
    net.run(secs(1));
    for _ in 0..4 {
        net.call(consumer, call(Some(main), SUM));
        net.settle();
    }
    assert_eq!((net.nodes[busy].served.len(), net.nodes[idle].served.len()), (3 + 2, 7 + 2));
}

#[test]
fn who_was_called_by_the_controller_before_there_was_a_link_is_known_to_be_busy() {
    for seed in 0..8 {
        let mut net = Net::new(seed);
        net.direct = true;
        let (server, b) = net.member("b", &[SUM]);
        let c = net.add(server, "c", &[SUM]);
        let (consumer, main) = net.member("consumer", &[]);
        for process in [b, c] {
            net.nodes[server].behaviours.insert(process, Behaviour::Hold);
        }
        // It has no time to wait for the link.
        net.call(consumer, CallRequest { timeout: secs(3), ..call(Some(main), SUM) });
        net.settle();
        let held = net.nodes[server].served.last().unwrap().process;
        assert_eq!(net.count(consumer).directs, (1, 0), "the first one had it opened, and took the other way");
        let free = if held == b { c } else { b };
        net.nodes[server].behaviours.insert(free, Behaviour::Echo(ms(0)));
        for _ in 0..4 {
            let token = net.call(consumer, call(Some(main), SUM));
            net.settle();
            assert!(net.result(consumer, token).is_ok(), "seed {seed}");
        }
        assert!(net.frames_sent_directly >= 8);
    }
}

#[test]
fn a_call_that_was_under_way_when_the_link_came_is_no_load_any_more_when_it_is_over() {
    for seed in 0..8 {
        let mut net = Net::new(seed);
        net.direct = true;
        let [(b, one), (c, other)] = ["b", "c"].map(|name| net.member(name, &[SUM]));
        for (node, process) in [(b, one), (c, other)] {
            net.nodes[node].behaviours.insert(process, Behaviour::Echo(ms(30)));
        }
        let (consumer, main) = net.member("consumer", &[]);
        for _ in 0..8 {
            // The first ones have no time to wait for the links.
            let token = net.call(consumer, CallRequest { timeout: secs(3), ..call(Some(main), SUM) });
            net.settle();
            assert!(net.result(consumer, token).is_ok());
        }
        assert_eq!((net.nodes[b].served.len(), net.nodes[c].served.len()), (4, 4), "seed {seed}");
        assert_eq!(net.count(consumer).directs, (2, 0));
    }
}

#[test]
fn what_a_node_told_of_its_calls_is_forgotten_with_the_link() {
    let mut net = Net::new(24);
    net.direct = true;
    let (server, b) = net.member("b", &[SUM]);
    let client = net.client();
    net.nodes[server].behaviours.insert(b, Behaviour::Hold);
    for _ in 0..5 {
        net.call(client, CallRequest { timeout: secs(600), ..call(None, SUM) });
    }
    net.settle();
    net.nodes[server].behaviours.insert(b, Behaviour::Echo(ms(0)));
    let (consumer, main) = net.member("consumer", &[]);
    net.add(consumer, "own", &[SUM]);
    let calls = |net: &mut Net| {
        for _ in 0..4 {
            let token = net.call(consumer, call(Some(main), SUM));
            net.settle();
            assert!(net.result(consumer, token).is_ok());
        }
        net.nodes[server].served.len()
    };
    let told = calls(&mut net);
    assert_eq!(net.count(consumer).directs, (1, 0));
    assert_eq!(calls(&mut net), told, "it is known to have five");
    net.cut_directs(consumer);
    for id in net.nodes[server].served.iter().take(5).map(|incoming| incoming.id).collect::<Vec<_>>() {
        net.answer(server, id, Ok(Bytes::new()));
    }
    net.settle();
    assert_eq!(calls(&mut net), told + 2, "they take turns");
}

#[test]
fn turns_go_on_where_the_controller_left_them() {
    let mut net = Net::new(21);
    net.direct = true;
    let (b, _) = net.member("b", &[SUM]);
    let (c, _) = net.member("c", &[SUM]);
    let (consumer, main) = net.member("consumer", &[]);
    for _ in 0..20 {
        net.call(consumer, call(Some(main), SUM));
        net.settle();
    }
    assert_eq!((net.nodes[b].served.len(), net.nodes[c].served.len()), (10, 10));
}

#[test]
fn where_one_of_several_nodes_cannot_be_reached_the_controller_compares_them() {
    let mut net = Net::new(22);
    net.direct = true;
    net.member("b", &[SUM]);
    net.direct = false;
    net.member("c", &[SUM]);
    net.direct = true;
    let (consumer, main) = net.member("consumer", &[]);
    for _ in 0..10 {
        let token = net.call(consumer, call(Some(main), SUM));
        net.settle();
        assert!(net.result(consumer, token).is_ok());
    }
    assert_eq!(net.count(consumer).directs, (1, 0), "it is opened, and not taken");
    let request = CallRequest { receiver: Some(name("b")), ..call(Some(main), SUM) };
    let before = net.frames_sent_directly;
    net.call(consumer, request);
    net.settle();
    assert_eq!(net.frames_sent_directly - before, 2);
}
