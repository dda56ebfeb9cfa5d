//! Calls by name: what is called, with which arguments, and how.
//!
//! A [`Call`] is made of a name and arguments and does nothing until a modifier is applied with `&`. Arguments travel as
//! postcard, JSON or WAVE; the host translates them by the callback's registered signature and refuses what is no value
//! of it before the callback runs. Of postcard that is all that can be seen: its bytes do not say of which type they are.

use std::borrow::Cow;
use std::fmt;
use std::ops::BitAnd;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::CallError;
use crate::background::{Bg, Pending};
use crate::bindings::daffi::runtime::call as host;
use crate::broadcast::{Arrivals, Broadcast, Entry, Gather};
use crate::mesh::{self, milliseconds};
use crate::period::{Period, Task};
use crate::stream::{Source, collect};
use crate::types::{Outcome, Value};

/// A call that waits for its modifier: `call & FG`.
#[must_use = "nothing is called until a modifier is applied: `call & FG`"]
pub struct Call<T> {
    pub(crate) callback: Cow<'static, str>,
    pub(crate) arguments: Result<Value, String>,
    pub(crate) sources: Vec<Source>,
    pub(crate) result: fn(Value) -> Result<T, String>,
}

/// A call of the callback `name` with arguments and result of Rust types: a tuple of the parameters, in order.
///
/// The types are the ones that serde and the callback's WIT agree on; a declaration with
/// [`fetchers!`](crate::fetchers!) says them once and for all.
///
/// ```no_run
/// # use daffi::FG;
/// let name = std::env::var("CALLBACK").unwrap();
/// let result: i64 = (daffi::call(name, (5, 15)) & FG)?;
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn call<T: DeserializeOwned>(name: impl Into<Cow<'static, str>>, arguments: impl Serialize) -> Call<T> {
    Arguments::new().with(&arguments).call(name)
}

/// A call of the callback `name` with JSON: an array of the parameters, or an object by their names. The result is JSON.
///
/// ```no_run
/// # use daffi::FG;
/// let result = (daffi::call_json("sum-of-two-numbers", "[5, 15]") & FG)?;
/// assert_eq!(result, "20");
/// # Ok::<(), daffi::CallError>(())
/// ```
pub fn call_json(name: impl Into<Cow<'static, str>>, arguments: impl Into<String>) -> Call<String> {
    Call { callback: name.into(), arguments: Ok(Value::Json(arguments.into())), sources: Vec::new(), result: text }
}

/// A call of the callback `name` with WAVE: `(5, 15)`. The result is WAVE.
pub fn call_wave(name: impl Into<Cow<'static, str>>, arguments: impl Into<String>) -> Call<String> {
    Call { callback: name.into(), arguments: Ok(Value::Wave(arguments.into())), sources: Vec::new(), result: text }
}

/// FG: calls one process that has the callback and waits for the result, 30 seconds at most.
pub const FG: Fg = Fg { timeout: None, receiver: None, wait_ready: false, retry: None };

/// FG with options: `call & Fg::timeout(Duration::from_secs(1))`, `call & FG.receiver("worker-2").wait_ready()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a modifier does nothing until it is applied to a call: `call & modifier`"]
pub struct Fg {
    pub(crate) timeout: Option<Duration>,
    pub(crate) receiver: Option<String>,
    pub(crate) wait_ready: bool,
    pub(crate) retry: Option<Retry>,
}

impl Fg {
    /// FG that waits for so long at most, 1 ms to 7 days. Where the call is made while serving another one, what is left of that one's
    /// time is the most.
    pub const fn timeout(timeout: Duration) -> Self {
        Self { timeout: Some(timeout), receiver: None, wait_ready: false, retry: None }
    }

    /// Call the process of this name and no other.
    pub fn receiver(self, process: impl Into<String>) -> Self {
        Self { receiver: Some(process.into()), ..self }
    }

    /// Where the callback or the receiver is not there yet, wait for it within the timeout. Otherwise that fails at once.
    pub fn wait_ready(self) -> Self {
        Self { wait_ready: true, ..self }
    }

    /// Make the call again when it fails, within its timeout: `call & FG.retry(Retry::attempts(3))`.
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }
}

/// When a call that failed is made again: where it did not run and may the next time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
    pause: Option<Duration>,
    idempotent: bool,
}

impl Retry {
    /// So many attempts at most, the first included.
    pub const fn attempts(attempts: u32) -> Self {
        Self { attempts, pause: None, idempotent: false }
    }

    /// The pause before the second attempt (100 ms); it doubles each time up to 10 s, and a random part of it is paused.
    pub fn pause(self, pause: Duration) -> Self {
        Self { pause: Some(pause), ..self }
    }

    /// Running the callback twice does no harm: also a call that failed, or of which nobody knows, is made again. One that
    /// is still there is joined, and not run twice.
    pub const fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }
}

impl From<Retry> for host::Retry {
    fn from(how: Retry) -> Self {
        Self { attempts: how.attempts, pause: how.pause.map(milliseconds), idempotent: how.idempotent }
    }
}

impl From<Fg> for host::FgOptions {
    fn from(how: Fg) -> Self {
        Self {
            timeout: how.timeout.map(milliseconds),
            receiver: how.receiver,
            wait_ready: how.wait_ready,
            retry: how.retry.map(host::Retry::from),
        }
    }
}

impl<T> BitAnd<Fg> for Call<T> {
    type Output = Result<T, CallError>;

    /// Makes the call and waits for its result.
    fn bitand(self, how: Fg) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        let answer = host::fg(&self.callback, &arguments, Some(&how.into()))?;
        (self.result)(answer).map_err(|why| misread(&self.callback, &why))
    }
}

impl<T> BitAnd<Bg> for Call<T> {
    type Output = Pending<T>;

    /// Begins the call. What is wrong with it shows when its result is asked for.
    fn bitand(self, how: Bg) -> Self::Output {
        let pending = match self.arguments {
            Ok(arguments) => host::bg(&self.callback, &arguments, Some(&how.into())),
            Err(why) => Err(unfit(&self.callback, &why)),
        };
        Pending::new(pending, self.callback, self.result)
    }
}

impl<T> BitAnd<Broadcast> for Call<T> {
    type Output = Result<Vec<Entry<T>>, CallError>;

    /// Calls every process that has the callback, and waits for all.
    fn bitand(self, how: Broadcast) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        let entries = host::broadcast(&self.callback, &arguments, Some(how.into()))?;
        Ok(entries.into_iter().map(|entry| Entry::read(entry, &self.callback, self.result)).collect())
    }
}

impl<T> BitAnd<Gather> for Call<T> {
    type Output = Result<Arrivals<T>, CallError>;

    /// Calls every process that has the callback.
    fn bitand(self, how: Gather) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        let arrivals = host::gather(&self.callback, &arguments, Some(how.0.into()))?;
        Ok(Arrivals::new(arrivals, self.callback, self.result))
    }
}

impl<T> BitAnd<Period> for Call<T> {
    type Output = Result<Task, CallError>;

    /// Has a process call it by this plan. What it gives is dropped.
    fn bitand(self, how: Period) -> Self::Output {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        host::schedule(&self.callback, &arguments, &how.plan, Some(&how.options)).map(Task::new)
    }
}

impl<T> Call<T> {
    /// The callback, the arguments, and what reads the result.
    ///
    /// # Errors
    /// The arguments cannot be encoded.
    pub(crate) fn into_parts(self) -> Result<Parts<T>, CallError> {
        let arguments = self.arguments.map_err(|why| unfit(&self.callback, &why))?;
        Ok((self.callback, arguments, self.result))
    }
}

/// A callback, arguments for it, and what reads its result.
pub(crate) type Parts<T> = (Cow<'static, str>, Value, fn(Value) -> Result<T, String>);

/// The arguments are no postcard.
pub(crate) fn unfit(callback: &str, why: &str) -> CallError {
    let message = format!("cannot encode the arguments of `{callback}`: {why}");
    CallError::local(Outcome::NotRun, "bad-arguments", callback, message)
}

/// The result is not of the type that the guest says. What it is of is looked up, where that can be told.
pub(crate) fn misread(callback: &str, why: &str) -> CallError {
    let is = signature_of(callback).map(|signature| format!("; it is {signature}")).unwrap_or_default();
    let message = format!("the result of `{callback}` is not of the type that this guest declares: {why}{is}");
    CallError::local(Outcome::Failed, "signature-mismatch", callback, message)
}

/// The signature of the one callback that goes by this name, full or short. None off wasm, where there is nobody to ask.
fn signature_of(callback: &str) -> Option<String> {
    if !cfg!(target_family = "wasm") {
        return None;
    }
    let mut all = mesh::callbacks().into_iter().filter(|known| goes_by(&known.name, callback));
    all.next().filter(|_| all.next().is_none()).map(|known| known.signature)
}

/// Whether a full name may be written so; versions aside.
fn goes_by(full: &str, written: &str) -> bool {
    let (full, written) = (without_version(full), without_version(written));
    full.strip_suffix(written.as_str()).is_some_and(|front| front.is_empty() || front.ends_with(['#', '/']))
}

/// `a:b/c@1.0.0#f` as `a:b/c#f`.
fn without_version(name: &str) -> String {
    let (interface, function) = name.rsplit_once('#').unwrap_or((name, ""));
    let (interface, _) = interface.split_once('@').unwrap_or((interface, ""));
    if function.is_empty() { interface.to_owned() } else { format!("{interface}#{function}") }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("callback", &self.callback).field("arguments", &self.arguments).finish()
    }
}

/// The arguments of a call, one after another. What [`fetchers!`](crate::fetchers!) builds; rarely needed by itself.
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    encoded: Vec<u8>,
    sources: Vec<Source>,
    refused: Option<String>,
}

impl Arguments {
    /// No arguments.
    pub const fn new() -> Self {
        Self { encoded: Vec::new(), sources: Vec::new(), refused: None }
    }

    /// One more argument.
    pub fn with(self, argument: &(impl Serialize + ?Sized)) -> Self {
        if self.refused.is_some() {
            return self;
        }
        let (sources, encoded) = collect(self.sources, || postcard::to_extend(argument, self.encoded));
        match encoded {
            Ok(encoded) => Self { encoded, sources, refused: None },
            Err(why) => Self { refused: Some(why.to_string()), ..Self::new() },
        }
    }

    /// The call of the callback `name` with these arguments.
    pub fn call<T: DeserializeOwned>(self, name: impl Into<Cow<'static, str>>) -> Call<T> {
        let arguments = match self.refused {
            None => Ok(Value::Postcard(self.encoded)),
            Some(why) => Err(why),
        };
        Call { callback: name.into(), arguments, sources: self.sources, result: decoded }
    }
}

/// The postcard answer as a Rust value, all of its bytes used.
pub(crate) fn decoded<T: DeserializeOwned>(answer: Value) -> Result<T, String> {
    let Value::Postcard(bytes) = answer else {
        return Err("it came in another encoding than it was asked for in".into());
    };
    match postcard::take_from_bytes(&bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(format!("{} of its {} bytes are left over", rest.len(), bytes.len())),
        Err(why) => Err(why.to_string()),
    }
}

/// The JSON or WAVE answer as it is.
fn text(answer: Value) -> Result<String, String> {
    match answer {
        Value::Json(text) | Value::Wave(text) => Ok(text),
        Value::Postcard(_) => Err("it came in another encoding than it was asked for in".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetchers;

    fetchers! {
        fn nothing() = "nothing";
        fn mixed(flag: bool, text: &str, items: &[u16], pair: (i64, Option<char>)) -> Result<String, u8> = "a:b/c#mixed";
    }

    #[test]
    fn arguments_are_the_parameters_one_after_another() {
        assert_eq!(nothing().arguments, Ok(Value::Postcard(vec![])));
        let call = mixed(true, "ab", &[1, 300], (-2, Some('x')));
        assert_eq!(call.callback, "a:b/c#mixed");
        let whole = postcard::to_stdvec(&(true, "ab", vec![1u16, 300], (-2i64, Some('x')))).unwrap();
        assert_eq!(call.arguments, Ok(Value::Postcard(whole.clone())));
        assert_eq!(
            super::call::<()>("n", (true, "ab", vec![1u16, 300], (-2i64, Some('x')))).arguments.unwrap(),
            Value::Postcard(whole)
        );
    }

    #[test]
    fn results_are_decoded_whole_or_refused() {
        assert_eq!(decoded::<i64>(Value::Postcard(vec![40])), Ok(20));
        assert_eq!(decoded::<()>(Value::Postcard(vec![])), Ok(()));
        assert_eq!(decoded::<Result<String, u8>>(Value::Postcard(vec![1, 7])), Ok(Err(7)));
        assert!(decoded::<i64>(Value::Postcard(vec![40, 0])).unwrap_err().contains("1 of its 2 bytes"));
        assert!(decoded::<String>(Value::Postcard(vec![3, b'a'])).is_err());
        assert!(decoded::<i64>(Value::Json("20".into())).is_err());
        assert_eq!(text(Value::Json("20".into())), Ok("20".into()));
    }

    #[test]
    fn a_callback_is_known_by_its_full_name_and_by_short_ones() {
        for written in ["a:b/math@1.0.0#sum", "a:b/math#sum", "math#sum", "sum"] {
            assert!(goes_by("a:b/math@1.0.0#sum", written), "{written}");
        }
        for written in ["um", "ath#sum", "math#sums", "b:b/math#sum", ""] {
            assert!(!goes_by("a:b/math@1.0.0#sum", written), "{written}");
        }
        assert!(misread("sum", "1 byte is left over").message.ends_with("1 byte is left over"), "nobody to ask");
    }

    #[test]
    fn options_of_fg_add_up() {
        let how = Fg::timeout(Duration::from_secs(1)).receiver("worker").wait_ready();
        assert_eq!(
            how,
            Fg {
                timeout: Some(Duration::from_secs(1)),
                receiver: Some("worker".into()),
                wait_ready: true,
                retry: None
            }
        );
        assert_eq!(FG.receiver("worker").timeout_option(), None);
    }

    impl Fg {
        fn timeout_option(&self) -> Option<Duration> {
            self.timeout
        }
    }
}
