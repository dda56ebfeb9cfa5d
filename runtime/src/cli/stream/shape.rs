//! How a callback is called with the lines of stdin: whole, once an item, or without any.

use bytes::Bytes;
use daffi_proto::call::{Mode, Resolved};
use daffi_proto::signature::{DefKind, Field, Signature, Type};
use daffi_proto::stream::Flow;
use daffi_proto::value::{self, Channel, Items, Limits};

use crate::cli::written::Written;
use crate::exit::Failure;

/// What is sent, and what is given and taken beside it.
pub struct Shape {
    /// Whether it is called once, or once an item.
    pub mode: Mode,
    /// The arguments in postcard, the number of the stream in its place.
    pub args: Bytes,
    /// What the lines of stdin are; none where they are not read.
    pub input: Option<(Flow, Items)>,
    /// What the lines of stdout are; none where the result is one value.
    pub output: Option<Items>,
}

impl Shape {
    /// That of a callback: one `stream<T>` parameter at most, which is not written in the call, and a stream as its result
    /// or none in it. One without any stream is called once an item.
    ///
    /// # Errors
    /// Other streams and futures; arguments that do not fit the other parameters.
    pub fn of(written: &Written<'_>, resolved: &Resolved) -> Result<Self, Failure> {
        let (signature, limits) = (&*resolved.signature, Limits::default());
        let unfit = |why: &str| {
            let message = format!("--stream does not fit {}: {why}; it is {}", resolved.callback, signature.to_wit());
            Failure::usage(message)
        };
        if !signature.has_streams() {
            if !written.has_no_args() {
                return Err(unfit("it has no stream, so that it is called once a line: leave its arguments out"));
            }
            let input = Some((Flow::Items, Items::of_calls(signature, limits)));
            let output = Some(Items::of_results(signature, limits));
            return Ok(Self { mode: Mode::Each, args: Bytes::new(), input, output });
        }
        let Lines { given, first, others } = lines(signature).map_err(unfit)?;
        let output = given.map(|channel| Items::of_channel(signature, &channel, limits));
        let place = first.map(|(place, _)| place);
        let args = written.encode_for(resolved, &others)?;
        let args = match place {
            None => args,
            Some(place) => {
                let before = with_params(signature, |other| other < place);
                let at = value::first_args(&before, &args, &limits).map_err(Failure::usage)?;
                let (head, tail) = args.split_at_checked(at).unwrap_or((&args, &[]));
                // It is the first channel.
                [head, &[0], tail].concat().into()
            }
        };
        let input = first.map(|(_, channel)| (Flow::of(&channel), Items::of_channel(signature, &channel, limits)));
        Ok(Self { mode: Mode::Whole, args, input, output })
    }
}

/// The streams of a function, where lines can be those.
struct Lines {
    /// What it gives, if that is a stream.
    given: Option<Channel>,
    /// The parameter that is one, with its place.
    first: Option<(usize, Channel)>,
    /// The function without that parameter and its result.
    others: Signature,
}

fn lines(signature: &Signature) -> Result<Lines, &'static str> {
    let given = signature.result.and_then(|result| stream(signature, result));
    if given.is_none() && signature.gives_streams() {
        return Err("its result has a future, or a stream within another type");
    }
    let found = |(place, param): (usize, &Field)| stream(signature, param.ty).map(|channel| (place, channel));
    let mut streams = signature.params.iter().enumerate().filter_map(found);
    let (first, second) = (streams.next(), streams.next());
    if second.is_some() {
        return Err("it takes several streams, and there is one stdin");
    }
    let place = first.map(|(place, _)| place);
    let others = with_params(signature, |other| Some(other) != place);
    if others.has_streams() {
        return Err("a parameter has a future, or a stream within another type");
    }
    Ok(Lines { given, first, others })
}

/// Why the streams of a function can be no lines; nothing where they can.
pub fn why_no_lines(signature: &Signature) -> Option<&'static str> {
    lines(signature).err()
}

/// The stream that a type is.
fn stream(signature: &Signature, ty: Type) -> Option<Channel> {
    match signature.def(ty)?.kind {
        DefKind::Stream(item) => Some(Channel::Stream(item)),
        _ => None,
    }
}

/// A function with those of the parameters that stand at these places, which gives nothing.
fn with_params(signature: &Signature, keep: impl Fn(usize) -> bool) -> Signature {
    let kept = signature.params.iter().enumerate().filter(|(place, _)| keep(*place));
    let params = kept.map(|(_, param)| param.clone()).collect();
    Signature { defs: signature.defs.clone(), params, result: None, is_async: false }
}
