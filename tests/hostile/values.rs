//! Attacks with arguments and results: giant ones, and such as claim or nest more than they are.

use super::{Case, Group};

pub const GROUP: Group = Group {
    name: "values",
    cases: &[
        Case {
            attack: "a giant result",
            stopped_by: "`max-payload`",
            sees: "failed, payload-too-large",
            run: |arena| arena.said("villain", "big-result(2000000)"),
        },
        Case {
            attack: "a giant argument",
            stopped_by: "`max-payload`",
            sees: "not-run payload-too-large",
            run: |arena| arena.said("hostile", "giant-argument(2000000)"),
        },
        Case {
            attack: "a list of more items than its bytes hold, in postcard",
            stopped_by: "the check of arguments before a call",
            sees: "not-run bad-arguments",
            run: |arena| arena.said("hostile", "announced-list()"),
        },
        Case {
            attack: "a list of very many items, in JSON",
            stopped_by: "items of lists; `max-payload`",
            sees: "not-run payload-too-large",
            run: |arena| arena.said("hostile", "long-json(1100000)"),
        },
        Case {
            attack: "brackets in brackets, in JSON",
            stopped_by: "the check of arguments before a call",
            sees: "not-run bad-arguments",
            run: |arena| arena.said("hostile", "deep-json(1000000)"),
        },
        Case {
            attack: "options in options, in WAVE",
            stopped_by: "the check of arguments before a call",
            sees: "not-run bad-arguments",
            run: |arena| arena.said("hostile", "deep-wave(200000)"),
        },
    ],
};
