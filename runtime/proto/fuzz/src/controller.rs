//! Three peers that say anything to a controller.

use std::time::Duration;

use daffi_proto::controller::{Controller, ControllerConfig, ControllerCounts, Input, Output};
use daffi_proto::frame::{Frame, Header};
use daffi_proto::id::LinkId;
use daffi_proto::session::{PROTOCOL_VERSION, PeerIdentity};

use crate::script::{Script, payload};

/// Most things that a controller does about one thing that happened, with three peers.
const MAX_OUTPUTS: usize = 10_000;

struct Run {
    controller: Controller,
    now: Duration,
    /// The links that are open, as the transport sees it.
    open: Vec<LinkId>,
    last_link: u64,
}

/// Lets the script happen, and looks at what is left when all links are closed and all time is over.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let controller = Controller::new(ControllerConfig::new(u64::from(script.below(4))));
    let mut run = Run { controller, now: Duration::ZERO, open: Vec::new(), last_link: 0 };
    while let Some(what) = script.next() {
        run.step(what, &mut script);
    }
    run.end();
}

impl Run {
    fn step(&mut self, what: u8, script: &mut Script<'_>) {
        let link = self.open.get(usize::from(what >> 6)).copied();
        match (what & 63, link) {
            (0..=1, _) => self.join(script),
            (2, Some(link)) => {
                self.open.retain(|open| *open != link);
                self.input(Input::Closed { link, reason: "gone".to_owned() });
            }
            (3, Some(link)) => self.input(Input::Heard { link }),
            (4, Some(link)) => self.input(Input::NotSent { link, frame: script.frame() }),
            (5, _) if script.below(16) == 0 => self.input(Input::Drain),
            (6..=8, _) => {
                self.now += Duration::from_millis(u64::from(script.below(255)) * 20);
                self.input(Input::Timer);
            }
            (_, Some(link)) => self.input(Input::Frame { link, frame: script.frame() }),
            (_, None) => self.join(script),
        }
    }

    /// A link whose peer says hello as it should.
    fn join(&mut self, script: &mut Script<'_>) {
        if self.open.len() == 3 {
            return;
        }
        self.last_link += 1;
        let link = LinkId(self.last_link);
        self.open.push(link);
        let identity = PeerIdentity::Unix { uid: u32::from(script.below(2)), pid: None };
        self.input(Input::Accepted { link, identity });
        let hello = Header::Hello { version: PROTOCOL_VERSION };
        let frame = Frame::with_payload(hello, payload(&script.hello()));
        self.input(Input::Frame { link, frame });
    }

    fn input(&mut self, input: Input) {
        self.controller.handle(self.now, input);
        for _ in 0..MAX_OUTPUTS {
            match self.controller.poll_output() {
                None => return,
                Some(Output::Send { link, .. }) => {
                    assert!(self.open.contains(&link), "a frame for {link:?}, which is closed");
                }
                Some(Output::Close { link, .. }) => {
                    assert!(self.open.contains(&link), "{link:?} is closed twice");
                    self.open.retain(|open| *open != link);
                }
                Some(Output::Event(_) | Output::Drained) => {}
            }
        }
        panic!("it does not come to rest");
    }

    fn end(&mut self) {
        while let Some(link) = self.open.pop() {
            self.input(Input::Closed { link, reason: "gone".to_owned() });
        }
        while let Some(at) = self.controller.next_timeout() {
            assert!(at < self.now + Duration::from_secs(3600), "a timer of a controller without links");
            self.now = self.now.max(at);
            self.input(Input::Timer);
        }
        assert_eq!(self.controller.counts(), ControllerCounts::default());
    }
}
