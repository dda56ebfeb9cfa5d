//! Processes of the mesh as lists and watchers are told of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ProcessName, ProcessRef};
use crate::name::CallbackName;
use crate::registry::Callback;
use crate::signature::Signature;
use crate::usage::Usage;

/// A process of the mesh, as lists show it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// Its tenant and name.
    pub process: ProcessRef,
    /// The name of the runtime that it lives in.
    pub node: String,
    /// How its instances are kept.
    pub instances: String,
    /// Live instances, calls being served and calls in its queue, as its node last told.
    pub load: Load,
    /// Its callbacks.
    pub callbacks: Vec<CallbackInfo>,
    /// What it has done and used, where that was asked for and its node has told it.
    pub usage: Option<Box<Usage>>,
}

/// How much a list tells of each process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Detail {
    /// 0: what it is doing.
    #[default]
    Load,
    /// 1: and what it has done and used ([`Usage`]).
    Usage,
}

/// A callback of a [`ProcessInfo`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallbackInfo {
    /// Its full name.
    pub name: CallbackName,
    /// Its type.
    pub signature: Arc<Signature>,
}

impl From<&Callback> for CallbackInfo {
    fn from(callback: &Callback) -> Self {
        Self { name: callback.name.clone(), signature: callback.signature.clone() }
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Instances that live.
    pub instances: u32,
    /// Calls being served or queued.
    pub in_flight: u32,
    /// Scheduled tasks that it lists. Its node counts them; whoever tells the node a load leaves it at 0.
    pub schedules: u32,
    /// Calls to others that it has open, results included that its guests have not dropped.
    pub open_calls: u32,
    /// Streams and futures that it has open, those that its guests read and those that they write.
    pub open_streams: u32,
    /// Handles that its guests hold: of calls, streams and watches, and of what they wait for of these.
    pub handles: u32,
}

/// What watchers are told of a tenant's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberEvent {
    /// It is there: it came, or was there when the watch began.
    Joined(Member),
    /// It came back from a lost link, or was replaced, with other callbacks.
    CallbacksChanged(Member),
    /// It is there no more.
    Left {
        /// Its name.
        name: ProcessName,
        /// The runtime that it lived in.
        node: String,
    },
}

/// A process as watchers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in the watched tenant.
    pub name: ProcessName,
    /// The name of the runtime that it lives in.
    pub node: Arc<str>,
    /// Its callbacks, as the registry has them: many may watch, and not read.
    pub callbacks: Arc<[Callback]>,
}

impl Member {
    /// The full names of its callbacks.
    pub fn callback_names(&self) -> impl Iterator<Item = String> {
        self.callbacks.iter().map(|callback| callback.name.to_string())
    }
}
