//! What a module's guests may ask of the mesh: which callbacks they may call, and what else they may do there.
//!
//! By default that is everything inside of the module's tenant, and of other tenants what these share with it
//! ([`daffi_proto::share`]): grants take away. They are checked at the caller, before anything is sent, and where a name
//! is looked up once that is known: so a name that nobody has is `no-such-callback`, whether or not it is granted.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use daffi_proto::error::{CallError, code};
use daffi_proto::id::{ProcessRef, TenantName};
use daffi_proto::name::{CallbackName, NameGlob, split_tenant};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a module may do. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Which callbacks it may call; none for all that it sees.
    pub may_call: Option<Vec<Callable>>,
    /// What it may not do besides.
    pub denied: BTreeSet<Act>,
    /// Whether modules of other tenants live in the runtime, which it may not end then.
    pub among_tenants: bool,
}

/// Callbacks that may be called: those of this pattern in the module's own tenant (`demo:shop/*`), or in another one
/// (`acme::demo:shop/*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callable {
    tenant: Option<TenantName>,
    callbacks: NameGlob,
}

/// Something that is not the call of one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// To call all who have a callback: `broadcast`, `gather`, `send-all`, and imports with such a result.
    Broadcast,
    /// To make, see and cancel scheduled tasks.
    Schedule,
    /// To see which other processes and callbacks there are, and to wait for a process.
    List,
    /// To be told who comes, goes and changes.
    Watch,
    /// To end the runtime that the module lives in.
    Stop,
}

impl Grants {
    /// Whether a process may call this callback, of its own tenant or of another one.
    ///
    /// # Errors
    /// `not-run`: `permission-denied`
    pub fn call(
        &self,
        caller: &ProcessRef,
        tenant: Option<&TenantName>,
        callback: &CallbackName,
    ) -> Result<(), CallError> {
        let Some(granted) = &self.may_call else { return Ok(()) };
        let tenant = tenant.filter(|tenant| **tenant != caller.tenant);
        if granted.iter().any(|callable| callable.covers(caller, tenant, callback)) {
            return Ok(());
        }
        let name = match tenant {
            Some(tenant) => format!("{tenant}::{callback}"),
            None => callback.to_string(),
        };
        let message = format!(
            "{name} was not called: the grants of {} do not cover it: add a pattern for it to its `may-call`",
            caller.name
        );
        Err(denied(message, &name))
    }

    /// Whether a process may do this; `what` is its name for the error.
    ///
    /// # Errors
    /// `not-run`: `permission-denied`
    pub fn act(&self, caller: &ProcessRef, act: Act, what: &str) -> Result<(), CallError> {
        let why = match act {
            _ if self.denied.contains(&act) => format!("`{act}` stands in its `deny`"),
            Act::Stop if self.among_tenants => {
                "modules of several tenants live in it, and none may end the others".to_owned()
            }
            _ => return Ok(()),
        };
        Err(denied(format!("{} may not {}: {why}", caller.name, act.in_words()), what))
    }
}

/// It would be denied again.
fn denied(message: String, what: &str) -> CallError {
    CallError { retryable: false, ..CallError::not_run(code::PERMISSION_DENIED, message, what) }
}

impl Callable {
    fn covers(&self, caller: &ProcessRef, tenant: Option<&TenantName>, callback: &CallbackName) -> bool {
        let own = self.tenant.as_ref().filter(|tenant| **tenant != caller.tenant);
        own == tenant && self.callbacks.matches(callback)
    }
}

impl FromStr for Callable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (tenant, callbacks) = split_tenant(text).map_err(|error| error.to_string())?;
        Ok(Self { tenant, callbacks: NameGlob::parse(callbacks).map_err(|error| error.to_string())? })
    }
}

impl fmt::Display for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tenant {
            Some(tenant) => write!(f, "{tenant}::{}", self.callbacks.as_str()),
            None => f.write_str(self.callbacks.as_str()),
        }
    }
}

impl<'de> Deserialize<'de> for Callable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Callable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Act {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Broadcast, Self::Schedule, Self::List, Self::Watch, Self::Stop];

    fn name(self) -> &'static str {
        match self {
            Self::Broadcast => "broadcast",
            Self::Schedule => "schedule",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Stop => "stop",
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Broadcast => "call all who have a callback",
            Self::Schedule => "schedule callbacks, or see what is scheduled",
            Self::List => "see or wait for other processes",
            Self::Watch => "watch who comes and goes",
            Self::Stop => "stop the runtime",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Act {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|act| act.name() == text);
        known.ok_or_else(|| format!("{text:?} is not broadcast, schedule, list, watch or stop"))
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::error::Outcome;

    use super::*;

    fn caller() -> ProcessRef {
        ProcessRef { tenant: TenantName::new("globex").unwrap(), name: "caller".parse().unwrap() }
    }

    fn may_call(patterns: &[&str]) -> Grants {
        let may_call = patterns.iter().map(|text| text.parse().unwrap()).collect();
        Grants { may_call: Some(may_call), ..Grants::default() }
    }

    fn asks(grants: &Grants, tenant: Option<&str>, callback: &str) -> Result<(), CallError> {
        let tenant = tenant.map(|name| TenantName::new(name).unwrap());
        grants.call(&caller(), tenant.as_ref(), &CallbackName::parse(callback).unwrap())
    }

    #[test]
    fn a_pattern_covers_one_tenant_and_its_own_one_unless_it_names_another() {
        let grants = may_call(&["demo:shop/*", "acme::prices#*", "globex::here"]);
        for (tenant, callback, granted) in [
            (None, "demo:shop/stock#of", true),
            (Some("globex"), "demo:shop/stock#of", true),
            (None, "here", true),
            (None, "elsewhere", false),
            (Some("acme"), "demo:shop/prices#of", true),
            (Some("acme"), "demo:shop/stock#of", false),
            (Some("initech"), "demo:shop/prices#of", false),
        ] {
            assert_eq!(asks(&grants, tenant, callback).is_ok(), granted, "{tenant:?} {callback}");
        }
        let error = asks(&grants, Some("initech"), "demo:shop/prices#of").unwrap_err();
        assert_eq!(
            (error.outcome, error.code.as_str(), error.retryable),
            (Outcome::NotRun, "permission-denied", false)
        );
        assert!(error.message.starts_with("initech::demo:shop/prices#of was not called"), "{error}");
        assert!(asks(&may_call(&[]), None, "here").is_err() && asks(&Grants::default(), None, "here").is_ok());
    }

    #[test]
    fn what_is_denied_is_named_in_the_error_and_nothing_else_is() {
        let grants = Grants { denied: [Act::Watch].into(), ..Grants::default() };
        let error = grants.act(&caller(), Act::Watch, "mesh#watch").unwrap_err();
        assert_eq!(error.message, "caller may not watch who comes and goes: `watch` stands in its `deny`");
        let among = Grants { among_tenants: true, ..Grants::default() };
        let error = among.act(&caller(), Act::Stop, "mesh#stop").unwrap_err();
        assert!(
            error.message.starts_with("caller may not stop the runtime: modules of several tenants live in it"),
            "{error}"
        );
        assert!(Act::ALL.into_iter().filter(|act| among.act(&caller(), *act, "").is_err()).eq([Act::Stop]));
        assert!(Act::ALL.into_iter().filter(|act| grants.act(&caller(), *act, "").is_err()).eq([Act::Watch]));
        assert!(Act::ALL.into_iter().all(|act| act.to_string().parse() == Ok(act)) && "run".parse::<Act>().is_err());
    }
}
