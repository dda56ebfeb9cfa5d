//! Links of the controller: from a stranger to a member to the end.
//!
//! ```text
//!   Accepted ──▶ Stranger ──Hello──▶ Member ──Leave, Closed, fault, silence──▶ gone
//!                   └──anything else, another version, 5 s──▶ gone
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::meetings::session_of;
use super::names::Entry;
use super::{Controller, Event, MAX_LINKS, MAX_TENANTS_PER_NODE, Output};
use crate::frame::{Frame, Header, plain};
use crate::id::{CallId, EntryId, LinkId, MAX_NAME_BYTES, NodeKey, NodeMark, TenantName};
use crate::name::CallbackName;
use crate::session::{
    FEATURES, HANDSHAKE_TIMEOUT, Hello, LinkFault, Liveness, PROTOCOL_VERSION, PeerIdentity, Pulse, Role, refusal,
};
use crate::share::{Import, MAX_IMPORTS, is_shared};

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub identity: PeerIdentity,
    /// What `checks` has for it.
    check_at: Duration,
    pub member: Option<Member>,
}

/// What a link is once its node has said who it is.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub key: NodeKey,
    /// What the calls of its node that may be repeated are marked with.
    pub mark: NodeMark,
    pub role: Role,
    /// Whose processes it may have, see and call.
    pub tenants: BTreeSet<TenantName>,
    /// What these may call of others.
    pub imports: Vec<Import>,
    pub draining: bool,
    pub max_payload_bytes: u64,
    liveness: Liveness,
    /// Its processes by the numbers that it gave them.
    pub processes: BTreeMap<u32, EntryId>,
    /// Bytes of the tables of these.
    pub table_bytes: usize,
    /// Its open calls by its own ids.
    pub calls: BTreeMap<CallId, CallId>,
    pub last_call: Option<CallId>,
    /// The relayed calls that it serves.
    pub serving: BTreeSet<CallId>,
    /// How many streams those and its own have.
    pub streams: usize,
    /// Where other nodes reach it.
    pub reachable_at: Vec<String>,
    /// The nodes that it visits, and those that visit it.
    pub meets: BTreeSet<LinkId>,
    pub met_by: BTreeSet<LinkId>,
}

impl Member {
    /// Whether it is of the process's tenant: it sees all of it.
    pub fn belongs(&self, entry: &Entry) -> bool {
        self.tenants.contains(&entry.process.tenant)
    }

    /// Whether a callback of a process of another tenant is shared with one of its own.
    pub fn imports(&self, entry: &Entry, callback: &CallbackName) -> bool {
        self.imports.iter().any(|import| self.may_call(Some(&import.into), entry, Some(callback)))
    }

    /// Whether somebody of this tenant, or of any of its own, may call a callback of a process; or ask for its tasks.
    pub fn may_call(&self, tenant: Option<&TenantName>, entry: &Entry, callback: Option<&CallbackName>) -> bool {
        let of = &entry.process.tenant;
        let shared =
            |tenant| callback.is_some_and(|name| is_shared((of, &entry.exports), (tenant, &self.imports), name));
        match tenant {
            Some(tenant) => tenant == of || shared(tenant),
            None => self.tenants.contains(of) || self.tenants.iter().any(shared),
        }
    }
}

/// How a link is left by the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It is closed already.
    None,
    /// Close it.
    Close,
    /// Tell the reason, and close it.
    Tell,
    /// The node said goodbye: close it, and keep no names.
    Orderly,
}

impl Controller {
    pub(super) fn accept(&mut self, now: Duration, link: LinkId, identity: PeerIdentity) {
        let full = self.links.len() >= MAX_LINKS;
        let check_at = now + HANDSHAKE_TIMEOUT;
        self.links.insert(link, Link { identity, check_at, member: None });
        self.checks.insert((check_at, link));
        if full {
            self.refuse(now, link, refusal::FULL, "the controller has as many links as it takes".to_owned(), true);
        }
    }

    /// Handles a frame; an error closes its link.
    pub(super) fn take_frame(&mut self, now: Duration, link: LinkId, frame: Frame) -> Result<(), LinkFault> {
        let Some(state) = self.links.get_mut(&link) else {
            return Ok(()); // what was on its way when the link was closed
        };
        let Some(member) = &mut state.member else {
            return self.greet(now, link, frame);
        };
        if member.liveness.heard(now, frame.header == Header::Ping) {
            self.send(link, Frame::new(Header::Pong));
        }
        match frame.header {
            Header::Ping | Header::Pong => {}
            Header::Register { number, process, instances, exports } => {
                let terms = (instances, exports);
                return self.register(now, link, number, process, terms, frame.payload);
            }
            Header::Unregister { number } => return self.unregister(link, number),
            header @ Header::Call { .. } => return self.relay_call(link, header, frame.payload),
            Header::Accepted { id, .. } => return self.relay_accepted(link, id),
            Header::Reply { id, open, channels, .. } => {
                return self.relay_reply(link, id, open.then_some(channels), frame.payload);
            }
            Header::Items { .. }
            | Header::End { .. }
            | Header::Grant { .. }
            | Header::Done { .. }
            | Header::Halt { .. }
            | Header::Want { .. } => return self.relay_stream(link, frame),
            Header::Fail { id, runs_on } => return self.relay_fail(link, id, runs_on, frame.payload),
            Header::Ended { id } => return self.relay_ended(link, id),
            Header::Cancel { id, .. } => self.relay_cancel(link, id),
            Header::Load { number, load, apart } => return self.take_load(link, number, load, apart),
            Header::Usage { number } => return self.take_usage(link, number, frame.payload),
            Header::ListLoads { id, detail } => self.tell_loads(link, id, detail),
            Header::Reachable { at } => return self.take_reachable(link, at),
            Header::Meet { session } => self.meet(link, session),
            Header::Drain => self.drain(link),
            Header::Leave => self.drop_link(now, link, "it left", Farewell::Orderly),
            Header::Close { reason } => {
                let reason = format!("the node closed the link: {}", plain(&reason));
                self.drop_link(now, link, &reason, Farewell::Close);
            }
            header @ (Header::Hello { .. }
            | Header::Welcome { .. }
            | Header::Refused { .. }
            | Header::Registered { .. }
            | Header::NotRegistered { .. }
            | Header::Entry { .. }
            | Header::Gone { .. }
            | Header::Synced
            | Header::Meeting { .. }
            | Header::Expect { .. }
            | Header::Vouch { .. }
            | Header::Unvouch { .. }
            | Header::Forget { .. }
            | Header::Visit { .. }
            | Header::Known { .. }
            | Header::Busy { .. }
            | Header::Loads { .. }) => return Err(LinkFault::unexpected(&header, "from a node")),
        }
        Ok(())
    }

    /// Bytes came that are no frame yet.
    pub(super) fn take_bytes(&mut self, now: Duration, link: LinkId) {
        let member = self.links.get_mut(&link).and_then(|state| state.member.as_mut());
        // A stranger's time for his handshake runs on.
        if member.is_some_and(|member| member.liveness.heard(now, false)) {
            self.send(link, Frame::new(Header::Pong));
        }
    }

    /// The first frame of a link.
    fn greet(&mut self, now: Duration, link: LinkId, frame: Frame) -> Result<(), LinkFault> {
        let Header::Hello { version } = frame.header else {
            return Err(LinkFault::unexpected(&frame.header, "before the handshake"));
        };
        if version != PROTOCOL_VERSION {
            let message = format!(
                "the controller speaks protocol version {PROTOCOL_VERSION}, the node speaks {version}: run the same \
                 release of daffi-runtime on both sides"
            );
            self.refuse(now, link, refusal::VERSION, message, false);
            return Ok(());
        }
        let hello: Hello = match frame.decode_payload() {
            Ok(hello) => hello,
            Err(error) => {
                self.refuse(now, link, refusal::BAD_HELLO, error.to_string(), false);
                return Ok(());
            }
        };
        let name = &hello.name;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            let message = format!("a node's name has 1 to {MAX_NAME_BYTES} bytes on one line");
            self.refuse(now, link, refusal::BAD_HELLO, message, false);
            return Ok(());
        }
        let tenants = hello.tenants.len();
        if tenants > MAX_TENANTS_PER_NODE {
            let message = format!("the node claims {tenants} tenants, at most {MAX_TENANTS_PER_NODE} are taken");
            self.refuse(now, link, refusal::BAD_HELLO, message, false);
            return Ok(());
        }
        let imports = hello.imports.len();
        if imports > MAX_IMPORTS || hello.imports.iter().any(|import| !hello.tenants.contains(&import.into)) {
            let message =
                format!("the node has {imports} imports: at most {MAX_IMPORTS} are taken, into its own tenants");
            self.refuse(now, link, refusal::BAD_HELLO, message, false);
            return Ok(());
        }
        let identity = self.links.get(&link).map(|state| &state.identity);
        let foreign =
            |identity: &PeerIdentity| hello.tenants.iter().find_map(|tenant| identity.may_claim(tenant).err());
        if let Some(message) = identity.and_then(foreign) {
            self.refuse(now, link, refusal::FORBIDDEN, message, false);
            return Ok(());
        }
        if let Some(former) = self.keys.get(&hello.key).copied() {
            let identity_of = |link| self.links.get(link).map(|state| &state.identity);
            let is_same = identity_of(&link)
                .zip(identity_of(&former))
                .is_none_or(|(identity, former)| identity.may_succeed(former, true));
            if !is_same {
                let message = "another node has this key: it is secret, and no two nodes have the same".to_owned();
                self.refuse(now, link, refusal::FORBIDDEN, message, true);
                return Ok(());
            }
            // The same runtime on a new link: the old one is dead, even where nobody has noticed.
            self.drop_link(now, former, "its node came back on another link", Farewell::Tell);
        }
        self.join(now, link, hello);
        Ok(())
    }

    fn join(&mut self, now: Duration, link: LinkId, hello: Hello) {
        let liveness = Liveness::new(now, self.config.heartbeat, self.config.missed_heartbeats);
        let check_at = liveness.next_check();
        let Some(state) = self.links.get_mut(&link) else { return };
        let identity = state.identity.clone();
        let before = std::mem::replace(&mut state.check_at, check_at);
        let member = Member {
            name: hello.name.clone(),
            key: hello.key,
            mark: hello.key.mark(),
            role: hello.role,
            tenants: hello.tenants.into_iter().collect(),
            imports: hello.imports,
            draining: false,
            max_payload_bytes: hello.max_payload_bytes,
            liveness,
            processes: BTreeMap::new(),
            table_bytes: 0,
            calls: BTreeMap::new(),
            last_call: None,
            serving: BTreeSet::new(),
            streams: 0,
            reachable_at: Vec::new(),
            meets: BTreeSet::new(),
            met_by: BTreeSet::new(),
        };
        self.tenants.join(link, &member);
        state.member = Some(member);
        self.checks.remove(&(before, link));
        self.checks.insert((check_at, link));
        self.keys.insert(hello.key, link);
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
        let welcome = Header::Welcome {
            features: hello.features & FEATURES,
            session: session_of(link),
            heartbeat_ms: millis(self.config.heartbeat),
            missed_heartbeats: self.config.missed_heartbeats,
            grace_ms: millis(self.config.grace),
            max_payload_bytes: self.config.max_payload_bytes as u64,
        };
        self.send(link, Frame::new(welcome));
        self.tell_directory(link);
        if self.draining {
            self.send(link, Frame::new(Header::Drain));
        }
        self.event(Event::Joined { link, node: hello.name, identity, client: hello.role == Role::Client });
    }

    fn refuse(&mut self, now: Duration, link: LinkId, code: &str, message: String, retryable: bool) {
        self.send(link, Frame::new(Header::Refused { code: code.to_owned(), message: message.clone(), retryable }));
        self.drop_link(now, link, &message, Farewell::Close);
    }

    /// Closes a link whose peer, or whose silence, asks for it.
    pub(super) fn shut(&mut self, now: Duration, link: LinkId, fault: &LinkFault) {
        let farewell = match fault {
            LinkFault::Clogged(_) => Farewell::Close,
            _ => Farewell::Tell,
        };
        self.drop_link(now, link, &fault.to_string(), farewell);
    }

    /// The end of a link: its names are kept for it or freed, its calls in both directions end.
    pub(super) fn drop_link(&mut self, now: Duration, link: LinkId, reason: &str, farewell: Farewell) {
        let Some(state) = self.links.remove(&link) else { return };
        self.checks.remove(&(state.check_at, link));
        if farewell == Farewell::Tell {
            self.send(link, Frame::close(reason));
        }
        if farewell != Farewell::None {
            self.outputs.push_back(Output::Close { link, reason: reason.to_owned() });
        }
        let Some(member) = state.member else {
            self.event(Event::TurnedAway { link, identity: state.identity, reason: reason.to_owned() });
            return;
        };
        if self.keys.get(&member.key) == Some(&link) {
            self.keys.remove(&member.key);
        }
        let orderly = farewell == Farewell::Orderly;
        let keep_until = (!orderly).then_some(now + self.config.grace);
        self.free_processes(&member, &state.identity, keep_until);
        self.tenants.part(link, &member);
        self.end_relays(&member, !orderly);
        self.end_meetings(link, &member);
        let (node, reason) = (member.name, reason.to_owned());
        self.event(Event::Left { link, node, reason, orderly });
    }

    /// Pings the silent, closes the dead and those who never said who they are.
    pub(super) fn check_links(&mut self, now: Duration) {
        while let Some((at, link)) = self.checks.first().copied() {
            if at > now {
                return;
            }
            self.checks.remove(&(at, link));
            let Some(state) = self.links.get_mut(&link) else { continue };
            let Some(member) = &mut state.member else {
                self.shut(now, link, &LinkFault::HandshakeTimeout);
                continue;
            };
            let pulse = member.liveness.check(now);
            let silence_ms = member.liveness.silence(now).as_millis();
            state.check_at = member.liveness.next_check().max(now + Duration::from_millis(1));
            self.checks.insert((state.check_at, link));
            match pulse {
                Pulse::Fine => {}
                Pulse::Ping => self.send(link, Frame::new(Header::Ping)),
                Pulse::Dead => self.shut(now, link, &LinkFault::Silent { silence_ms }),
            }
        }
    }
}
