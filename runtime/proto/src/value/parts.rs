//! The parts of a record (or of arguments by name) as they come in a text: in any order, options left out.

use std::ops::Range;

use super::error::ValueError;
use super::text::{missing, option_of};
use super::write::Writer;
use crate::signature::{Field, Signature};

/// Where the bytes of each field are, of those that have come.
pub(super) struct Parts {
    start: usize,
    ranges: Vec<Option<Range<usize>>>,
}

impl Parts {
    /// For a record of so many fields whose bytes start here.
    pub(super) fn new(fields: usize, start: usize) -> Self {
        Self { start, ranges: vec![None; fields] }
    }

    pub(super) fn has(&self, at: usize) -> bool {
        matches!(self.ranges.get(at), Some(Some(_)))
    }

    pub(super) fn set(&mut self, at: usize, range: Range<usize>) {
        if let Some(part) = self.ranges.get_mut(at) {
            *part = Some(range);
        }
    }

    /// Fills in `none` for the options that have not come and puts all into the type's order.
    ///
    /// # Errors
    /// When a field that is no option has not come.
    pub(super) fn finish(
        self,
        signature: &Signature,
        fields: &[Field],
        what: &str,
        writer: &mut Writer,
    ) -> Result<(), ValueError> {
        let mut ordered = Vec::with_capacity(fields.len());
        for (field, range) in fields.iter().zip(self.ranges) {
            let range = match range {
                Some(range) => range,
                None if option_of(signature, field.ty).is_some() => {
                    let start = writer.position();
                    writer.byte(0)?;
                    start..writer.position()
                }
                None => return Err(missing(what, &field.name)),
            };
            ordered.push(range);
        }
        if !ordered.is_sorted_by_key(|range| range.start) {
            writer.reorder(self.start, &ordered);
        }
        Ok(())
    }
}
