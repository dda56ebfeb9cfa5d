//! The table of what an instance holds of the host: the handles of `daffi:runtime` and of WASI.
//!
//! ```text
//!   entries:  held  held  free  held  free  plug  plug
//!                          └──────┬────┘
//!             leased from the tenant, as all that are held: what a function of the host may make
//! ```
//!
//! Functions of the host, WASI's as ours, put things into the table and take them out without telling anybody, and a table
//! tells no more than that it is full. So where the tenant has a ceiling, a table is kept full: what is not leased is
//! plugged. Whenever a function asks for it, what is free is plugged too, which tells how many are held, and a few are
//! leased anew for this function. Where the tenant has none, the table is what it is, and all this costs nothing.
//!
//! Invariants: there are never more things in a table than are leased, nor more than its instance may hold; what is leased is
//! given back as handles are dropped, and all of it with the table. What was dropped last counts until the instance calls
//! the host again.

use std::sync::Arc;

use wasmtime::component::{Resource, ResourceTable};

use super::ceiling::{Ceiling, CeilingReached, Kind};

/// How many handles a function of the host makes at most: something to wait for and what it waits for, or the two streams
/// of a connection. Only one makes more: that which gives a guest its folders.
const MADE_AT_ONCE: usize = 2;

/// The handles of an instance.
pub(super) struct HandleTable {
    table: ResourceTable,
    lease: Option<Lease>,
}

/// What is leased of the tenant.
struct Lease {
    ceiling: Arc<Ceiling>,
    /// Most handles of the instance.
    most: usize,
    /// How many may be made before the table is asked for again.
    spare: usize,
    leased: usize,
    /// Entries that the table has, whatever is in them.
    entries: usize,
    plugs: Vec<Resource<Plug>>,
    /// Why it was less than wanted, where it was.
    refused: Option<CeilingReached>,
}

/// Keeps a place of the table.
struct Plug;

impl HandleTable {
    /// Of an instance that may hold so many, and is given this many folders.
    pub fn new(most: usize, folders: usize, ceiling: Arc<Ceiling>) -> Self {
        let mut table = ResourceTable::new();
        if !ceiling.bounds(Kind::Handles) {
            table.set_max_capacity(most);
            return Self { table, lease: None };
        }
        table.set_max_capacity(0);
        let (spare, plugs) = (MADE_AT_ONCE.max(folders), Vec::new());
        Self { table, lease: Some(Lease { ceiling, most, spare, leased: 0, entries: 0, plugs, refused: None }) }
    }

    /// The table, for one function of the host.
    pub fn get(&mut self) -> &mut ResourceTable {
        if let Some(lease) = &mut self.lease {
            lease.renew(&mut self.table);
        }
        &mut self.table
    }

    /// Why there was no room for all that the last function may have made, where that was the tenant's.
    pub fn refused(&self) -> Option<&CeilingReached> {
        self.lease.as_ref()?.refused.as_ref()
    }
}

impl Lease {
    fn renew(&mut self, table: &mut ResourceTable) {
        while let Ok(plug) = table.push(Plug) {
            self.plugs.push(plug);
        }
        let held = self.entries.saturating_sub(self.plugs.len());
        self.lease((held + self.spare).min(self.most));
        for _ in held..self.leased {
            match self.plugs.pop() {
                // It is there, and has no children.
                Some(plug) => drop(table.delete(plug)),
                None => {
                    self.entries += 1;
                    table.set_max_capacity(self.entries);
                }
            }
        }
    }

    /// Leases so many, or what the tenant has left.
    fn lease(&mut self, wanted: usize) {
        self.refused = None;
        if wanted < self.leased {
            self.ceiling.give(Kind::Handles, self.leased - wanted);
            self.leased = wanted;
        }
        while self.leased < wanted {
            match self.ceiling.take(Kind::Handles, 1) {
                Ok(()) => self.leased += 1,
                Err(reached) => {
                    self.refused = Some(reached);
                    return;
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ceiling.give(Kind::Handles, self.leased);
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::TenantName;

    use super::*;
    use crate::guest::ceiling::CeilingLimits;

    fn ceiling(handles: Option<usize>) -> Arc<Ceiling> {
        Arc::new(Ceiling::new(TenantName::default(), CeilingLimits { handles, ..CeilingLimits::default() }))
    }

    /// How many more the tenant has room for.
    fn left(ceiling: &Ceiling) -> usize {
        let taken = (0..).take_while(|_| ceiling.take(Kind::Handles, 1).is_ok()).count();
        ceiling.give(Kind::Handles, taken);
        taken
    }

    #[test]
    fn tables_of_a_tenant_share_its_handles_and_what_is_dropped_makes_room() {
        let ceiling = ceiling(Some(10));
        let new = || HandleTable::new(8, 0, ceiling.clone());
        let (mut one, mut other) = (new(), new());
        let mut held: Vec<_> = (0..6).map(|number| one.get().push(number).unwrap()).collect();
        assert_eq!(left(&ceiling), 10 - 6 - 1, "and one that it did not need");
        let third = (0..3).map(|number| other.get().push(number).unwrap()).last().unwrap();
        assert!(other.get().push(3).is_err());
        assert!(other.refused().unwrap().to_string().contains("max-handles"));
        for handle in held.drain(..4) {
            one.get().delete(handle).unwrap();
        }
        one.get();
        assert!(other.get().push(3).is_ok() && other.refused().is_none());
        other.get().delete(third).unwrap();
        other.get();
        assert_eq!(left(&ceiling), 10 - (2 + 2) - (3 + 2));
        drop(one);
        assert_eq!(left(&ceiling), 10 - (3 + 2));
        drop(other);
        assert_eq!(left(&ceiling), 10);
    }

    #[test]
    fn a_table_that_was_large_holds_no_more_than_it_leases_again() {
        let ceiling = ceiling(Some(100));
        let mut table = HandleTable::new(1000, 3, ceiling.clone());
        let held: Vec<_> = (0..90).map(|number| table.get().push(number).unwrap()).collect();
        for handle in held {
            table.get().delete(handle).unwrap();
        }
        table.get();
        assert_eq!(left(&ceiling), 100 - 3, "as many as folders may come at once");
        ceiling.take(Kind::Handles, 97).unwrap();
        let table = table.get();
        let made = (0..).take_while(|number| table.push(*number).is_ok()).count();
        assert_eq!(made, 3, "its free entries are plugged");
    }

    #[test]
    fn an_instance_has_no_more_handles_than_its_own_limit_with_a_ceiling_and_without() {
        for handles in [None, Some(10)] {
            let mut table = HandleTable::new(4, 0, ceiling(handles));
            let made = (0..).take_while(|number| table.get().push(*number).is_ok()).count();
            assert_eq!((made, table.refused()), (4, None));
        }
    }
}
