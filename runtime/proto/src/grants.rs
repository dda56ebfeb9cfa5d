//! What a certificate says of its node: who it is, and which processes it may register.
//!
//! ```text
//!   daffi:node/edge-7                            one: the identity, which a renewed certificate keeps
//!   daffi:tenant/default?process=sensor-*        any number: a pattern for names of processes of that tenant
//!   daffi:tenant/acme                            any number: it may be in that tenant, to look and call
//! ```
//!
//! These are URIs, so that any authority can write them among a certificate's alternative names. Invariants: what is not
//! granted is denied; a `daffi:` URI that is not understood denies everything, since it may be a restriction. What a
//! certificate is, and who signed it, is not known here.

use std::fmt;

use crate::id::{MAX_NAME_BYTES, ProcessName, ProcessRef, TenantName};
use crate::name::covers;

/// Most patterns and tenants of one certificate.
pub const MAX_GRANTS: usize = 64;

/// How a URI begins that is for us.
const SCHEME: &str = "daffi:";

/// A certificate says nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It does not say whose it is.
    #[error(
        "it names no node: it needs a URI daffi:node/NAME among its alternative names, as `daffi-runtime certs issue` makes it"
    )]
    NoNode,
    /// It is several nodes'.
    #[error("it names two nodes, {0} and {1}")]
    TwoNodes(String, String),
    /// More than is looked at.
    #[error("it has more than {MAX_GRANTS} patterns for processes, and tenants")]
    TooMany,
    /// A URI of ours that is none.
    #[error("{uri:?} in it is not understood: {why}")]
    BadUri {
        /// The URI.
        uri: String,
        /// What is wrong.
        why: String,
    },
    /// A pattern that cannot be.
    #[error(
        "{0:?} is no pattern for processes: 1 to {MAX_NAME_BYTES} ASCII letters, digits, `-`, `_`, `.`, `@`, and `*` for any run of them"
    )]
    BadPattern(String),
    /// A name that a URI does not take.
    #[error("{0:?} cannot stand in a certificate: only ASCII letters, digits, `-`, `_`, `.` and `@` can")]
    NotAscii(String),
}

/// Names of processes of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessGrant {
    tenant: TenantName,
    pattern: String,
}

impl ProcessGrant {
    /// The names that this pattern covers; `*` in it stands for any run of characters, also none.
    ///
    /// # Errors
    /// [`GrantError`] for a pattern or a tenant that no certificate can have.
    pub fn new(tenant: TenantName, pattern: &str) -> Result<Self, GrantError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.@*".contains(c);
        if pattern.is_empty() || pattern.len() > MAX_NAME_BYTES || !pattern.chars().all(good) {
            return Err(GrantError::BadPattern(pattern.to_owned()));
        }
        ascii(tenant.as_str())?;
        Ok(Self { tenant, pattern: pattern.to_owned() })
    }

    fn covers(&self, process: &ProcessRef) -> bool {
        self.tenant == process.tenant && covers(self.pattern.as_bytes(), process.name.as_str().as_bytes())
    }
}

/// What a certificate says of its node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeGrants {
    node: ProcessName,
    processes: Vec<ProcessGrant>,
    /// Where it may be beside these.
    tenants: Vec<TenantName>,
}

impl NodeGrants {
    /// For a certificate that is to be made.
    ///
    /// # Errors
    /// [`GrantError`] for what no certificate can have.
    pub fn new(node: ProcessName, processes: Vec<ProcessGrant>, tenants: Vec<TenantName>) -> Result<Self, GrantError> {
        for name in std::iter::once(node.as_str()).chain(tenants.iter().map(TenantName::as_str)) {
            ascii(name)?;
        }
        if processes.len() + tenants.len() > MAX_GRANTS {
            return Err(GrantError::TooMany);
        }
        Ok(Self { node, processes, tenants })
    }

    /// From the URIs of a certificate; those of other schemes are no affair of ours.
    ///
    /// # Errors
    /// [`GrantError`]
    pub fn from_uris<'a>(uris: impl IntoIterator<Item = &'a str>) -> Result<Self, GrantError> {
        let mut node: Option<ProcessName> = None;
        let (mut processes, mut tenants) = (Vec::new(), Vec::new());
        for uri in uris {
            let Some(rest) = uri.strip_prefix(SCHEME) else { continue };
            let bad = |why: String| GrantError::BadUri { uri: uri.chars().take(2 * MAX_NAME_BYTES).collect(), why };
            match rest.split_once('/') {
                Some(("node", name)) => {
                    let name = ProcessName::new(name).map_err(|error| bad(error.to_string()))?;
                    if let Some(before) = node.replace(name.clone()) {
                        return Err(GrantError::TwoNodes(before.into(), name.into()));
                    }
                }
                Some(("tenant", grant)) if processes.len() + tenants.len() < MAX_GRANTS => {
                    let (tenant, query) =
                        grant.split_once('?').map_or((grant, None), |(tenant, query)| (tenant, Some(query)));
                    let tenant = TenantName::new(tenant).map_err(|error| bad(error.to_string()))?;
                    match query.map(|query| query.strip_prefix("process=")) {
                        None => tenants.push(tenant),
                        Some(Some(pattern)) => {
                            processes.push(ProcessGrant::new(tenant, pattern).map_err(|error| bad(error.to_string()))?);
                        }
                        Some(None) => {
                            return Err(bad("behind the tenant this version knows ?process=PATTERN".to_owned()));
                        }
                    }
                }
                Some(("tenant", _)) => return Err(GrantError::TooMany),
                _ => return Err(bad("this version knows daffi:node/… and daffi:tenant/…".to_owned())),
            }
        }
        Ok(Self { node: node.ok_or(GrantError::NoNode)?, processes, tenants })
    }

    /// The URIs that say this.
    pub fn uris(&self) -> Vec<String> {
        let grants =
            self.processes.iter().map(|grant| format!("{SCHEME}tenant/{}?process={}", grant.tenant, grant.pattern));
        let tenants = self.tenants.iter().map(|tenant| format!("{SCHEME}tenant/{tenant}"));
        std::iter::once(format!("{SCHEME}node/{}", self.node)).chain(grants).chain(tenants).collect()
    }

    /// The flags of `certs issue` that say this, with their values.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let process = |grant: &ProcessGrant| match grant.tenant == TenantName::default() {
            true => grant.pattern.clone(),
            false => format!("{}::{}", grant.tenant, grant.pattern),
        };
        let processes = self.processes.iter().map(|grant| ("--process", process(grant)));
        processes.chain(self.tenants.iter().map(|tenant| ("--tenant", tenant.to_string()))).collect()
    }

    /// The node that has the certificate.
    pub fn node(&self) -> &ProcessName {
        &self.node
    }

    /// Whether the node may be in this tenant: one that it says or has a pattern for, or `default` where there is none.
    pub fn may_join(&self, tenant: &TenantName) -> bool {
        let says_none = self.processes.is_empty() && self.tenants.is_empty();
        let mut said = self.processes.iter().map(|grant| &grant.tenant).chain(&self.tenants);
        said.any(|said| said == tenant) || says_none && *tenant == TenantName::default()
    }

    /// Whether the node may register this process.
    pub fn allows(&self, process: &ProcessRef) -> bool {
        self.processes.iter().any(|grant| grant.covers(process))
    }
}

/// For people: the names of processes that the node may register, and the tenants in which it registers none.
impl fmt::Display for NodeGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.processes.is_empty() {
            f.write_str("no process at all")?;
        }
        for (at, grant) in self.processes.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{:?}", grant.pattern)?;
            if grant.tenant != TenantName::default() {
                write!(f, " of tenant {}", grant.tenant)?;
            }
        }
        self.tenants.iter().try_for_each(|tenant| write!(f, ", only be in tenant {tenant}"))
    }
}

fn ascii(name: &str) -> Result<(), GrantError> {
    if name.is_ascii() { Ok(()) } else { Err(GrantError::NotAscii(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(tenant: &str, name: &str) -> ProcessRef {
        ProcessRef { tenant: TenantName::new(tenant).unwrap(), name: ProcessName::new(name).unwrap() }
    }

    #[test]
    fn what_a_certificate_says_is_read_as_it_was_written() {
        let uris = ["daffi:node/edge-7", "daffi:tenant/default?process=sensor-*", "daffi:tenant/t2?process=log"];
        let grants = NodeGrants::from_uris(uris.into_iter().chain(["spiffe://x/y"])).unwrap();
        assert_eq!(grants.uris(), uris);
        assert_eq!(grants.node().as_str(), "edge-7");
        assert_eq!(grants.to_string(), "\"sensor-*\", \"log\" of tenant t2");
        assert_eq!(grants.flags(), [("--process", "sensor-*".to_owned()), ("--process", "t2::log".to_owned())]);
        let uris = ["daffi:node/alice", "daffi:tenant/t2", "daffi:tenant/t3"];
        let grants = NodeGrants::from_uris(uris).unwrap();
        assert_eq!(grants.uris(), uris);
        assert_eq!(grants.to_string(), "no process at all, only be in tenant t2, only be in tenant t3");
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let uris = ["daffi:node/n", "daffi:tenant/default?process=sensor-*", "daffi:tenant/t2?process=*"];
        let grants = NodeGrants::from_uris(uris).unwrap();
        for (tenant, name, allowed) in [
            ("default", "sensor-1", true),
            ("default", "sensor-", true),
            ("default", "sensor", false),
            ("default", "my-sensor-1", false),
            ("t2", "anything", true),
            ("t3", "sensor-1", false),
        ] {
            assert_eq!(grants.allows(&process(tenant, name)), allowed, "{tenant}::{name}");
        }
        let none = NodeGrants::from_uris(["daffi:node/n"]).unwrap();
        assert!(!none.allows(&process("default", "n")));
        assert_eq!(none.to_string(), "no process at all");
        let joins = |grants: &NodeGrants, tenant: &str| grants.may_join(&TenantName::new(tenant).unwrap());
        assert!(joins(&grants, "default") && joins(&grants, "t2") && !joins(&grants, "t3"));
        assert!(joins(&none, "default") && !joins(&none, "t2"));
        let looks = NodeGrants::from_uris(["daffi:node/n", "daffi:tenant/t2"]).unwrap();
        assert!(joins(&looks, "t2") && !joins(&looks, "default") && !looks.allows(&process("t2", "n")));
    }

    #[test]
    fn a_certificate_that_is_not_understood_is_refused_and_the_error_says_why() {
        let many: Vec<String> = (0..=MAX_GRANTS).map(|at| format!("daffi:tenant/default?process=p{at}")).collect();
        for (uris, part) in [
            (vec![], "names no node"),
            (vec!["spiffe://x/y"], "names no node"),
            (vec!["daffi:node/a", "daffi:node/b"], "two nodes, a and b"),
            (vec!["daffi:node/"], "no process name"),
            (vec!["daffi:node/a/b"], "no process name"),
            (vec!["daffi:node/a", "daffi:not-after-dark/x"], "this version knows"),
            (vec!["daffi:node/a", "daffi:tenant/default?only=a"], "?process=PATTERN"),
            (vec!["daffi:node/a", "daffi:tenant/default?process="], "no pattern"),
            (vec!["daffi:node/a", "daffi:tenant/default?process=a&only=b"], "no pattern"),
            (vec!["daffi:node/a", "daffi:tenant/?process=a"], "no tenant name"),
            (many.iter().map(String::as_str).collect(), "more than 64"),
        ] {
            let message = NodeGrants::from_uris(uris.clone()).unwrap_err().to_string();
            assert!(message.contains(part), "{uris:?}: {message}");
        }
        assert!(NodeGrants::new(ProcessName::new("é").unwrap(), Vec::new(), Vec::new()).is_err());
    }
}
