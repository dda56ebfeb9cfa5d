//! Names that are like one that nobody has, for "did you mean".
//!
//! Thousands of names may have to be looked at in a task that others wait for, because of one typing error. So names are
//! left out first by what letters they have, which takes tens of nanoseconds; and of the rest a bounded number is
//! compared.

use super::MAX_NEAR_MATCHES;

/// Names this like each other are near, of 0 to 1.
pub(crate) const NEAR: f64 = 0.6;

/// Most names that are compared letter by letter for one error: a millisecond or two.
const MAX_COMPARED_NAMES: usize = 256;

/// Names longer than this, in bytes, are near only when they are equal: the comparison is quadratic.
const MAX_COMPARED_BYTES: usize = 96;

/// A name that others are compared with.
pub(crate) struct Likeness<'a> {
    wanted: &'a str,
    letters: [u8; 128],
}

impl<'a> Likeness<'a> {
    /// How like others are to this name.
    pub fn to(wanted: &'a str) -> Self {
        let mut letters = [0u8; 128];
        for byte in wanted.bytes() {
            if let Some(count) = letters.get_mut(usize::from(byte & 0x7f)) {
                *count = count.saturating_add(1);
            }
        }
        Self { wanted, letters }
    }

    /// Of these, those that may be near by what letters they have; of too many, those whose letters differ least.
    pub fn candidates<T: Ord>(&self, names: impl Iterator<Item = T>, text: impl Fn(&T) -> &str) -> Vec<T> {
        let counted = names.filter_map(|name| Some((self.differences(text(&name))?, name)));
        let mut near: Vec<(usize, T)> = counted.collect();
        if near.len() > MAX_COMPARED_NAMES {
            near.select_nth_unstable(MAX_COMPARED_NAMES);
            near.truncate(MAX_COMPARED_NAMES);
        }
        near.into_iter().map(|(_, name)| name).collect()
    }

    /// How many letters only one of the two has, where that lets them be near.
    fn differences(&self, name: &str) -> Option<usize> {
        let longer = name.len().max(self.wanted.len());
        if longer > MAX_COMPARED_BYTES {
            return (name == self.wanted).then_some(0);
        }
        let mut left = self.letters;
        let mut common = 0_usize;
        for byte in name.bytes() {
            if let Some(count) = left.get_mut(usize::from(byte & 0x7f)).filter(|count| **count > 0) {
                *count -= 1;
                common += 1;
            }
        }
        // A letter of several bytes counts for less than it should: then the comparison decides.
        let near = common as f64 >= NEAR * longer as f64 || !name.is_ascii() || !self.wanted.is_ascii();
        near.then_some(longer - common)
    }

    /// From 0 to 1, which is equal.
    pub fn of(&self, name: &str) -> f64 {
        if name == self.wanted {
            return 1.0;
        }
        if self.differences(name).is_none() {
            return 0.0;
        }
        let longer = name.chars().count().max(self.wanted.chars().count());
        1.0 - strsim::osa_distance(name, self.wanted) as f64 / longer.max(1) as f64
    }
}

/// Of these names, those that are like one that nobody has, [`MAX_NEAR_MATCHES`] at most, the likest first. It looks at all of
/// them: only for an error that somebody reads.
pub fn names_like<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let likeness = Likeness::to(wanted);
    let near = likeness.candidates(names, |name| name).into_iter().map(|name| (likeness.of(name), name));
    let mut near: Vec<(f64, &str)> = near.filter(|(likeness, _)| *likeness >= NEAR).collect();
    near.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.cmp(y)));
    near.dedup();
    near.into_iter().take(MAX_NEAR_MATCHES).map(|(_, name)| name.to_owned()).collect()
}

/// The end of a sentence about an unknown name: `` ; did you mean `a` or `b`? ``, or nothing.
pub fn nearest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; did you mean `{}`?", near.join("` or `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_near_has_the_letters_for_it() {
        let names = ["sum", "smu", "sums", "product", "produkt", "größe", "grösse", "", "a-b-c", "c-b-a"];
        for a in names {
            for b in names {
                let likeness = Likeness::to(a);
                let longer = a.chars().count().max(b.chars().count()).max(1);
                let truth = 1.0 - strsim::osa_distance(a, b) as f64 / longer as f64;
                assert!(truth < NEAR || likeness.differences(b).is_some(), "{a} {b}: {truth}");
                assert!(likeness.of(b) == truth || truth < NEAR, "{a} {b}: {truth}");
            }
        }
    }

    #[test]
    fn of_very_many_names_those_are_compared_that_are_likest_by_their_letters() {
        let names: Vec<String> =
            (0..10_000).map(|i| format!("function-{i}")).chain(["function-abc".to_owned()]).collect();
        let candidates = Likeness::to("function-abd").candidates(names.iter(), |name| name);
        assert_eq!(candidates.len(), MAX_COMPARED_NAMES);
        assert!(candidates.contains(&&"function-abc".to_owned()));
    }

    #[test]
    fn the_likest_names_come_first_and_each_once() {
        let names = ["shop", "sop", "shops", "shop", "cart", "shoq"];
        assert_eq!(names_like("shop", names.into_iter()), ["shop", "shops", "shoq"]);
        assert_eq!(nearest(&names_like("nothing-like-it", names.into_iter())), "");
    }

    #[test]
    fn two_letters_that_changed_places_are_one_difference() {
        assert!(Likeness::to("publisher").of("pubilsher") > 0.85);
    }
}
