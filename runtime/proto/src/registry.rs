//! Who has which callback, and whom a call goes to.
//!
//! The controller has a registry of all processes, a node has a replica of it together with its own processes; `M` is
//! what each of them calls a process by.
//!
//! ```text
//!   tenant ─▶ function name ─▶ groups (full name, fingerprint) ─▶ members (process, the callback's place there)
//!   tenant, process name ─▶ process
//! ```
//!
//! Invariants: a group exists while it has a member; a process is a member of one group for each of its callbacks;
//! looking up costs the same however many processes and callbacks there are, also such as share a function's name; only
//! versions and signatures of one name are looked at one by one, and [`Registry::near`] looks at [`MAX_LOOKED_AT`] and as many.
//! Nothing here iterates over a hash map where the order could be seen, so that equal inputs give equal outputs.

mod choice;
mod shelf;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

pub use choice::{Choice, MAX_SCANNED_MEMBERS};
pub use table::{Callback, CallbackTable, MAX_CALLBACKS_PER_PROCESS, MAX_TABLE_BYTES, TableError};

use crate::id::{GroupId, ProcessName, ProcessRef, TenantName};
use crate::name::{CallbackName, Lookup, Pattern};
use crate::session::Random;
use crate::signature::{Fingerprint, Signature};

/// What a registry knows of a process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its tenant and name.
    pub process: ProcessRef,
    /// The name of its node.
    pub node: Arc<str>,
    /// How its instances are kept.
    pub instances: Arc<str>,
    /// Its callbacks.
    pub callbacks: Arc<[Callback]>,
}

/// All callbacks with one full name and one signature.
#[derive(Debug)]
pub struct Group<M> {
    /// The full name.
    pub name: CallbackName,
    /// The signature, as the first member registered it.
    pub signature: Arc<Signature>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    members: Vec<Member<M>>,
}

/// A process that has the callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<M> {
    /// The process.
    pub process: M,
    /// The callback's place in its table.
    pub callback: u32,
}

/// Most groups before the place of an unknown name, and most behind it, that are looked at for such as are like it: a
/// millisecond or two, in a task that others wait for.
pub const MAX_LOOKED_AT: usize = 4096;

/// Stands in the place of a callback that a registry does not show.
const NO_GROUP: GroupId = GroupId(0);

/// A process in its place.
#[derive(Debug)]
struct Seat {
    process: Process,
    groups: Vec<GroupId>,
    place: choice::Place,
}

/// What a dynamic caller's text finds.
#[derive(Debug)]
pub enum Found {
    /// One full name with one signature.
    One(GroupId),
    /// One full name with several signatures: the caller must name the process.
    Kinds(Vec<GroupId>),
    /// Nothing, or several names.
    None(Lookup),
}

/// See the module.
#[derive(Debug)]
pub struct Registry<M> {
    seats: BTreeMap<M, Seat>,
    names: HashMap<ProcessRef, Vec<M>>,
    groups: HashMap<GroupId, Group<M>>,
    shelves: HashMap<TenantName, shelf::Shelf>,
    turns: choice::Turns,
    last_group: u64,
}

impl<M: Copy + Ord> Registry<M> {
    /// An empty registry; the seed decides whose turn is first among equals.
    pub fn new(seed: u64) -> Self {
        Self {
            seats: BTreeMap::new(),
            names: HashMap::default(),
            groups: HashMap::default(),
            shelves: HashMap::default(),
            turns: choice::Turns::new(Random::new(seed)),
            last_group: 0,
        }
    }

    /// Puts a process in. A process of the same number is replaced.
    pub fn insert(&mut self, id: M, process: Process) {
        self.insert_part(id, process, |_| true);
    }

    /// Puts a process in with some of its callbacks: the others cannot be found.
    pub fn insert_part(&mut self, id: M, process: Process, shows: impl Fn(&Callback) -> bool) {
        self.remove(id);
        let tenant = process.process.tenant.clone();
        let groups = process
            .callbacks
            .iter()
            .zip(0u32..)
            .map(|(callback, place)| match shows(callback) {
                true => self.join(&tenant, callback, Member { process: id, callback: place }),
                false => NO_GROUP,
            })
            .collect();
        self.names.entry(process.process.clone()).or_default().push(id);
        self.seats.insert(id, Seat { process, groups, place: self.turns.first() });
    }

    /// Takes a process out.
    pub fn remove(&mut self, id: M) -> Option<Process> {
        let seat = self.seats.remove(&id)?;
        for group in seat.groups {
            self.part(&seat.process.process.tenant, group, id);
        }
        if let Some(holders) = self.names.get_mut(&seat.process.process) {
            holders.retain(|holder| *holder != id);
            if holders.is_empty() {
                self.names.remove(&seat.process.process);
            }
        }
        Some(seat.process)
    }

    /// A process by its number.
    pub fn get(&self, id: M) -> Option<&Process> {
        self.seats.get(&id).map(|seat| &seat.process)
    }

    /// The processes of this name: one, but for the short time in which a replica trails the mesh.
    pub fn named(&self, process: &ProcessRef) -> &[M] {
        self.names.get(process).map_or(&[], Vec::as_slice)
    }

    /// The groups of a process, in the order of its callbacks.
    pub fn groups_of(&self, id: M) -> &[GroupId] {
        self.seats.get(&id).map_or(&[], |seat| &seat.groups)
    }

    /// The callbacks of a process that can be found.
    pub fn shown(&self, id: M) -> impl Iterator<Item = &Callback> {
        let seats = self.seats.get(&id).into_iter();
        let callbacks = seats.flat_map(|seat| seat.process.callbacks.iter().zip(&seat.groups));
        callbacks.filter(|(_, group)| **group != NO_GROUP).map(|(callback, _)| callback)
    }

    /// All processes, in the order of their numbers.
    pub fn processes(&self) -> impl Iterator<Item = (M, &Process)> {
        self.seats.iter().map(|(id, seat)| (*id, &seat.process))
    }

    /// How many processes there are.
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// A group by its number.
    pub fn group(&self, id: GroupId) -> Option<&Group<M>> {
        self.groups.get(&id)
    }

    /// The groups of a tenant whose functions have this name, whatever their interfaces.
    pub fn with_function(&self, tenant: &TenantName, function: &str) -> impl Iterator<Item = (GroupId, &Group<M>)> {
        let shelf = self.shelves.get(tenant).into_iter();
        shelf.flat_map(move |shelf| shelf.with_function(function)).filter_map(|id| Some((id, self.groups.get(&id)?)))
    }

    /// Those of them that are in the same interface, whatever their versions; and a few others.
    fn same_but_version(&self, tenant: &TenantName, name: &CallbackName) -> impl Iterator<Item = (GroupId, &Group<M>)> {
        let shelf = self.shelves.get(tenant).into_iter();
        shelf.flat_map(move |shelf| shelf.same_but_version(name)).filter_map(|id| Some((id, self.groups.get(&id)?)))
    }

    /// The groups that serve a caller that asks for this full name, whatever their signatures.
    pub fn matching<'a>(
        &'a self,
        tenant: &TenantName,
        name: &'a CallbackName,
    ) -> impl Iterator<Item = (GroupId, &'a Group<M>)> {
        self.same_but_version(tenant, name).filter(move |(_, group)| name.matches(&group.name))
    }

    /// What a dynamic caller's text finds among the groups that `counts` lets pass.
    pub fn find(&self, tenant: &TenantName, pattern: &Pattern, counts: impl Fn(&Group<M>) -> bool) -> Found {
        let counted = |(_, group): &(GroupId, &Group<M>)| counts(group);
        let groups: Vec<_> = match pattern.full_name() {
            Some(name) => self.same_but_version(tenant, name).filter(counted).collect(),
            None => self.with_function(tenant, &pattern_function(pattern)).filter(counted).collect(),
        };
        let picked = pattern.pick(groups.iter().map(|(_, group)| &group.name)).cloned();
        match picked {
            Ok(name) => {
                let kinds: Vec<_> = groups.iter().filter(|(_, group)| group.name == name).map(|(id, _)| *id).collect();
                match kinds.as_slice() {
                    [one] => Found::One(*one),
                    _ => Found::Kinds(kinds),
                }
            }
            Err(lookup) => Found::None(lookup),
        }
    }

    /// The names that are like one that nobody has, among the groups that `counts` lets pass. It looks at all of them, or at
    /// [`MAX_LOOKED_AT`] on either side of where the name would stand: only for an error that somebody reads.
    pub fn near(&self, tenant: &TenantName, pattern: &Pattern, counts: impl Fn(&Group<M>) -> bool) -> Vec<String> {
        let function = pattern_function(pattern);
        let shelf = self.shelves.get(tenant).into_iter();
        let ids = shelf.flat_map(|shelf| shelf.around(&function, MAX_LOOKED_AT));
        let groups = ids.filter_map(|id| self.groups.get(&id)).filter(|group| counts(group));
        pattern.near(groups.map(|group| &group.name))
    }

    fn join(&mut self, tenant: &TenantName, callback: &Callback, member: Member<M>) -> GroupId {
        let shelf = self.shelves.entry(tenant.clone()).or_default();
        let last = &mut self.last_group;
        let id = shelf.find_or_put(&self.groups, &callback.name, callback.fingerprint, || {
            *last += 1;
            GroupId(*last)
        });
        let group = self.groups.entry(id).or_insert_with(|| Group {
            name: callback.name.clone(),
            signature: callback.signature.clone(),
            fingerprint: callback.fingerprint,
            members: Vec::new(),
        });
        group.members.push(member);
        id
    }

    fn part(&mut self, tenant: &TenantName, id: GroupId, process: M) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.members.retain(|member| member.process != process);
        if !group.members.is_empty() {
            return;
        }
        let Some(group) = self.groups.remove(&id) else { return };
        let Some(shelf) = self.shelves.get_mut(tenant) else { return };
        shelf.take(id, &group);
        if shelf.is_empty() {
            self.shelves.remove(tenant);
        }
    }
}

impl<M> Group<M> {
    /// Who has it.
    pub fn members(&self) -> &[Member<M>] {
        &self.members
    }
}

/// The name of a process in its tenant.
pub fn process_ref(tenant: &TenantName, name: &ProcessName) -> ProcessRef {
    ProcessRef { tenant: tenant.clone(), name: name.clone() }
}

/// The function's name in a dynamic caller's text.
pub fn pattern_function(pattern: &Pattern) -> String {
    let text = pattern.to_string();
    text.rsplit_once('#').map_or(text.as_str(), |(_, function)| function).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{SignatureBuilder, Type};

    fn record(name: &str, callbacks: &[&str]) -> Process {
        let signature = Arc::new(SignatureBuilder::new().function([("a", Type::S64)], None).unwrap());
        let callback = |name: &&str| {
            let name = CallbackName::parse(name).unwrap();
            Callback { name, signature: signature.clone(), fingerprint: signature.fingerprint() }
        };
        Process {
            process: process_ref(&TenantName::default(), &ProcessName::new(name).unwrap()),
            node: "node".into(),
            instances: "singleton".into(),
            callbacks: callbacks.iter().map(callback).collect(),
        }
    }

    fn group(registry: &Registry<u32>, name: &str) -> Option<GroupId> {
        let name = CallbackName::parse(name).unwrap();
        registry.matching(&TenantName::default(), &name).next().map(|(id, _)| id)
    }

    #[test]
    fn a_group_lives_as_long_as_it_has_a_member_and_its_number_is_never_used_again() {
        let mut registry = Registry::new(1);
        registry.insert(1, record("one", &["a:b/c#f", "g"]));
        registry.insert(2, record("two", &["a:b/c#f"]));
        let first = group(&registry, "a:b/c#f").unwrap();
        assert_eq!(registry.groups_of(2), [first]);
        registry.remove(1);
        assert_eq!((group(&registry, "a:b/c#f"), group(&registry, "g")), (Some(first), None));
        registry.remove(2);
        assert_eq!(group(&registry, "a:b/c#f"), None);
        assert!(registry.is_empty() && registry.shelves.is_empty() && registry.groups.is_empty());
        registry.insert(3, record("one", &["a:b/c#f"]));
        assert!(group(&registry, "a:b/c#f").unwrap() > first);
    }

    #[test]
    fn a_process_that_is_put_in_again_replaces_its_former_self() {
        let mut registry = Registry::new(1);
        registry.insert(1, record("one", &["f"]));
        registry.insert(1, record("other", &["g"]));
        assert_eq!((registry.len(), group(&registry, "f")), (1, None));
        let one = record("one", &[]).process;
        assert_eq!(registry.named(&one), [0; 0]);
    }

    #[test]
    fn callbacks_that_are_called_alike_are_found_by_their_full_names_however_many_they_are() {
        let mut registry = Registry::new(1);
        let names: Vec<String> = (0..100)
            .flat_map(|i| [format!("a:b{i}/c#run"), format!("a:b{i}/c@1.{i}.0#run"), format!("c{i}#run")])
            .collect();
        for (name, id) in names.iter().zip(0..) {
            registry.insert(id, record(&format!("p{id}"), &[name]));
        }
        let found = |registry: &Registry<u32>, text: &str| {
            let (tenant, name) = (TenantName::default(), CallbackName::parse(text).unwrap());
            let groups = registry.matching(&tenant, &name);
            let mut names: Vec<String> = groups.map(|(_, group)| group.name.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(found(&registry, "a:b7/c#run"), ["a:b7/c#run", "a:b7/c@1.7.0#run"]);
        assert_eq!(found(&registry, "a:b7/c@1.0.0#run"), ["a:b7/c@1.7.0#run"]);
        assert_eq!(found(&registry, "c7#run"), ["c7#run"]);
        assert_eq!(registry.with_function(&TenantName::default(), "run").count(), names.len());
        // Who comes again is in the group that there is.
        let first = group(&registry, "c7#run");
        registry.insert(1000, record("again", &["c7#run"]));
        assert_eq!(registry.groups_of(1000), [first.unwrap()]);
        for id in (0..300).chain([1000]) {
            registry.remove(id);
        }
        assert!(registry.is_empty() && registry.shelves.is_empty() && registry.groups.is_empty());
    }

    #[test]
    fn of_very_many_names_those_around_the_unknown_one_are_looked_at() {
        let mut registry = Registry::new(1);
        let others = ["before", "behind", "zebra"].map(|word| (0..MAX_LOOKED_AT).map(move |i| format!("{word}-n{i}")));
        let names: Vec<String> = others.into_iter().flatten().chain(["shop-list".to_owned()]).collect();
        registry.insert(1, record("one", &names.iter().map(String::as_str).collect::<Vec<_>>()));
        let near = |text: &str| registry.near(&TenantName::default(), &Pattern::parse(text).unwrap(), |_| true);
        assert_eq!(near("shop-lits"), ["shop-list"]);
        // Too far from where it would stand.
        assert_eq!(near("ashop-list"), [""; 0]);
    }

    #[test]
    fn in_a_large_group_everybody_gets_his_share_for_bounded_work() {
        let mut registry = Registry::new(7);
        let members = 10 * MAX_SCANNED_MEMBERS as u32;
        for id in 0..members {
            registry.insert(id, record(&format!("p{id}"), &["f"]));
        }
        let id = group(&registry, "f").unwrap();
        for _ in 0..4 * members {
            let chosen = registry.best(id, |_| true).unwrap().process;
            registry.began(chosen);
        }
        let counts: Vec<u32> = (0..members).map(|id| registry.in_flight(id).0).collect();
        assert!(counts.iter().all(|count| (3..=5).contains(count)), "{counts:?}");
    }

    #[test]
    fn who_may_not_serve_is_passed_over_however_many_they_are() {
        let mut registry = Registry::new(7);
        for id in 0..1000 {
            registry.insert(id, record(&format!("p{id}"), &["f"]));
        }
        let id = group(&registry, "f").unwrap();
        assert_eq!(registry.best(id, |process| process == 999).unwrap().process, 999);
        assert!(registry.best(id, |_| false).is_none());
    }
}
