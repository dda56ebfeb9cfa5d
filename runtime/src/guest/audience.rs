//! Who hears of an error, and how much of it is for him.
//!
//! A process is called by its own tenant and, where something of it is exported, by others. What went on in it is its
//! tenant's: what its guests printed and where they were, which other call ended them, whom they had called and who else is
//! there, what its tenant may use. A stranger learns of the same error which callback it was, whether that ran, and the kind.
//! Invariants: what a process says to others of an error goes through [`Audience::hears`]; of a kind that is not named
//! there a stranger is told no more than its code. What a guest says itself, in a result or when it fails a stream, is its own
//! doing and goes through unchanged.

use daffi_proto::call::Incoming;
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::{ProcessRef, ServeId, TenantName};

/// Who hears of an error of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Its own tenant.
    Home,
    /// Another one.
    Strangers,
}

/// A call that is served: whose answer something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub id: ServeId,
    pub audience: Audience,
}

impl Audience {
    /// Whoever made this call to a process of `own`: the last of its chain. Who has no name is of the process's own tenant.
    pub fn of_call(incoming: &Incoming, own: &TenantName) -> Self {
        Self::of(incoming.chain.last().and_then(|hop| hop.process.as_ref()).map(|caller| &caller.tenant), own)
    }

    /// The other side of a call, of this tenant where one is named, for a process of `own`.
    pub fn of(other: Option<&TenantName>, own: &TenantName) -> Self {
        match other {
            Some(other) if other != own => Self::Strangers,
            _ => Self::Home,
        }
    }

    /// An error of this process, as the audience hears it. What was kept from strangers of a callback that ran goes to the
    /// log, since nobody else would ever see it.
    pub fn hears(self, error: CallError, process: &ProcessRef) -> CallError {
        if self == Self::Home {
            return error;
        }
        let what = if error.callback.is_empty() { "it" } else { error.callback.as_str() };
        let message = match words(&error) {
            None => error.message.clone(),
            Some(words) => {
                if error.outcome == Outcome::Failed {
                    let process = &process.name;
                    tracing::warn!(%process, callback = what, %error, "a caller of another tenant was not told why");
                }
                format!("{what} {words}")
            }
        };
        CallError { message, trace: None, ..error }
    }
}

/// What a stranger is told in place of the message, behind the callback's name; none where the message says nothing but
/// what he gave, what he waits for, and how it ended.
fn words(error: &CallError) -> Option<&'static str> {
    match (error.outcome, error.code.as_str()) {
        // Who waits for an instance would be told who has it.
        (Outcome::NotRun, code::DEADLINE_EXCEEDED) => Some("was not called: the call's deadline passed before it could begin"),
        (_, code::BAD_ARGUMENTS | code::CYCLE | code::DEADLINE_EXCEEDED | code::CANCELLED | code::DRAINING)
        | (Outcome::NotRun, code::PAYLOAD_TOO_LARGE)
        // It runs on for longer than it may.
        | (Outcome::Unknown, code::LIMIT_EXCEEDED) => None,
        (Outcome::NotRun, code::OVERLOADED) => Some("was not called: there is no room for it now; try later"),
        (Outcome::NotRun, code::INSTANTIATION_FAILED) => Some("was not called: no instance could be made for it"),
        (Outcome::NotRun, _) => Some("was not called"),
        (Outcome::Failed, code::TRAP) => Some("ended with its instance, which trapped"),
        (Outcome::Failed, code::LIMIT_EXCEEDED) => Some("ended with its instance, which passed a limit"),
        (Outcome::Failed, code::PAYLOAD_TOO_LARGE) => Some("failed: a value was larger than it may be"),
        (Outcome::Failed, code::OVERLOADED) => Some("ran, and there is no room for its result"),
        (Outcome::Failed, _) => Some("failed"),
        (Outcome::Unknown, _) => Some("may have run, and its end is not known"),
    }
}

#[cfg(test)]
mod tests {
    use daffi_proto::id::ProcessName;

    use super::*;

    fn own() -> ProcessRef {
        ProcessRef { tenant: TenantName::new("acme").unwrap(), name: ProcessName::new("shop").unwrap() }
    }

    fn all() -> impl Iterator<Item = CallError> {
        let codes = code::ALL.iter().copied().chain([code::OTHER]);
        codes.flat_map(|code| {
            [CallError::not_run, CallError::failed, CallError::unknown]
                .map(|new| new(code, "the secret".to_owned(), "shop#buy".to_owned()).with_trace("the secret"))
        })
    }

    #[test]
    fn its_own_tenant_hears_an_error_as_it_is() {
        for error in all() {
            assert_eq!(Audience::Home.hears(error.clone(), &own()), error);
        }
    }

    #[test]
    fn strangers_hear_what_happened_to_their_call_and_never_a_trace() {
        for error in all() {
            let heard = Audience::Strangers.hears(error.clone(), &own());
            assert_eq!(heard.trace, None);
            let but_words = CallError { message: heard.message.clone(), trace: None, ..error };
            assert_eq!(heard, but_words);
            assert!(heard.message == "the secret" || heard.message.starts_with("shop#buy "), "{heard:?}");
        }
    }

    #[test]
    fn of_what_went_on_within_its_instances_strangers_hear_the_kind_alone() {
        let told: Vec<(Outcome, String)> = all()
            .map(|error| (error.outcome, Audience::Strangers.hears(error.clone(), &own()).message, error.code))
            .filter(|(_, message, _)| message.contains("secret"))
            .map(|(outcome, _, code)| (outcome, code))
            .collect();
        let as_it_is =
            |outcome, codes: &[&str]| codes.iter().map(|code| (outcome, (*code).to_owned())).collect::<Vec<_>>();
        let mut expected = as_it_is(
            Outcome::NotRun,
            &[code::BAD_ARGUMENTS, code::CYCLE, code::CANCELLED, code::DRAINING, code::PAYLOAD_TOO_LARGE],
        );
        let ran = [code::BAD_ARGUMENTS, code::CYCLE, code::DEADLINE_EXCEEDED, code::CANCELLED, code::DRAINING];
        expected.extend(as_it_is(Outcome::Failed, &ran));
        expected.extend(as_it_is(Outcome::Unknown, &ran));
        expected.push((Outcome::Unknown, code::LIMIT_EXCEEDED.to_owned()));
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for one in &expected {
            assert!(told.contains(one), "{one:?} is not among {told:?}");
        }
    }

    #[test]
    fn whoever_is_of_another_tenant_is_a_stranger() {
        let (acme, globex) = (TenantName::new("acme").unwrap(), TenantName::new("globex").unwrap());
        assert_eq!(Audience::of(Some(&globex), &acme), Audience::Strangers);
        assert_eq!(Audience::of(Some(&acme), &acme), Audience::Home);
        assert_eq!(Audience::of(None, &acme), Audience::Home);
    }
}
