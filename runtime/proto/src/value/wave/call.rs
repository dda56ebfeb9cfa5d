//! A whole call as text: `sum-of-two-numbers(5, 15)`, `demo:tutorial/math@1.0.0#sum-of-two-numbers(5, 15)`.

use crate::name::{BadCallbackName, Qualified};

/// A text is no call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCall {
    /// There are no parentheses around arguments.
    #[error("a call is written `name(arguments)`, `sum-of-two-numbers(5, 15)`")]
    NoArguments,
    /// What stands before the parentheses is no name.
    #[error(transparent)]
    Name(#[from] BadCallbackName),
}

/// Splits a call into the callback that it means and the text of its arguments, which [`args_from_wave`](super::args_from_wave) reads.
///
/// # Errors
/// [`BadCall`] says how a call is written, or what is wrong with the name.
pub fn parse_call(text: &str) -> Result<(Qualified, &str), BadCall> {
    let text = text.trim();
    let (name, args) = text.find('(').and_then(|at| text.split_at_checked(at)).ok_or(BadCall::NoArguments)?;
    if !args.ends_with(')') {
        return Err(BadCall::NoArguments);
    }
    Ok((Qualified::parse(name.trim_end())?, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_name_and_arguments() {
        for (text, name, args) in [
            ("sum(5, 15)", "sum", "(5, 15)"),
            (" sum () ", "sum", "()"),
            ("a:b/c@1.0.0-rc.1#d(some(1), \"x)\")", "a:b/c@1.0.0-rc.1#d", "(some(1), \"x)\")"),
            ("math#sum(5)", "math#sum", "(5)"),
            ("acme::a:b/c#d(5)", "acme::a:b/c#d", "(5)"),
        ] {
            let (pattern, found) = parse_call(text).unwrap();
            assert_eq!((pattern.to_string().as_str(), found), (name, args));
        }
        for text in ["", "sum", "sum 5", "sum(5", "sum)5("] {
            assert_eq!(parse_call(text), Err(BadCall::NoArguments), "{text}");
        }
        assert!(matches!(parse_call("a.b(5)"), Err(BadCall::Name(_))));
        assert!(matches!(parse_call("(5)"), Err(BadCall::Name(_))));
    }
}
