//! Attacks on tenants beside the attacker's own: those that it may not know of, and one that it shares a callback with.

use serde_json::json;

use super::{Arena, Case, Group};

/// How the arena's runtime shares: each of the two tenants lets the other call `forward`, and nothing else.
pub const SHARES: &str = "
[tenant.default]
exports = [{ callbacks = ['fixtures:guest/calls#forward'], to = ['bank'] }]
imports = ['bank::fixtures:guest/calls#forward']

[tenant.bank]
exports = [{ callbacks = ['fixtures:guest/calls#forward'], to = ['default'] }]
imports = ['default::fixtures:guest/calls#forward']
";

pub const GROUP: Group = Group {
    name: "tenants",
    cases: &[
        Case {
            attack: "callbacks of another tenant, by their names",
            stopped_by: "tenants: it is told what it is told of one that nobody has",
            sees: "no-such-callback",
            run: foreign_probe,
        },
        Case {
            attack: "names like those of another tenant's callbacks",
            stopped_by: "tenants: only what is shared with it is near",
            sees: "no-such-callback",
            run: near_names,
        },
        Case {
            attack: "a circle of calls through another tenant, to see who is in it",
            stopped_by: "the chain of its callers, without names of others",
            sees: "(another tenant) -> teller -> villain -> teller is a cycle",
            run: circle,
        },
        Case {
            attack: "the end of the runtime where another tenant lives too",
            stopped_by: "`mesh.stop` is never granted there",
            sees: "villain may not stop the runtime",
            run: |arena| arena.said("villain", "stop(7)"),
        },
        Case {
            attack: "a list of whoever is there",
            stopped_by: "tenants: it sees its own",
            sees: "nobody of the bank",
            run: census,
        },
    ],
};

/// What a guest is told of a name, which stands for itself in what it is told.
fn probe(arena: &Arena, name: &str, receiver: &str) -> String {
    arena.said("villain", &format!(r#"forward("{name}", "[]", {receiver}, none)"#)).replace(name, "NAME")
}

/// What a guest is told of a callback of another tenant, where that is also what it is told of one that nobody has.
fn foreign_probe(arena: &Arena) -> String {
    let vault = arena.cluster.runtime("vault").module("vault", "fixtures-names").args(["--tenant", "bank"]).ready();
    let name = "fixtures:names/only#unmistakable";
    let pairs = [
        (probe(arena, name, "none"), probe(arena, "fixtures:names/only#unmistakabbe", "none")),
        (probe(arena, "bank::unmistakable", "none"), probe(arena, "bunk::unmistakabbe", "none")),
        (
            probe(arena, "who", "some(\"vault\")").replace("vault", "IT"),
            probe(arena, "who", "some(\"vauld\")").replace("vauld", "IT"),
        ),
    ];
    drop(vault);
    for (forbidden, unknown) in &pairs {
        assert_eq!(forbidden, unknown);
    }
    let [(seen, _), ..] = pairs;
    seen
}

/// What a guest is told of names that are nearly those of the bank's: nothing but what the bank shares with it.
fn near_names(arena: &Arena) -> String {
    let vault = arena.cluster.runtime("vault").module("vault", "fixtures-names").args(["--tenant", "bank"]).ready();
    let said = ["unmistakabl", "bank::unmistakabl", "bank::wh", "bank::forwar"].map(|name| probe(arena, name, "none"));
    drop(vault);
    let said = said.join("\n");
    for foreign in ["unmistakable", "vault", "strongbox", "sandbox#who"] {
        assert!(!said.contains(foreign), "{foreign:?} is told of: {said}");
    }
    said
}

/// A call of the bank's comes to the attacker, who calls back the one that waits for it.
fn circle(arena: &Arena) -> String {
    let back = json!(["bank::forward", json!(["who", "[]", null, null]).to_string(), "teller", null]);
    let there = json!(["default::forward", back.to_string(), "villain", null]);
    let first = json!(["forward", there.to_string(), "teller", null]).to_string();
    let call = ["call", "--tenant", "bank", "--receiver", "strongbox", "forward", "--json", &first];
    let said = arena.cluster.run(call).success().to_owned();
    assert!(!said.contains("strongbox"), "{said}");
    said
}

/// Who a script of the attacker's tenant sees, and who joins while it watches.
fn census(arena: &Arena) -> String {
    let steps = ["processes", "callbacks", "watch", "times 8 peek-event"];
    let said = arena.cluster.runtime("census").script(&steps).finish().success().to_owned();
    match ["teller", "strongbox"].into_iter().find(|name| said.contains(name)) {
        Some(name) => format!("{name} is seen: {said}"),
        None if said.contains("process villain") => "nobody of the bank".to_owned(),
        None => said,
    }
}
