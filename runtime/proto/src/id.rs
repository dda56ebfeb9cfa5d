//! Names and numbers: tenants, processes, nodes, links, calls.
//!
//! Names are checked when they are made, so that whatever holds one holds a good one.

use std::cell::RefCell;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::recent::Recent;

/// Places for names of a kind that a thread decoded lately.
const RECENT_NAMES: usize = 64;

/// Longest name of a process, a tenant or a node, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {what} name: 1 to {MAX_NAME_BYTES} bytes of letters, digits, `-`, `_`, `.` and `@`")]
pub struct BadName {
    what: &'static str,
    name: String,
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and makes the name.
            ///
            /// # Errors
            /// [`BadName`] when it is empty, too long, or has other characters than the message lists.
            pub fn new(name: &str) -> Result<Self, BadName> {
                let good = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
                if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(good) {
                    return Err(BadName { what: $what, name: name.chars().take(MAX_NAME_BYTES).collect() });
                }
                Ok(Self(name.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(&name)
            }
        }

        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(name: &str) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        // By hand, because every call's header has names, and mostly the same ones.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $what, " name"))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        thread_local! {
                            static RECENT: RefCell<Recent<$name, RECENT_NAMES>> = const { RefCell::new(Recent::new()) };
                        }
                        let find = |recent: &RefCell<Recent<$name, RECENT_NAMES>>| {
                            let is = |known: &$name| known.as_str() == text;
                            recent.borrow_mut().find_or_make(text, is, || $name::new(text))
                        };
                        RECENT.try_with(find).unwrap_or_else(|_| $name::new(text)).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

checked_name!(
    /// The name of a process, unique within its tenant.
    ProcessName,
    "process"
);
checked_name!(
    /// The name of a tenant.
    TenantName,
    "tenant"
);

impl Default for TenantName {
    /// The tenant of everything that names none: `default`.
    fn default() -> Self {
        static DEFAULT: LazyLock<TenantName> = LazyLock::new(|| TenantName("default".into()));
        DEFAULT.clone()
    }
}

/// A process of the mesh, by name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ProcessRef {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its name there.
    pub name: ProcessName,
}

impl fmt::Display for ProcessRef {
    /// `name` in the tenant of everything that names none, `tenant::name` in any other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant != TenantName::default() {
            write!(f, "{}::", self.tenant)?;
        }
        f.write_str(self.name.as_str())
    }
}

/// A node's own number: 128 random bits, made anew each time a runtime starts. It is also the secret by which a node
/// takes up its session again, so it is told to the controller alone and never logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeKey(pub [u8; 16]);

impl NodeKey {
    /// What others may know the node by: nobody learns the key from it.
    pub fn mark(&self) -> NodeMark {
        let hash: [u8; 32] = Sha256::new_with_prefix("daffi-node-mark").chain_update(self.0).finalize().into();
        let mut mark = [0; 16];
        mark.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        NodeMark(mark)
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// A node to other nodes: see [`NodeKey::mark`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct NodeMark(pub [u8; 16]);

/// A call that its node may send several times: the same in each, and never used for another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct RepeatKey {
    /// The node that makes the call; the controller vouches for it.
    pub node: NodeMark,
    /// By that node's own count.
    pub number: u64,
}

/// One link (socket or in-process pair) of a controller or a node; never used again in one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct LinkId(pub u64);

/// A direct link between two nodes, by the count of the side that numbers it; never used again in one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DirectId(pub u64);

/// What lets one node in at another, once: 128 bits that the controller tells these two alone. Never logged.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket(pub [u8; 16]);

impl Ticket {
    /// The ticket of this number that whoever has the secret makes: nobody learns one from others.
    pub fn new(secret: &[u8; 16], number: u64) -> Self {
        let hash = Sha256::new_with_prefix("daffi-ticket").chain_update(secret).chain_update(number.to_le_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let mut ticket = [0; 16];
        ticket.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self(ticket)
    }

    /// Whether it is this one. The time that it takes tells nothing of where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// A process of this node: its place in the node's table; never used again in one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LocalId(pub u32);

/// What the user of a node calls one of its requests (a call, a wait, a question): chosen by the user, unique among
/// those that are open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// A call that a node serves; never used again in one run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServeId(pub u64);

/// A call on one link, chosen by the side that sends the call; unique among that side's calls on the link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A process's stay on the mesh, numbered by the controller; never used again by one controller. A process that comes
/// back has a new number: its former incarnation is gone for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct EntryId(pub u64);

/// All callbacks of one tenant, full name and signature, numbered by a controller's or node's registry; never used
/// again by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GroupId(pub u64);

/// One stay of a node at the controller, from handshake to the end of its link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct SessionId(pub u64);
