//! What was decoded lately. Names and chains of calls come again with each call; what comes again is not made again.
//!
//! A thread keeps as many values as there are places, each where its hash says, until another one of that place comes. So what a
//! peer sends can make it forget, and nothing else: it grows with nothing.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

/// Values that were decoded lately.
#[derive(Debug)]
pub(crate) struct Recent<T, const PLACES: usize> {
    places: [Option<T>; PLACES],
}

impl<T: Clone, const PLACES: usize> Recent<T, PLACES> {
    pub const fn new() -> Self {
        Self { places: [const { None }; PLACES] }
    }

    /// The value that is this one, or else a new one, which is kept.
    ///
    /// # Errors
    /// That of making it.
    pub fn find_or_make<K: Hash + ?Sized, E>(
        &mut self,
        key: &K,
        is: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let place = usize::try_from(FixedState::default().hash_one(key) % PLACES as u64).unwrap_or(0);
        let Some(place) = self.places.get_mut(place) else { return make() };
        if let Some(known) = place.as_ref().filter(|known| is(known)) {
            return Ok(known.clone());
        }
        let made = make()?;
        *place = Some(made.clone());
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;

    fn find(recent: &mut Recent<Arc<str>, 2>, text: &str) -> Arc<str> {
        recent.find_or_make(text, |known| **known == *text, || Ok::<_, Infallible>(text.into())).unwrap()
    }

    #[test]
    fn what_comes_again_is_the_same_until_others_took_its_place() {
        let mut recent = Recent::new();
        let first = find(&mut recent, "one");
        assert!(Arc::ptr_eq(&first, &find(&mut recent, "one")));
        for other in 0..100 {
            let other = other.to_string();
            assert_eq!(*find(&mut recent, &other), *other);
        }
        let again = find(&mut recent, "one");
        assert_eq!(again, first);
        assert!(!Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn what_cannot_be_made_takes_no_place() {
        let mut recent = Recent::<Arc<str>, 1>::new();
        let first = recent.find_or_make("one", |_| true, || Ok::<Arc<str>, &str>("one".into())).unwrap();
        assert_eq!(recent.find_or_make("two", |known| **known == *"two", || Err("no")), Err("no"));
        let again = recent.find_or_make("one", |known| **known == *"one", || Err("no")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }
}
