//! What there is of each tenant, and which links see something of it: those of its nodes, and those that import from it.
//!
//! So what happens in one tenant costs the same however many strangers there are.

use std::collections::{BTreeSet, HashMap};

use super::links::Member;
use crate::id::{EntryId, LinkId, TenantName};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    tenants: HashMap<TenantName, Tenant>,
}

#[derive(Debug, Default)]
struct Tenant {
    entries: BTreeSet<EntryId>,
    seers: BTreeSet<LinkId>,
}

impl Tenants {
    /// A node is there.
    pub fn join(&mut self, link: LinkId, member: &Member) {
        for tenant in seen_by(member) {
            self.tenants.entry(tenant.clone()).or_default().seers.insert(link);
        }
    }

    /// It is gone.
    pub fn part(&mut self, link: LinkId, member: &Member) {
        for tenant in seen_by(member) {
            self.change(tenant, |tenant| tenant.seers.remove(&link));
        }
    }

    /// A process has its name.
    pub fn put(&mut self, tenant: &TenantName, entry: EntryId) {
        self.tenants.entry(tenant.clone()).or_default().entries.insert(entry);
    }

    /// It has it no more.
    pub fn take(&mut self, tenant: &TenantName, entry: EntryId) {
        self.change(tenant, |tenant| tenant.entries.remove(&entry));
    }

    /// The links that may see something of a process of this tenant.
    pub fn seers(&self, tenant: &TenantName) -> impl Iterator<Item = LinkId> {
        self.tenants.get(tenant).into_iter().flat_map(|tenant| tenant.seers.iter().copied())
    }

    /// The processes of a node's own tenants, in the order in which they came.
    pub fn own(&self, member: &Member) -> BTreeSet<EntryId> {
        self.entries(member.tenants.iter())
    }

    /// The same, with those of which it may see something else.
    pub fn seen(&self, member: &Member) -> BTreeSet<EntryId> {
        self.entries(seen_by(member))
    }

    /// How many tenants there are.
    pub fn len(&self) -> usize {
        self.tenants.len()
    }

    fn entries<'a>(&self, tenants: impl Iterator<Item = &'a TenantName>) -> BTreeSet<EntryId> {
        tenants.filter_map(|tenant| self.tenants.get(tenant)).flat_map(|tenant| &tenant.entries).copied().collect()
    }

    fn change(&mut self, name: &TenantName, change: impl FnOnce(&mut Tenant) -> bool) {
        let Some(tenant) = self.tenants.get_mut(name) else { return };
        change(tenant);
        if tenant.entries.is_empty() && tenant.seers.is_empty() {
            self.tenants.remove(name);
        }
    }
}

/// A tenant may come twice; that changes nothing.
fn seen_by(member: &Member) -> impl Iterator<Item = &TenantName> {
    member.tenants.iter().chain(member.imports.iter().map(|import| &import.from))
}
