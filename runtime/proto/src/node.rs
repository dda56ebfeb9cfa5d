//! A node's state machine.
//!
//! The user feeds [`Input`]s with the time and takes [`Output`]s until there are none; [`Node::next_timeout`] says when
//! to come back with [`Input::Timer`] at the latest.

use std::time::Duration;

use crate::call::{
    CallReply, CallRequest, Incoming, Load, ProcessInfo, ProcessSpec, ResolveRequest, Resolved, ServeResult, WaitFor,
};
use crate::error::CallError;
use crate::frame::Frame;
use crate::id::{LocalId, ServeId, TenantName, Token};

/// What happens to a node.
#[derive(Debug)]
pub enum Input {
    /// A link to the controller is there; the node starts the handshake.
    LinkUp,
    /// The link broke, with the reason for the log.
    LinkDown(String),
    /// A frame arrived.
    Frame(Frame),
    /// The link's queue was full: this frame was not sent.
    NotSent(Frame),
    /// The user wants something.
    Command(Command),
    /// Nothing but the time.
    Timer,
}

/// What the user of a node wants.
#[derive(Debug)]
pub enum Command {
    /// Put a process on the mesh; answered by [`Output::ProcessAdded`].
    AddProcess { token: Token, spec: ProcessSpec },
    /// Take it off; calls that it serves may still be answered.
    RemoveProcess(LocalId),
    /// Answered by [`Output::CallDone`].
    Call { token: Token, request: CallRequest },
    /// Give up a call, a resolve or a wait: no answer will come for the token.
    Cancel(Token),
    /// Answered by [`Output::Resolved`].
    Resolve { token: Token, request: ResolveRequest },
    /// Answered by [`Output::WaitDone`].
    Wait { token: Token, tenant: TenantName, what: WaitFor, but: Option<LocalId>, timeout: Duration },
    /// Answered by [`Output::Processes`].
    List { token: Token, tenant: TenantName },
    /// The answer to an [`Output::Serve`].
    Served { id: ServeId, result: ServeResult },
    /// What a process is doing now.
    Load { process: LocalId, load: Load },
    /// Take no new calls; the controller sends none from then on. Calls in flight go on.
    Drain,
    /// Say goodbye to the controller.
    Leave,
}

/// What a node wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this to the controller.
    Send(Frame),
    /// Close the link, with the reason for the log. `again` tells whether to dial anew.
    CloseLink { reason: String, again: bool },
    /// The node is connected (handshake done, processes registered).
    Connected,
    /// It no longer is.
    Disconnected { reason: String },
    /// The controller refuses this node for good: a taken name, another protocol version.
    Refused { code: &'static str, message: String },
    /// The process has a number; or its name is taken.
    ProcessAdded { token: Token, result: Result<LocalId, CallError> },
    /// A call for a process of this node.
    Serve(Incoming),
    /// Nobody waits for this call any more: its result will be dropped.
    CancelServe(ServeId),
    /// A call ended.
    CallDone { token: Token, result: Result<CallReply, CallError> },
    /// A name was looked up.
    Resolved { token: Token, result: Result<Resolved, CallError> },
    /// A wait ended.
    WaitDone { token: Token, result: Result<(), CallError> },
    /// A list.
    Processes { token: Token, processes: Vec<ProcessInfo> },
}
