//! What must be true of a random run, while it goes on and after it.

use std::collections::BTreeMap;

use daffi_proto::call::{Answer, GatherEnd};
use daffi_proto::error::{Outcome, code};
use daffi_proto::id::Token;

use super::{Endings, Made, NODES, Run, token_of};
use crate::net::Running;

impl Run {
    /// The counts of calls in flight are right wherever nothing is under way: at each node of all that runs there, at
    /// the controller of what runs there for others, and of all else as soon as it was told.
    pub fn check_in_flight(&mut self, seed: u64, told: bool) {
        for node in self.alive.iter().copied() {
            let runtime = &self.net.nodes[node];
            assert_eq!(self.net.count(node).serves, runtime.running.len(), "seed {seed}, node {node}");
        }
        let Some(controller) = self.net.controller.as_ref().filter(|_| self.net.is_quiet()) else { return };
        for (node, id) in self.locals.iter().copied().filter(|(node, _)| self.net.is_sound(*node)) {
            let runtime = &self.net.nodes[node];
            let process = &self.names[&(node, id)];
            // One that was asked for again counts for the link over which it was, and not for that which it began with.
            let moved = |running: &Running| {
                let before = running.incoming.process == id && running.link != Some(self.net.link_of(node));
                before && self.made_by(token_of(&running.incoming)).repeats
            };
            if runtime.running.values().any(moved) {
                continue;
            }
            let Some((relayed, apart)) = controller.in_flight(&crate::net::process(process)) else { continue };
            let for_others: Vec<&Running> = runtime
                .running
                .values()
                .filter(|running| {
                    let caller = self.made_by(token_of(&running.incoming)).node;
                    running.incoming.process == id && running.link == Some(self.net.link_of(node)) && caller != node
                })
                .collect();
            // Of those that came over direct links the controller knows by what it is told.
            let is_right = if self.net.direct {
                relayed as usize <= for_others.len()
            } else {
                relayed as usize == for_others.len()
            };
            assert!(is_right, "seed {seed}: {process} of the node {node}: {relayed} of {}", for_others.len());
            if told {
                let all = runtime.running.values().filter(|running| running.incoming.process == id).count();
                assert_eq!((relayed + apart) as usize, all, "seed {seed}: {process} of the node {node}");
                self.apart += u64::from(apart);
            }
            let unwanted = for_others.iter().filter(|running| !self.is_open(token_of(&running.incoming)));
            self.unwanted += unwanted.count() as u64;
        }
    }

    pub fn check(&self, seed: u64, endings: &mut Endings) {
        let mut serves: BTreeMap<Token, u32> = BTreeMap::new();
        for incoming in self.net.nodes.iter().flat_map(|runtime| &runtime.served) {
            *serves.entry(token_of(incoming)).or_default() += 1;
        }
        for (token, made) in &self.made {
            let served = serves.get(token).copied().unwrap_or(0);
            assert!(served <= 1 || made.repeats, "seed {seed}: {token:?} ran {served} times");
            let ending = self.check_call(seed, *token, made, served);
            *endings.entry(ending).or_default() += 1;
        }
        for (token, made) in &self.gathered {
            self.check_gather(seed, *token, made, endings);
        }
        for (token, made) in &self.asked {
            let runtime = &self.net.nodes[made.node];
            let answered = runtime.waits.contains_key(token) || runtime.resolved.contains_key(token);
            assert!(answered || runtime.dead, "seed {seed}: {token:?} was never answered");
            let late = runtime.ended.get(token).is_some_and(|at| *at > made.deadline);
            assert!(!late, "seed {seed}: {token:?} was answered after its deadline");
        }
        self.nothing_is_left(seed);
    }

    /// How often each process has run a leg of a broadcast.
    fn legs(&self, token: Token) -> BTreeMap<&str, u32> {
        let mut legs: BTreeMap<&str, u32> = BTreeMap::new();
        for (node, runtime) in self.net.nodes.iter().enumerate() {
            for incoming in runtime.served.iter().filter(|incoming| token_of(incoming) == token) {
                *legs.entry(&self.names[&(node, incoming.process)]).or_default() += 1;
            }
        }
        legs
    }

    fn check_gather(&self, seed: u64, token: Token, made: &Made, endings: &mut Endings) {
        let runtime = &self.net.nodes[made.node];
        let ran = self.legs(token);
        assert!(ran.values().all(|times| *times == 1), "seed {seed}: {token:?} ran so often: {ran:?}");
        let mut told = BTreeMap::new();
        for entry in runtime.entries.get(&token).into_iter().flatten() {
            let ran = ran.contains_key(entry.process.as_str());
            let ending = match &entry.result {
                Ok(_) => {
                    assert!(
                        ran || made.answer == Answer::Sent,
                        "seed {seed}: a result of {}, where it never ran",
                        entry.process
                    );
                    "leg ok".to_owned()
                }
                Err(error) => {
                    let truth = match error.outcome {
                        Outcome::NotRun => !ran,
                        Outcome::Failed => ran,
                        Outcome::Unknown => true,
                    };
                    assert!(truth, "seed {seed}: {error:?}");
                    format!("leg {:?} {}", error.outcome, error.code)
                }
            };
            *endings.entry(ending).or_default() += 1;
            assert!(told.insert(&entry.process, ()).is_none(), "seed {seed}: {} is told twice", entry.process);
        }
        let Some(result) = runtime.gathers.get(&token) else {
            return assert!(runtime.dead || made.given_up, "seed {seed}: {token:?} never ended");
        };
        assert!(!made.given_up && runtime.ended[&token] <= made.deadline, "seed {seed}: {token:?} ended too late");
        let ending = match result {
            Ok(GatherEnd::Met) => "gather met".to_owned(),
            Ok(GatherEnd::Unmet) => "gather unmet".to_owned(),
            Err(error) => {
                assert!(error.outcome != Outcome::NotRun || ran.is_empty(), "seed {seed}: {token:?} ran: {error:?}");
                format!("gather {:?} {}", error.outcome, error.code)
            }
        };
        *endings.entry(ending).or_default() += 1;
    }

    /// Returns how the call ended.
    fn check_call(&self, seed: u64, token: Token, made: &Made, served: u32) -> String {
        let runtime = &self.net.nodes[made.node];
        if made.given_up {
            assert!(!runtime.calls.contains_key(&token), "seed {seed}: {token:?} was given up and answered");
            return "given up".to_owned();
        }
        let Some(result) = runtime.calls.get(&token) else {
            assert!(runtime.dead, "seed {seed}: {token:?} never ended");
            return "its runtime was killed".to_owned();
        };
        assert!(
            runtime.ended[&token] <= made.deadline,
            "seed {seed}: {token:?} ended after its deadline: {:?} > {:?}, {:?} {result:?}",
            runtime.ended[&token],
            made.deadline,
            made.answer
        );
        match result {
            Ok(reply) if made.answer != Answer::Result => {
                assert!(reply.result.is_empty());
                assert!(served == 1 || made.answer == Answer::Sent, "seed {seed}: {token:?} was never accepted");
                format!("ok {:?}", made.answer)
            }
            Ok(reply) => {
                assert!(served >= 1, "seed {seed}: {token:?} has a result and never ran");
                assert_eq!(reply.result[..8], token.0.to_le_bytes(), "seed {seed}: the result of another call");
                "ok".to_owned()
            }
            Err(error) => {
                assert!(!made.finish || error.code != code::CANCELLED, "seed {seed}: {token:?}: {error:?}");
                match error.outcome {
                    Outcome::NotRun => assert_eq!(served, 0, "seed {seed}: {token:?} ran, it says not: {error:?}"),
                    Outcome::Failed => assert!(served >= 1, "seed {seed}: {error:?}"),
                    Outcome::Unknown => {}
                }
                format!("{:?} {}", error.outcome, error.code)
            }
        }
    }

    fn nothing_is_left(&self, seed: u64) {
        let controller = self.net.controller.as_ref().unwrap().counts();
        assert_eq!((controller.relays, controller.reserved), (0, 0), "seed {seed}");
        assert_eq!(controller.links, NODES + 1, "seed {seed}");
        let all: usize = self.alive.iter().map(|node| self.net.count(*node).locals).sum();
        assert_eq!((all, controller.processes), (self.locals.len(), all), "seed {seed}");
        for node in &self.alive {
            let counts = self.net.count(*node);
            let open = [counts.calls, counts.asks, counts.away, counts.waiting, counts.deadlines];
            assert_eq!(open, [0; 5], "seed {seed}, node {node}");
            let served = [counts.gathers, counts.serves, counts.incoming, counts.repeats];
            assert_eq!(served, [0; 4], "seed {seed}, node {node}");
            assert_eq!(counts.remotes + counts.locals, all, "seed {seed}, node {node}");
        }
    }
}
