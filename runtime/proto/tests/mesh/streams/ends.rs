//! However a stream ends: both ends learn it, and nothing is left.

use daffi_proto::call::{CallRequest, WhenAbandoned};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::Token;
use daffi_proto::node::Command;
use daffi_proto::stream::{Ending, Flow};

use super::{DONE, Pair, both, holder, nothing_is_left};
use crate::net::{Behaviour, Net, SUM, below, call, chunk, made, secs, served};

fn failure() -> CallError {
    CallError::failed(code::TRAP, "it trapped", SUM)
}

fn failed() -> Ending {
    Ending::Failed(Box::new(failure()))
}

fn cancelled(why: CallError) -> Ending {
    Ending::Cancelled(Some(Box::new(why)))
}

/// The code of the error that an end was told.
fn code_of(ending: Option<Ending>) -> String {
    ending.and_then(|ending| ending.error()).map(|error| error.code).unwrap_or_default()
}

/// A call with a stream either way, both open, and something under way in each.
fn open(pair: &mut Pair) -> Token {
    let token = pair.call(&[Flow::Items]);
    let id = pair.incoming().id;
    pair.net.reply(pair.callee, id, "ok", &[Flow::Items]);
    pair.net.settle();
    pair.net.write(pair.caller, made(token, 0), chunk(1, 1, 1));
    pair.net.write(pair.callee, served(id, 0), chunk(2, 1, 1));
    pair.net.settle();
    token
}

#[test]
fn a_failure_in_mid_stream_comes_behind_the_items_before_it() {
    for mut pair in both() {
        let token = open(&mut pair);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.fail_stream(caller, made(token, 0), failure());
        pair.net.fail_stream(callee, served(id, 0), failure());
        pair.net.settle();
        let told = (Some(failed()), Some(failed()));
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), told);
        assert_eq!(pair.endings((callee, served(id, 0)), (caller, made(token, 0))), told);
        assert_eq!(pair.net.reader(callee, served(id, 0)).bytes(), [1]);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn either_reader_may_stop_and_the_writer_learns_why() {
    for mut pair in both() {
        let token = open(&mut pair);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.stop_reading(callee, served(id, 0), Some(failure()));
        pair.net.stop_reading(caller, made(token, 0), None);
        pair.net.settle();
        let told = (Some(cancelled(failure())), Some(cancelled(failure())));
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), told);
        let told = (Some(Ending::Cancelled(None)), Some(Ending::Cancelled(None)));
        assert_eq!(pair.endings((callee, served(id, 0)), (caller, made(token, 0))), told);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn a_call_that_fails_ends_the_streams_of_its_arguments_with_its_error() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
        pair.net.settle();
        pair.net.answer(callee, id, Err(failure()));
        pair.net.settle();
        assert_eq!(pair.net.error(caller, token).code, code::TRAP);
        let told = (Some(cancelled(failure())), Some(cancelled(failure())));
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), told);
        pair.nothing_is_left();
    }
}

#[test]
fn a_caller_who_is_told_why_he_waits_no_longer_has_no_streams_either() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.command(callee, Command::Answered { id, error: failure() });
        pair.net.settle();
        let told = (Some(cancelled(failure())), Some(cancelled(failure())));
        assert_eq!(pair.endings((caller, made(token, 0)), (callee, served(id, 0))), told);
        assert_eq!(pair.net.count(callee).serves, 1, "it runs on");
        // A result with streams comes too late: nobody reads them.
        pair.net.reply(callee, id, "late", &[Flow::Items]);
        assert_eq!(code_of(pair.net.writer(callee, served(id, 0)).ending.clone()), code::CANCELLED);
        pair.net.answer(callee, id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn giving_up_a_call_before_its_answer_ends_its_streams_at_both_ends() {
    for mut pair in both() {
        let token = pair.call(&[Flow::Items]);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.write(caller, made(token, 0), chunk(1, 1, 1));
        pair.net.command(caller, Command::Cancel(token));
        pair.net.settle();
        let (writer, reader) = pair.endings((caller, made(token, 0)), (callee, served(id, 0)));
        assert_eq!((code_of(writer).as_str(), code_of(reader).as_str()), (code::CANCELLED, code::CANCELLED));
        assert_eq!(pair.net.nodes[callee].cancelled, [id]);
        pair.net.answer(callee, id, Err(failure()));
        pair.nothing_is_left();
    }
}

#[test]
fn streams_end_with_what_their_call_is_made_for_also_after_the_answer() {
    for finish in [false, true] {
        let mut net = Net::new(4);
        let (middle, middle_process) = holder(&mut net, "middle");
        let (leaf, process) = net.member("leaf", &["c#f"]);
        net.nodes[leaf].behaviours.insert(process, Behaviour::Hold);
        let client = net.client();
        let outer = net.call(client, CallRequest { receiver: Some(crate::net::name("middle")), ..call(None, SUM) });
        net.settle();
        let parent = net.nodes[middle].served[0].clone();
        let when_abandoned = if finish { WhenAbandoned::Finish } else { WhenAbandoned::Cancel };
        let inner = CallRequest { channels: [Flow::Items].into(), when_abandoned, ..below(&parent, "c#f") };
        let inner = net.call(middle, inner);
        net.settle();
        let mut pair = Pair { net, callee: leaf, process: middle_process, caller: middle };
        let id = pair.incoming().id;
        pair.net.reply(leaf, id, "ok", &[Flow::Items]);
        pair.net.settle();
        pair.net.command(client, Command::Cancel(outer));
        pair.net.settle();
        let up = pair.endings((middle, made(inner, 0)), (leaf, served(id, 0)));
        let down = pair.endings((leaf, served(id, 0)), (middle, made(inner, 0)));
        if finish {
            assert_eq!((up, down), ((None, None), (None, None)));
            pair.net.finish(middle, made(inner, 0));
            pair.net.finish(leaf, served(id, 0));
        } else {
            for ending in [up.0, up.1, down.0, down.1] {
                assert_eq!(code_of(ending), code::CANCELLED);
            }
        }
        pair.net.settle();
        pair.net.answer(leaf, id, Ok("".into()));
        pair.net.answer(middle, parent.id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn the_end_of_a_served_call_leaves_the_streams_of_the_made_call_with_the_same_number_alone() {
    for is_cut in [false, true] {
        let mut net = Net::new(5);
        let (middle, process) = holder(&mut net, "middle");
        let (leaf, leaf_process) = net.member("leaf", &["c#f"]);
        net.nodes[leaf].behaviours.insert(leaf_process, Behaviour::Hold);
        let caller = net.client();
        // Both are the first on their side of the link of "middle".
        let mut pair = Pair { net, callee: middle, process, caller };
        let outer = pair.call(&[Flow::Items]);
        let outer_id = pair.incoming().id;
        let inner = pair.net.call(middle, CallRequest { channels: [Flow::Items].into(), ..call(None, "c#f") });
        pair.net.settle();
        let inner_id = pair.net.nodes[leaf].served[0].id;
        pair.net.reply(leaf, inner_id, "ok", &[Flow::Items]);
        pair.net.settle();

        if is_cut {
            pair.net.command(caller, Command::Cancel(outer));
        } else {
            pair.net.finish(caller, made(outer, 0));
        }
        pair.net.answer(middle, outer_id, Ok("".into()));
        pair.net.settle();
        pair.net.write(leaf, served(inner_id, 0), chunk(1, 1, 1));
        pair.net.finish(leaf, served(inner_id, 0));
        pair.net.finish(middle, made(inner, 0));
        pair.net.settle();
        assert_eq!(pair.net.reader(middle, made(inner, 0)).bytes(), [1]);
        assert_eq!(pair.endings((leaf, served(inner_id, 0)), (middle, made(inner, 0))), DONE);
        assert_eq!(pair.endings((middle, made(inner, 0)), (leaf, served(inner_id, 0))), DONE);
        pair.net.answer(leaf, inner_id, Ok("".into()));
        pair.nothing_is_left();
    }
}

#[test]
fn when_the_callers_link_breaks_both_ends_learn_it_and_what_arrived_can_be_read() {
    let mut pair = Pair::remote(5);
    let token = open(&mut pair);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    pair.net.slow_reader(caller, made(token, 0), true);
    for byte in 3..6 {
        pair.net.write(callee, served(id, 0), chunk(byte, 1, 1));
    }
    pair.net.settle();
    pair.net.cut(caller);
    pair.net.settle();
    assert_eq!(pair.net.writer(caller, made(token, 0)).ending, Some(Ending::Lost));
    assert_eq!(pair.net.reader(caller, made(token, 0)).ending, None, "there is more to read");
    pair.net.slow_reader(caller, made(token, 0), false);
    let reader = pair.net.reader(caller, made(token, 0));
    assert_eq!((reader.bytes().as_slice(), &reader.ending), (&[2, 3, 4, 5][..], &Some(Ending::Lost)));
    let (writer, reader) = pair.endings((callee, served(id, 0)), (callee, served(id, 0)));
    assert_eq!((code_of(writer).as_str(), code_of(reader).as_str()), (code::CANCELLED, code::CANCELLED));
    assert_eq!(pair.net.nodes[callee].cancelled, [id]);
    pair.net.answer(callee, id, Ok("".into()));
    pair.net.run(secs(1));
    pair.nothing_is_left();
}

#[test]
fn when_the_callees_link_breaks_both_ends_learn_it() {
    for answered in [true, false] {
        let mut pair = Pair::remote(6);
        let token = if answered { open(&mut pair) } else { pair.call(&[Flow::Items]) };
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.cut(callee);
        pair.net.settle();
        let up = pair.endings((caller, made(token, 0)), (callee, served(id, 0)));
        assert_eq!(up, (Some(Ending::Lost), Some(Ending::Lost)));
        if answered {
            let down = pair.endings((callee, served(id, 0)), (caller, made(token, 0)));
            assert_eq!(down, (Some(Ending::Lost), Some(Ending::Lost)));
        } else {
            assert_eq!(pair.net.error(caller, token).code, code::LINK_LOST);
        }
        pair.net.answer(callee, id, Ok("".into()));
        pair.net.run(secs(1));
        pair.nothing_is_left();
    }
}

#[test]
fn a_node_that_dies_or_leaves_ends_the_streams_of_others_at_once() {
    for leaves in [true, false] {
        let mut pair = Pair::remote(7);
        let token = open(&mut pair);
        let (caller, callee) = (pair.caller, pair.callee);
        if leaves {
            pair.net.command(callee, Command::Leave);
        } else {
            pair.net.kill_node(callee);
        }
        pair.net.settle();
        assert_eq!(pair.net.writer(caller, made(token, 0)).ending, Some(Ending::Lost));
        assert_eq!(pair.net.reader(caller, made(token, 0)).ending, Some(Ending::Lost));
        let counts = pair.net.controller.as_ref().unwrap().counts();
        assert_eq!((counts.relays, counts.streams, pair.net.count(caller).exchanges), (0, 0, 0));
    }
}

#[test]
fn a_process_that_is_taken_off_ends_its_calls_with_their_streams_in_its_own_time() {
    for mut pair in both() {
        let token = open(&mut pair);
        let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
        pair.net.command(callee, Command::RemoveProcess(pair.process));
        pair.net.write(caller, made(token, 0), chunk(9, 1, 1));
        pair.net.settle();
        assert_eq!(pair.net.reader(callee, served(id, 0)).bytes(), [1, 9]);
        pair.net.fail_stream(callee, served(id, 0), failure());
        pair.net.stop_reading(callee, served(id, 0), Some(failure()));
        pair.net.answer(callee, id, Ok("".into()));
        pair.net.settle();
        assert_eq!(pair.net.reader(caller, made(token, 0)).ending, Some(failed()));
        assert_eq!(pair.net.writer(caller, made(token, 0)).ending, Some(cancelled(failure())));
        pair.nothing_is_left();
    }
}

#[test]
fn draining_waits_for_streams_at_both_ends_and_at_the_controller() {
    let mut pair = Pair::remote(9);
    let token = open(&mut pair);
    let (id, caller, callee) = (pair.incoming().id, pair.caller, pair.callee);
    for node in [caller, callee] {
        pair.net.command(node, Command::Drain);
    }
    pair.net.controller_input(daffi_proto::controller::Input::Drain);
    pair.net.answer(callee, id, Ok("".into()));
    pair.net.finish(caller, made(token, 0));
    pair.net.settle();
    let drained = |pair: &Pair, node: usize| pair.net.nodes[node].log.contains(&"drained".to_owned());
    assert!(!drained(&pair, caller) && !drained(&pair, callee) && !pair.net.drained);
    pair.net.finish(callee, served(id, 0));
    pair.net.settle();
    assert!(drained(&pair, caller) && drained(&pair, callee) && pair.net.drained);
    nothing_is_left(&pair.net);
}

#[test]
fn a_call_that_finds_nobody_ends_its_writers() {
    let mut pair = Pair::remote(10);
    let caller = pair.caller;
    let token = pair.call_with(CallRequest { channels: [Flow::Items, Flow::One].into(), ..call(None, "no#where") });
    let error = pair.net.error(caller, token).clone();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::NO_SUCH_CALLBACK));
    for number in [0, 1] {
        assert_eq!(code_of(pair.net.writer(caller, made(token, number)).ending.clone()), error.code);
    }
    pair.nothing_is_left();
}
