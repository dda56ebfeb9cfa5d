//! The groups of a tenant by their names.
//!
//! ```text
//!   function name ─▶ Few: the groups, as they came          up to 8, as of almost every function
//!                 └▶ Many: in the order of interface, version and fingerprint
//! ```
//!
//! Callbacks that are called alike (`run`, in a thousand interfaces), or as many versions of one, make nobody slow: one search
//! finds a group among many, and those of one interface's function stand side by side.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use foldhash::HashMap;

use super::Group;
use crate::id::GroupId;
use crate::name::CallbackName;
use crate::signature::Fingerprint;

/// Most groups that are looked at one by one.
const FEW: usize = 8;

/// Before all others of one name.
const FIRST: Fingerprint = Fingerprint([0; 16]);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    functions: HashMap<Arc<str>, Alike>,
    /// Their names in order: what is looked up is hashed, and what is like it stands near it.
    order: BTreeSet<Arc<str>>,
}

/// The groups of one function's name.
#[derive(Debug)]
enum Alike {
    Few(Vec<GroupId>),
    Many(BTreeMap<Label, GroupId>),
}

/// Where a group stands among many.
#[derive(Debug, PartialEq, Eq)]
struct Label {
    name: CallbackName,
    fingerprint: Fingerprint,
}

impl Shelf {
    /// The group of this name and signature, or one that is put there and is not among `groups` yet.
    pub fn find_or_put<M>(
        &mut self,
        groups: &HashMap<GroupId, Group<M>>,
        name: &CallbackName,
        fingerprint: Fingerprint,
        new: impl FnOnce() -> GroupId,
    ) -> GroupId {
        let label = |id: GroupId| Some((Label::of(groups.get(&id)?), id));
        let alike = match self.functions.get_mut(name.function()) {
            Some(alike) => alike,
            None => {
                let function: Arc<str> = name.function().into();
                self.order.insert(function.clone());
                self.functions.entry(function).or_insert(Alike::Few(Vec::new()))
            }
        };
        if let Alike::Few(ids) = alike {
            let is_it = |group: &Group<M>| group.fingerprint == fingerprint && group.name == *name;
            if let Some(id) = ids.iter().find(|id| groups.get(id).is_some_and(is_it)) {
                return *id;
            }
            if ids.len() < FEW {
                let id = new();
                ids.push(id);
                return id;
            }
            *alike = Alike::Many(ids.iter().copied().filter_map(label).collect());
        }
        match alike {
            Alike::Many(ids) => *ids.entry(Label { name: name.clone(), fingerprint }).or_insert_with(new),
            Alike::Few(_) => new(),
        }
    }

    /// Takes out a group.
    pub fn take<M>(&mut self, id: GroupId, group: &Group<M>) {
        let function = group.name.function();
        let is_empty = match self.functions.get_mut(function) {
            None => return,
            Some(Alike::Few(ids)) => {
                ids.retain(|other| *other != id);
                ids.is_empty()
            }
            Some(Alike::Many(ids)) => {
                ids.remove(&Label::of(group));
                ids.is_empty()
            }
        };
        if is_empty {
            self.functions.remove(function);
            self.order.remove(function);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// The groups of a function's name, in whatever interfaces.
    pub fn with_function(&self, function: &str) -> impl Iterator<Item = GroupId> {
        self.functions.get(function).into_iter().flat_map(Alike::all)
    }

    /// The groups of an interface's function, in whatever versions; and a few others, where looking at them is as quick.
    pub fn same_but_version(&self, name: &CallbackName) -> impl Iterator<Item = GroupId> {
        self.functions.get(name.function()).into_iter().flat_map(|alike| alike.same_but_version(name))
    }

    /// So many groups at most on either side of where a function's name stands, or would: the names around it begin as it
    /// does.
    pub fn around(&self, function: &str, most: usize) -> impl Iterator<Item = GroupId> {
        let groups = |name: &Arc<str>| self.functions.get(name).into_iter().flat_map(Alike::all);
        let before = self.order.range::<str, _>((Bound::Unbounded, Bound::Excluded(function))).rev();
        let from = self.order.range::<str, _>((Bound::Included(function), Bound::Unbounded));
        before.flat_map(groups).take(most).chain(from.flat_map(groups).take(most))
    }
}

impl Alike {
    fn parts(&self) -> (&[GroupId], Option<&BTreeMap<Label, GroupId>>) {
        match self {
            Self::Few(ids) => (ids, None),
            Self::Many(ids) => (&[], Some(ids)),
        }
    }

    fn all(&self) -> impl Iterator<Item = GroupId> {
        let (few, many) = self.parts();
        few.iter().chain(many.into_iter().flat_map(BTreeMap::values)).copied()
    }

    fn same_but_version(&self, name: &CallbackName) -> impl Iterator<Item = GroupId> {
        let (few, many) = self.parts();
        let among_many = many.into_iter().flat_map(move |ids| {
            let from = ids.range(Label { name: name.without_version(), fingerprint: FIRST }..);
            from.take_while(|(label, _)| label.name.same_but_version(name)).map(|(_, id)| id)
        });
        few.iter().chain(among_many).copied()
    }
}

impl Label {
    fn of<M>(group: &Group<M>) -> Self {
        Self { name: group.name.clone(), fingerprint: group.fingerprint }
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.name, &other.name);
        let names = a.function().cmp(b.function()).then_with(|| a.interface().cmp(&b.interface()));
        names.then_with(|| a.version().cmp(&b.version())).then_with(|| self.fingerprint.cmp(&other.fingerprint))
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
