//! `daffi-runtime call --stream`: items from the lines of stdin to a callback, and what it gives to stdout.
//!
//! ```text
//!   stdin ──▶ thread: lines ──▶ feed: items ──▶ the call ──▶ show: lines ──▶ thread ──▶ stdout
//! ```
//!
//! Invariants: what is read and not sent, or received and not printed, is a chunk at each place; so who reads slowly slows
//! the callback, and that slows whoever writes the lines. The threads that wait for stdin and stdout are not those of the
//! link, which stays alive however long they wait.

mod lines;
mod shape;

use std::pin::pin;
use std::time::Duration;

use daffi_proto::call::{CallRequest, Mode, Resolved};
use daffi_proto::error::{CallError, code};
use daffi_proto::id::ProcessName;
use daffi_proto::stream::Ending;
use daffi_proto::value::{Encoded, Encoding};
use tokio::sync::mpsc;

use self::lines::{Chunks, Lines, Page};
use self::shape::Shape;
pub use self::shape::why_no_lines;
use super::args::CallArgs;
use super::call::Reading;
use super::client::Client;
use super::written::{self, Wait, Written, failure};
use crate::exit::{self, Failure};
use crate::mesh::handle::{StreamReader, StreamWriter, StreamingCall};
use crate::plain::plain_json;

/// What became of the lines.
enum Fed {
    /// All of them were taken, or no more were wanted.
    Done,
    /// One is no item of the stream, or cannot be read.
    Wrong(Failure),
    /// The stream ended before they did.
    Broken(CallError),
}

/// Why printing ended before its end.
enum Unshown {
    /// Nobody reads stdout any more.
    NoReader,
    /// It does not take what is printed.
    Full(Failure),
    /// The call, or its stream, failed.
    Failed(CallError),
}

/// What a call with streams came to that did not end well.
enum Failed {
    /// A line cannot be used, or cannot be printed.
    Lines(Failure),
    Call(CallError),
}

impl Failed {
    /// The failure of a call of this callback: a stream does not know whose it is.
    fn of(self, resolved: &Resolved) -> Failure {
        match self {
            Self::Lines(failure) => failure,
            Self::Call(error) if error.callback.is_empty() => {
                failure(&CallError { callback: resolved.callback.to_string(), ..error })
            }
            Self::Call(error) => failure(&error),
        }
    }
}

/// Calls, streams, and prints.
///
/// # Errors
/// A signature that does not fit, a line that is no item, or a call that failed; the exit code says which.
pub async fn run(
    client: &Client,
    written: &Written<'_>,
    receiver: Option<ProcessName>,
    wait: Wait,
    how: &CallArgs,
) -> Result<(), Failure> {
    let resolved = written.resolve(client, receiver.clone(), wait).await?;
    let shape = Shape::of(written, &resolved)?;
    let request = CallRequest {
        args: shape.args.clone(),
        mode: shape.mode,
        channels: shape.input.iter().map(|(flow, _)| *flow).collect(),
        // It is the time without progress: what looking up took is no part of it.
        timeout: how.timeout,
        spent: Duration::ZERO,
        ..written::request(client, &resolved, receiver, wait)
    };
    let mut call = client.mesh().start_streaming(request).await.map_err(|error| failure(&error))?;
    let writer = std::mem::take(&mut call.writers).pop();
    let work = both(feed(writer, &shape, written.encoding(), &resolved), show(call, &shape, written, &resolved));
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Err(Failure::new(exit::INTERRUPTED, "interrupted: the call was cancelled")),
        ended = work => ended.map_err(|failed| failed.of(&resolved)),
    }
}

/// Waits for both ends. A wrong line is what is told, whatever it made of the call; where that fails by itself the lines that
/// are left are not waited for.
async fn both(fed: impl Future<Output = Fed>, shown: impl Future<Output = Result<(), Unshown>>) -> Result<(), Failed> {
    let (mut feeding, mut showing) = (pin!(fed), pin!(shown));
    let (mut fed, mut is_shown) = (None, false);
    while fed.is_none() || !is_shown {
        tokio::select! {
            biased;
            end = &mut feeding, if fed.is_none() => fed = Some(end),
            shown = &mut showing, if !is_shown => match (shown, fed.take()) {
                (Ok(()), so_far) => (is_shown, fed) = (true, so_far),
                (Err(Unshown::NoReader), _) => return Ok(()), // no failure of the call
                (Err(Unshown::Full(failure)), _) => return Err(Failed::Lines(failure)),
                (Err(Unshown::Failed(_)), Some(Fed::Wrong(wrong))) => return Err(Failed::Lines(wrong)),
                (Err(Unshown::Failed(error)), _) => return Err(Failed::Call(error)),
            },
        }
    }
    match fed {
        Some(Fed::Wrong(wrong)) => Err(Failed::Lines(wrong)),
        Some(Fed::Broken(error)) => Err(Failed::Call(error)),
        Some(Fed::Done) | None => Ok(()),
    }
}

/// Gives the callback the lines of stdin, if it takes any.
async fn feed(writer: Option<StreamWriter>, shape: &Shape, encoding: Encoding, resolved: &Resolved) -> Fed {
    let (Some(mut writer), Some((flow, items))) = (writer, &shape.input) else { return Fed::Done };
    let mut lines = match lines::read() {
        Ok(lines) => lines,
        Err(error) => return Fed::Wrong(error),
    };
    loop {
        let read = tokio::select! {
            biased;
            ending = writer.ended() => return Fed::of(&ending),
            read = lines.recv() => read,
        };
        let (batch, mut wrong) = match read {
            None => {
                writer.finish();
                return Fed::of(&writer.ended().await);
            }
            Some(Ok(batch)) => (batch, None),
            Some(Err(error)) => (Lines::default(), Some(error)),
        };
        let mut chunks = Chunks::new(*flow);
        for (number, line) in batch.numbered() {
            let text = match std::str::from_utf8(line) {
                Ok(text) if text.trim().is_empty() && !items.are_units() => continue,
                Ok(text) => text.to_owned(),
                Err(error) => {
                    wrong = Some(Failure::usage(format!("line {number}: {error}")));
                    break;
                }
            };
            let item = if encoding == Encoding::Json { Encoded::Json(text) } else { Encoded::Wave(text) };
            match items.encode(item) {
                Ok(item) => chunks.add(&item),
                Err(error) => {
                    let (callback, signature) = (&resolved.callback, resolved.signature.to_wit());
                    wrong = Some(Failure::usage(format!("line {number}: {error}; {callback} is {signature}")));
                    break;
                }
            }
        }
        for chunk in chunks.take() {
            if let Err(ending) = writer.write(chunk).await {
                return Fed::of(&ending);
            }
        }
        if let Some(wrong) = wrong {
            match shape.mode {
                // What comes before it is served, and its results are printed.
                Mode::Each => writer.finish(),
                // A part is not to be taken for the whole.
                Mode::Whole => {
                    let callback = resolved.callback.to_string();
                    writer.fail(CallError::failed(code::CANCELLED, wrong.message.clone(), callback));
                }
            }
            return Fed::Wrong(wrong);
        }
    }
}

impl Fed {
    fn of(ending: &Ending) -> Self {
        match ending {
            // A callback may want no more than it has.
            Ending::Finished | Ending::Cancelled(None) => Self::Done,
            other => other.error().map_or(Self::Done, Self::Broken),
        }
    }
}

/// Prints what the call gives, until that has ended and is printed.
async fn show(call: StreamingCall, shape: &Shape, written: &Written<'_>, resolved: &Resolved) -> Result<(), Unshown> {
    let page = Page::open();
    let shown = tokio::select! {
        biased;
        shown = show_on(&page.texts, call, shape, written, resolved) => shown,
        () = page.texts.closed() => Err(Unshown::NoReader),
    };
    // Also what came before a failure.
    match (page.close().await, shown) {
        (Err(failure), Ok(()) | Err(Unshown::NoReader)) => Err(Unshown::Full(failure)),
        (_, shown) => shown,
    }
}

async fn show_on(
    page: &mpsc::Sender<String>,
    call: StreamingCall,
    shape: &Shape,
    written: &Written<'_>,
    resolved: &Resolved,
) -> Result<(), Unshown> {
    let mut answer = call.await.map_err(Unshown::Failed)?;
    let Some(items) = &shape.output else {
        let reading = Reading::of_result(resolved, written);
        return match reading.text(&answer.reply).map_err(Unshown::Failed)?.filter(|text| !text.is_empty()) {
            Some(text) => page.send(text + "\n").await.map_err(|_| Unshown::NoReader),
            None => Ok(()),
        };
    };
    let defect = |what: String| {
        let error = CallError::failed(code::INTERNAL, what, resolved.callback.to_string());
        Unshown::Failed(error.at(answer.reply.process.as_str()))
    };
    let Some(mut reader) = answer.readers.pop().filter(|_| answer.readers.is_empty()) else {
        return Err(defect("the streams of the result are not those of its type".to_owned()));
    };
    while let Some(mut chunk) = next(&mut reader).await? {
        let mut text = String::new();
        while chunk.count > 0 {
            let read = items.decode(&mut chunk, u32::MAX, written.encoding());
            let read = read.map_err(|error| defect(format!("an item of the result cannot be read: {error}")))?;
            for item in read {
                let item = match item {
                    Encoded::Json(item) => plain_json(&item),
                    Encoded::Wave(item) => item,
                    Encoded::Postcard(_) => continue, // nobody asked for that
                };
                if !item.is_empty() {
                    text.push_str(&item);
                    text.push('\n');
                }
            }
        }
        page.send(text).await.map_err(|_| Unshown::NoReader)?;
    }
    Ok(())
}

async fn next(reader: &mut StreamReader) -> Result<Option<daffi_proto::stream::Chunk>, Unshown> {
    let next = reader.next().await;
    next.or_else(|ending| ending.error().map_or(Ok(None), |error| Err(Unshown::Failed(error))))
}
