//! What tenants share: which callbacks one offers to another, and which of those that one takes.
//!
//! ```text
//!   acme's node    Register … exports: to globex, demo:shop/*             ─┐
//!                                                                          ├─ shared where both cover the name
//!   globex's node  Hello … imports: into globex, from acme, demo:shop/p*  ─┘
//! ```
//!
//! Nothing is shared by one side alone, and nothing by default. An export belongs to a process, since whoever registers
//! it speaks for its tenant; an import belongs to a node, which sees through it what others of its tenant may not.

use serde::{Deserialize, Serialize};

use crate::id::TenantName;
use crate::name::{CallbackName, NameGlob};

/// Most exports of a process.
pub const MAX_EXPORTS: usize = 64;

/// Most imports of a node: they are part of its first frame.
pub const MAX_IMPORTS: usize = 32;

/// Callbacks of a process that another tenant may import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// That tenant.
    pub to: TenantName,
    /// Which callbacks.
    pub callbacks: NameGlob,
}

/// Callbacks of another tenant that a node's processes of one tenant may call, if they are exported to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// The tenant whose processes may call them.
    pub into: TenantName,
    /// The tenant that has them.
    pub from: TenantName,
    /// Which callbacks.
    pub callbacks: NameGlob,
}

/// Whether a callback of a process of `from`, with these exports, may be called from `into` through these imports.
pub fn is_shared(
    (from, exports): (&TenantName, &[Export]),
    (into, imports): (&TenantName, &[Import]),
    callback: &CallbackName,
) -> bool {
    let offered = || exports.iter().any(|export| export.to == *into && export.callbacks.matches(callback));
    let taken = |import: &Import| import.into == *into && import.from == *from && import.callbacks.matches(callback);
    from != into && imports.iter().any(taken) && offered()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_shared_where_both_sides_say_so_and_only_there() {
        let tenant = |name: &str| TenantName::new(name).unwrap();
        let (acme, globex, initech) = (tenant("acme"), tenant("globex"), tenant("initech"));
        let glob = |text: &str| NameGlob::parse(text).unwrap();
        let exports = [Export { to: globex.clone(), callbacks: glob("demo:shop/*") }];
        let import = |into: &TenantName, from: &TenantName| Import {
            into: into.clone(),
            from: from.clone(),
            callbacks: glob("demo:shop/prices#*"),
        };
        let imports = [import(&globex, &acme), import(&initech, &acme), import(&acme, &acme)];
        let shared = |into: &TenantName, callback: &str| {
            is_shared((&acme, &exports), (into, &imports), &CallbackName::parse(callback).unwrap())
        };
        assert!(shared(&globex, "demo:shop/prices#of"));
        // Exported, and not imported.
        assert!(!shared(&globex, "demo:shop/stock#of"));
        // Imported, and not exported.
        assert!(!shared(&initech, "demo:shop/prices#of"));
        assert!(!shared(&acme, "demo:shop/prices#of"));
        assert!(!is_shared(
            (&globex, &exports),
            (&globex, &imports),
            &CallbackName::parse("demo:shop/prices#of").unwrap()
        ));
    }
}
