//! Chains of calls, which come again: a chain that is read or made is mostly one that was there before.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};

use super::{Hop, MAX_CHAIN};
use crate::recent::Recent;

/// Places for chains that a thread decoded lately.
const RECENT_CHAINS: usize = 64;

thread_local! {
    /// Where hops are read to, before it is known whether they are new.
    static READ: Cell<Vec<Hop>> = const { Cell::new(Vec::new()) };
    static RECENT: RefCell<Recent<Arc<[Hop]>, RECENT_CHAINS>> = const { RefCell::new(Recent::new()) };
}

/// Reads a chain. Longer ones than [`MAX_CHAIN`] are not remembered: what they are to whom reads them is his affair.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<[Hop]>, D::Error> {
    deserializer.deserialize_seq(Hops)
}

/// The chain of these hops, in their order.
pub(crate) fn of(hops: impl IntoIterator<Item = Hop>) -> Arc<[Hop]> {
    let mut read = READ.try_with(Cell::take).unwrap_or_default();
    read.clear();
    read.extend(hops);
    known(read)
}

/// The chain that is read: the same as before, if it is not new.
fn known(mut hops: Vec<Hop>) -> Arc<[Hop]> {
    if hops.len() > MAX_CHAIN {
        return hops.into();
    }
    let new = || Ok::<_, Infallible>(Arc::from(hops.as_slice()));
    let find = |recent: &RefCell<Recent<Arc<[Hop]>, RECENT_CHAINS>>| {
        recent.borrow_mut().find_or_make(hops.as_slice(), |known| **known == *hops, new)
    };
    let Ok(chain) = RECENT.try_with(find).unwrap_or_else(|_| new());
    hops.clear();
    let _ = READ.try_with(|read| read.set(hops));
    chain
}

struct Hops;

impl<'de> Visitor<'de> for Hops {
    type Value = Arc<[Hop]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a chain of calls")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut hops = READ.try_with(Cell::take).unwrap_or_default();
        hops.clear();
        while let Some(hop) = seq.next_element()? {
            hops.push(hop);
        }
        Ok(known(hops))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ProcessRef, TenantName};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Carrier(#[serde(deserialize_with = "deserialize")] Arc<[Hop]>);

    fn hop(name: &str) -> Hop {
        let process = ProcessRef { tenant: TenantName::default(), name: name.parse().unwrap() };
        Hop { process: Some(process), instance: 7 }
    }

    fn there_and_back(chain: &[Hop]) -> Arc<[Hop]> {
        let bytes = postcard::to_stdvec(&Carrier(chain.into())).unwrap();
        postcard::from_bytes::<Carrier>(&bytes).unwrap().0
    }

    #[test]
    fn a_chain_that_comes_again_is_the_same_and_long_ones_are_read_too() {
        let one = [hop("one"), Hop { process: None, instance: 0 }];
        let first = there_and_back(&one);
        assert_eq!(*first, one);
        assert!(Arc::ptr_eq(&first, &there_and_back(&one)));
        assert!(there_and_back(&[]).is_empty());
        let long: Vec<Hop> = (0..=MAX_CHAIN).map(|number| hop(&format!("p{number}"))).collect();
        assert_eq!(*there_and_back(&long), *long);
        assert_eq!(*there_and_back(&one), one);
        let other = there_and_back(&[hop("two")]);
        assert_eq!(*other, [hop("two")]);
    }
}
