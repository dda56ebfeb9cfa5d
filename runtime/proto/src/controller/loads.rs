//! What processes are doing and have used, as their nodes say: kept for lists, and passed on as it came.

use bytes::Bytes;

use super::{Controller, MAX_LISTED_LOADS, MAX_LISTED_USAGE_BYTES};
use crate::call::{Detail, Load};
use crate::frame::{Frame, Header, LoadList};
use crate::id::{EntryId, LinkId};
use crate::session::LinkFault;
use crate::usage::Usage;

impl Controller {
    pub(super) fn take_load(&mut self, link: LinkId, number: u32, load: Load, apart: u32) -> Result<(), LinkFault> {
        let id = self.own_process(link, number)?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.load = load;
        }
        self.registry.set_apart(id, apart);
        Ok(())
    }

    pub(super) fn take_usage(&mut self, link: LinkId, number: u32, usage: Bytes) -> Result<(), LinkFault> {
        let id = self.own_process(link, number)?;
        Usage::open(&usage).map_err(|error| LinkFault::Broken(error.to_string()))?;
        if let Some(entry) = self.entries.get_mut(&id) {
            // It is kept, and what was read with it is not to be.
            entry.usage = Bytes::copy_from_slice(&usage);
        }
        Ok(())
    }

    /// The process of this number of the node that speaks.
    fn own_process(&self, link: LinkId, number: u32) -> Result<EntryId, LinkFault> {
        let member = self.links.get(&link).and_then(|link| link.member.as_ref());
        let id = member.and_then(|member| member.processes.get(&number));
        id.copied().ok_or_else(|| LinkFault::Broken(format!("the process number {number} was never registered")))
    }

    pub(super) fn tell_loads(&mut self, link: LinkId, id: u64, detail: Detail) {
        let Some(member) = self.links.get(&link).and_then(|link| link.member.as_ref()) else { return };
        let mut list = LoadList::default();
        let mut room =
            usize::try_from(member.max_payload_bytes).map_or(usize::MAX, |most| most / 2).min(MAX_LISTED_USAGE_BYTES);
        let seen = self.tenants.own(member).into_iter();
        let entries = seen.filter_map(|id| Some((id, self.entries.get(&id)?)));
        for (id, entry) in entries.take(MAX_LISTED_LOADS) {
            list.loads.push((id, entry.load));
            if detail == Detail::Usage && !entry.usage.is_empty() && entry.usage.len() <= room {
                room -= entry.usage.len();
                list.usages.push((id, entry.usage.clone()));
            }
        }
        self.send(link, Frame::with_payload(Header::Loads { id }, Frame::encode_payload(&list)));
    }
}
