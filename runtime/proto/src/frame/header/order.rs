//! Which frames may go before others that were said earlier and are still to be sent, since they are large.

use super::{CallId, Header, Target};
use crate::call::Hop;

/// What a frame is about, as far as order goes.
enum About<'a> {
    /// The link itself: it says nothing but that its sender lives.
    Link,
    /// A call, and whose; its caller's node numbers it, or ours: one number may be two calls'.
    Call(CallId, Option<(&'a Hop, Target)>),
    /// How busy a process is.
    Load,
    /// Who is there, and what everything else rests on.
    Mesh,
}

impl Header {
    /// Whether a frame with this header may be sent before one with that, which was to be sent earlier. It may when
    /// nobody was promised an order: they are of different calls, and not calls of one process to one process, which begin in their
    /// order. Frames that tell who is there stay where they are, before and behind all others; how busy a process is, is told before
    /// what follows.
    pub fn may_pass(&self, earlier: &Self) -> bool {
        match (self.about(), earlier.about()) {
            (About::Link, _) | (_, About::Link) => true,
            (About::Mesh, _) | (_, About::Mesh) => false,
            // Who is answered finds in a list what it came to.
            (About::Call(..) | About::Load, About::Load) => false,
            (About::Load, About::Call(..)) => true,
            (About::Call(call, begins), About::Call(other, has_begun)) => {
                call != other && !begins.zip(has_begun).is_some_and(|(one, other)| begin_in_order(one, other))
            }
        }
    }

    fn about(&self) -> About<'_> {
        match self {
            Self::Ping | Self::Pong => About::Link,
            // A chain without an end is refused by whoever gets it.
            Self::Call { id, target, chain, .. } => match chain.last() {
                Some(caller) => About::Call(*id, Some((caller, *target))),
                None => About::Mesh,
            },
            Self::Reply { id, .. }
            | Self::Fail { id, .. }
            | Self::Cancel { id, .. }
            | Self::Ended { id }
            | Self::Accepted { id, .. } => About::Call(*id, None),
            Self::Items { stream, .. }
            | Self::End { stream, .. }
            | Self::Grant { stream, .. }
            | Self::Done { stream }
            | Self::Halt { stream }
            | Self::Want { stream, .. } => About::Call(stream.call, None),
            Self::Load { .. } | Self::Usage { .. } | Self::Busy { .. } => About::Load,
            _ => About::Mesh,
        }
    }
}

/// Whether these are calls of one process, and may be to one.
fn begin_in_order((caller, target): (&Hop, Target), (other, to): (&Hop, Target)) -> bool {
    // Nobody can say of clients, which have no names, that they are two.
    let one_caller = caller.process == other.process;
    let one_callee = match (target, to) {
        (Target::Any(_), _) | (_, Target::Any(_)) => true,
        (Target::Process(one, _) | Target::Tasks(one), Target::Process(other, _) | Target::Tasks(other)) => {
            one == other
        }
        (Target::Direct(one, _), Target::Direct(other, _)) => one == other,
        (Target::Callback(one, _) | Target::TasksHere(one), Target::Callback(other, _) | Target::TasksHere(other)) => {
            one == other
        }
        // These do not go over one link.
        _ => true,
    };
    one_caller && one_callee
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::call::{Answer, Load, Mode};
    use crate::frame::{Side, StreamRef};
    use crate::id::{EntryId, GroupId, ProcessRef, TenantName};
    use crate::stream::Flows;

    fn hop(name: &str) -> Hop {
        let process = ProcessRef { tenant: TenantName::default(), name: name.parse().unwrap() };
        Hop { process: Some(process), instance: 0 }
    }

    fn call(id: u64, caller: &str, target: Target) -> Header {
        Header::Call {
            id: CallId(id),
            target,
            timeout_ms: 1000,
            chain: Arc::from([hop("above"), hop(caller)]),
            answer: Answer::Result,
            mode: Mode::Whole,
            channels: Flows::default(),
            key: None,
        }
    }

    fn reply(id: u64) -> Header {
        Header::Reply { id: CallId(id), process: None, open: false, channels: Flows::default() }
    }

    fn items(id: u64) -> Header {
        Header::Items { stream: StreamRef { call: CallId(id), from: Side::Caller, number: 0 }, count: 1 }
    }

    fn load() -> Header {
        Header::Load { number: 1, load: Load::default(), apart: 0 }
    }

    fn to(process: u64) -> Target {
        Target::Process(EntryId(process), GroupId(1))
    }

    #[test]
    fn what_is_of_another_call_passes() {
        let large = call(7, "a", to(1));
        for passes in [
            reply(8),
            items(8),
            Header::Cancel { id: CallId(6), lost: false },
            call(8, "b", to(1)),
            call(8, "a", to(2)),
            load(),
            Header::Ping,
        ] {
            assert!(passes.may_pass(&large), "{}", passes.kind());
        }
        assert!(call(8, "a", to(1)).may_pass(&reply(7)));
    }

    #[test]
    fn calls_of_one_process_to_one_begin_in_their_order() {
        assert!(!call(8, "a", to(1)).may_pass(&call(7, "a", to(1))));
        // It may be the same.
        assert!(!call(8, "a", Target::Any(GroupId(2))).may_pass(&call(7, "a", to(1))));
        assert!(!call(8, "a", to(1)).may_pass(&call(7, "a", Target::Any(GroupId(1)))));
        assert!(!call(8, "a", Target::Tasks(EntryId(1))).may_pass(&call(7, "a", to(1))));
        assert!(!call(8, "a", Target::Callback(1, 2)).may_pass(&call(7, "a", Target::Callback(1, 0))));
        assert!(call(8, "a", Target::Callback(2, 0)).may_pass(&call(7, "a", Target::TasksHere(1))));
        assert!(call(8, "a", Target::Direct(EntryId(2), 0)).may_pass(&call(7, "a", Target::Direct(EntryId(1), 0))));
    }

    #[test]
    fn what_is_of_one_call_stays_in_order() {
        for follows in
            [items(7), reply(7), Header::Cancel { id: CallId(7), lost: false }, Header::Ended { id: CallId(7) }]
        {
            assert!(!follows.may_pass(&call(7, "a", to(1))), "{}", follows.kind());
            assert!(!follows.may_pass(&reply(7)), "{}", follows.kind());
        }
    }

    #[test]
    fn who_is_there_is_told_before_and_behind_all_else() {
        for mesh in [Header::Drain, Header::Leave, Header::Gone { entry: EntryId(1) }, Header::Synced] {
            assert!(!mesh.may_pass(&reply(7)), "{}", mesh.kind());
            assert!(!reply(7).may_pass(&mesh), "{}", mesh.kind());
            assert!(!load().may_pass(&mesh), "{}", mesh.kind());
        }
        assert!(!load().may_pass(&load()) && !reply(8).may_pass(&load()));
        let mut unchained = call(8, "b", to(2));
        if let Header::Call { chain, .. } = &mut unchained {
            *chain = Arc::default();
        }
        assert!(!unchained.may_pass(&reply(7)));
    }
}
