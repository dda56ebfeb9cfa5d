//! `daffi-runtime events`: who comes and goes, as it happens.
//!
//! It begins with one `joined` for each process that is there, and goes on until it is interrupted, its reader has gone,
//! or the controller has.

use std::time::Duration;

use daffi_proto::call::{Member, MemberEvent};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::args::EventsArgs;
use super::client::{self, Client, Joining, LEAVE_TIMEOUT, call_failure};
use super::stdout::{Reader, print};
use crate::exit::{self, Failure};
use crate::mesh::handle::{LinkState, Watch};
use crate::plain::plain;

/// How long joining may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints events until somebody or something ends it.
///
/// # Errors
/// No controller, or one that has gone; stdout cannot be written.
pub fn run(args: &EventsArgs) -> Result<(), Failure> {
    client::block_on(async {
        let client = Client::join(&args.connect, Joining::AtOnce(JOIN_TIMEOUT)).await?;
        let watch = client.mesh().watch(client.tenant()).await.map_err(|error| call_failure(&error));
        let ended = match watch {
            Ok(watch) => follow(&client, watch, args.json).await,
            Err(error) => Err(error),
        };
        client.leave(LEAVE_TIMEOUT).await;
        ended
    })
}

async fn follow(client: &Client, mut watch: Watch, json: bool) -> Result<(), Failure> {
    // From before the first line: who has read that may interrupt.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::new(exit::FAILED, format!("signals cannot be heard: {error}")))?;
    let mut link = client.mesh().link();
    loop {
        let event = tokio::select! {
            biased;
            event = watch.next() => event,
            _ = interrupt.recv() => return Ok(()),
            _ = link.wait_for(|state| *state != LinkState::Up) => {
                return Err(Failure::new(exit::NO_CONTROLLER, "the controller has gone: start this again when it is back"));
            }
        };
        let event = match event {
            Some(event) => event.map_err(|error| call_failure(&error))?,
            None => {
                return Err(Failure::new(exit::FAILED, "too many events at once: some were missed; start this again"));
            }
        };
        let line = if json { as_json(&event) } else { plain(&as_text(&event)) };
        if print(&format!("{line}\n"))? == Reader::Gone {
            return Ok(());
        }
    }
}

fn as_text(event: &MemberEvent) -> String {
    let has = |member: &Member| {
        let names: Vec<String> = member.callback_names().collect();
        if names.is_empty() { "no callbacks".to_owned() } else { names.join(", ") }
    };
    match event {
        MemberEvent::Joined(member) => format!("joined   {} ({}): {}", member.name, member.node, has(member)),
        MemberEvent::CallbacksChanged(member) => format!("changed  {} ({}): {}", member.name, member.node, has(member)),
        MemberEvent::Left { name, node } => format!("left     {name} ({node})"),
    }
}

/// An event in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Event<'a> {
    event: &'static str,
    process: &'a str,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callbacks: Option<Vec<String>>,
}

fn as_json(event: &MemberEvent) -> String {
    let of = |event, member: &'_ Member| {
        (event, member.name.clone(), member.node.to_string(), Some(member.callback_names().collect()))
    };
    let (event, process, node, callbacks) = match event {
        MemberEvent::Joined(member) => of("joined", member),
        MemberEvent::CallbacksChanged(member) => of("callbacks-changed", member),
        MemberEvent::Left { name, node } => ("left", name.clone(), node.clone(), None),
    };
    // Nothing in it can fail to be JSON.
    serde_json::to_string(&Event { event, process: process.as_str(), node: &node, callbacks }).unwrap_or_default()
}
