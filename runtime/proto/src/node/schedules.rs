//! The scheduled tasks of this node's processes, and their runs.
//!
//! ```text
//!   Add, Cancel ──▶ table ──(written down, see `keep`)──▶ the answer
//!                     │ a tick
//!                     ▼
//!                   Serve, without a caller ──Served──▶ counted
//! ```
//!
//! A table lives as long as its process's stay at this node, with or without a link. Its ticks begin when the process is
//! on the mesh for the first time, pause while somebody else holds its name, and end when the node drains; ticks that pass
//! meanwhile are missed. A run is a served call that counts as in flight: a node that drains lets it finish.
//!
//! Invariants: where a table is written down, who made or cancelled a task is answered after that; a run is told to its
//! task once, when it is really over; a task whose callback the process has not (any more) fails at each tick, and stays.

mod agenda;
mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::agenda::Agenda;
pub use self::keep::SAVE_COUNTS_EVERY;
use self::keep::{Kept, Unsaved};
use super::calls::Place;
use super::{CallKey, MAX_SERVED_CALLS, Node, Output, Peer, TaskTrouble, Via, Wire, outcome, serve};
use crate::call::{Answer, Hop, Incoming, Schedules as TableSpec};
use crate::error::CallError;
use crate::frame::{Frame, Header};
use crate::id::{CallId, LocalId, ProcessName, TenantName};
use crate::schedule::{
    MAX_SHOWN_ARGS_BYTES, Run, RunNumber, ScheduleError, Step, TaskId, TaskNumber, TaskOp, TaskPage, TaskSpec, Tasks,
};
use crate::stream::Flows;
use crate::value::{self, Limits};

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Schedules {
    tables: BTreeMap<LocalId, Table>,
    agenda: Agenda,
    /// How often one was looked at.
    looks: u64,
}

/// The tasks of one process.
#[derive(Debug)]
struct Table {
    tasks: Tasks,
    kept: Option<Kept>,
}

/// Who asked for something to be done with tasks.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnswerTo {
    /// A call of this node.
    Call(CallKey),
    /// Another node, by the call's id on the link to the controller.
    Link(CallId),
}

impl Schedules {
    pub fn next(&self) -> Option<Duration> {
        self.agenda.next()
    }

    /// How often a table was looked at.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.tables.values().map(|table| table.tasks.len()).sum()
    }

    /// The table of a process, to be changed.
    fn touch(&mut self, process: LocalId) -> Option<&mut Table> {
        let table = self.tables.get_mut(&process)?;
        self.agenda.touch(process);
        Some(table)
    }

    /// The link is lost, and with it those who wait for an answer over it.
    pub fn forget_link(&mut self) {
        for kept in self.tables.values_mut().filter_map(|table| table.kept.as_mut()) {
            kept.forget_link();
        }
    }
}

impl Node {
    /// A process of this node has come, with these tasks.
    pub(super) fn add_table(&mut self, id: LocalId, process: &ProcessName, spec: TableSpec) {
        let table = match spec {
            TableSpec::Fresh(limit) => Table { tasks: Tasks::new(process.clone(), limit, self.clock()), kept: None },
            TableSpec::Kept(tasks) => Table { tasks: *tasks, kept: Some(Kept::default()) },
        };
        self.schedules.tables.insert(id, table);
        self.count_tasks(id);
    }

    /// It has gone, and its tasks with it; what is known of them is written down.
    pub(super) fn remove_table(&mut self, id: LocalId) {
        self.schedules.agenda.forget(id);
        if let Some(Table { tasks, kept: Some(kept) }) = self.schedules.tables.remove(&id) {
            self.save_last(id, tasks, kept);
        }
    }

    /// Something has happened that may let the ticks of a process begin.
    pub(super) fn look_at_schedules(&mut self, id: LocalId) {
        self.schedules.agenda.touch(id);
    }

    /// A request came over the link. Who made a task is whoever the controller says has called: the payload is the
    /// caller's own word.
    pub(super) fn take_task_op(
        &mut self,
        id: CallId,
        process: LocalId,
        timeout_ms: u64,
        chain: &[Hop],
        payload: &[u8],
    ) {
        let to = AnswerTo::Link(id);
        let Some(name) = self.schedules.tables.get(&process).map(|table| table.tasks.process().clone()) else {
            return self.answer_failed(to, &outcome::receiver_left(""));
        };
        match Frame::decode_bytes::<TaskOp>("Call", payload) {
            Ok(_) if timeout_ms == 0 => self.answer_failed(to, &outcome::late(&name, String::new())),
            Ok(TaskOp::Add(mut spec)) => {
                spec.creator = chain.last().and_then(|hop| hop.process.clone());
                self.do_task_op(process, TaskOp::Add(spec), to);
            }
            Ok(op) => self.do_task_op(process, op, to),
            Err(error) => {
                let error = outcome::internal(&error.to_string(), "").at(name.as_str());
                self.answer_failed(to, &error);
            }
        }
    }

    /// Does what is asked, and answers when it is done, and written down where it is to be.
    pub(super) fn do_task_op(&mut self, process: LocalId, op: TaskOp, to: AnswerTo) {
        let (made, cancelled) = (matches!(op, TaskOp::Add(_)), matches!(op, TaskOp::Cancel(_)));
        if let Err(error) = self.may_do(process, &op) {
            return self.answer_failed(to, &error);
        }
        let clock = self.clock();
        let Some(table) = self.schedules.touch(process) else {
            return self.answer_failed(to, &outcome::receiver_left(""));
        };
        let name = table.tasks.process().clone();
        let callback = if let TaskOp::Add(spec) = &op { spec.callback.to_string() } else { String::new() };
        let record = self.mesh.get(Peer::Local(process));
        let show = |spec: &TaskSpec| {
            let mut callbacks = record?.callbacks.iter().map(|callback| (&callback.name, &callback.signature));
            let (_, signature) = callbacks.find(|(name, _)| **name == spec.callback)?;
            let is_same = signature.fingerprint() == spec.fingerprint;
            is_same.then(|| value::args_to_wave_cut(signature, &spec.args, MAX_SHOWN_ARGS_BYTES))
        };
        let page = match table.tasks.carry_out(clock, op, &show) {
            Ok(page) => page,
            Err(error) => {
                let error = error.into_call_error(&callback).at(name.as_str());
                return self.answer_failed(to, &error);
            }
        };
        match &mut table.kept {
            Some(kept) if made || cancelled => {
                kept.answer_later(Unsaved { changes: table.tasks.changes(), to, page, made });
                self.save(process);
                self.count_tasks(process);
            }
            Some(_) | None => {
                // Before the answer, so that whoever has it finds the task in the next list.
                self.count_tasks(process);
                self.answer_task_op(to, Ok(page), &name);
            }
        }
    }

    /// What a table cannot know of its process.
    fn may_do(&self, process: LocalId, op: &TaskOp) -> Result<(), CallError> {
        let (TaskOp::Add(spec), Some(local)) = (op, self.locals.get(&process)) else { return Ok(()) };
        let (name, callback) = (&local.process.name, spec.callback.to_string());
        if self.draining || local.removed {
            return Err(outcome::receiver_drains(name, callback));
        }
        if let Some(full) = self.tenant_is_full(&local.process.tenant) {
            return Err(full.into_call_error(&callback).at(name.as_str()));
        }
        let place =
            self.place_of(process, &spec.callback, spec.fingerprint).map_err(|error| error.at(name.as_str()))?;
        let record = self.mesh.get(Peer::Local(process)).and_then(|record| record.callbacks.get(place as usize));
        let Some(signature) = record.map(|callback| &callback.signature) else { return Ok(()) };
        if signature.has_streams() {
            return Err(outcome::streams_are_not_scheduled(callback).at(name.as_str()));
        }
        let checked = value::check_args(signature, &spec.args, &Limits::for_payload(self.config.max_payload_bytes));
        checked.map_err(|error| {
            let reason = format!("{error}; it is {}", signature.to_wit());
            outcome::bad_arguments(&reason, callback).at(name.as_str())
        })
    }

    /// Whether the processes of a tenant have as many tasks as they may together.
    fn tenant_is_full(&self, tenant: &TenantName) -> Option<ScheduleError> {
        let limit = *self.config.max_tasks.get(tenant)?;
        let of_tenant = self.locals.iter().filter(|(_, local)| local.process.tenant == *tenant);
        let tables = of_tenant.filter_map(|(id, _)| self.schedules.tables.get(id));
        let tasks: usize = tables.map(|table| table.tasks.unfinished()).sum();
        (tasks >= limit).then(|| ScheduleError::TenantIsFull { tenant: tenant.clone(), limit })
    }

    /// The place of a callback in its process's table.
    fn place_of(
        &self,
        process: LocalId,
        name: &crate::name::CallbackName,
        fingerprint: crate::signature::Fingerprint,
    ) -> Result<u32, CallError> {
        let Some(record) = self.mesh.get(Peer::Local(process)) else { return Err(outcome::receiver_left("")) };
        let place = record.callbacks.iter().position(|callback| callback.name == *name);
        let found = place.and_then(|place| Some((u32::try_from(place).ok()?, record.callbacks.get(place)?)));
        match found {
            Some((place, callback)) if callback.signature.fingerprint() == fingerprint => Ok(place),
            Some((_, callback)) => Err(outcome::changed_callback(&callback.signature, name.to_string())),
            None => Err(outcome::lost_callback(name.to_string())),
        }
    }

    /// Begins what is due, where the process may run something. Only tables that are due, or that something was done to,
    /// are looked at.
    pub(super) fn run_schedules(&mut self) {
        for id in self.schedules.agenda.take(self.now) {
            self.schedules.looks += 1;
            let may_tick = self.may_tick(id);
            if may_tick {
                while let Some(step) = self.next_step(id) {
                    self.take_step(id, step);
                }
            }
            self.save(id);
            let table = self.schedules.tables.get(&id);
            let tick = table.filter(|_| may_tick).and_then(|table| table.tasks.next_timeout());
            let save = table.and_then(|table| table.kept.as_ref()?.next_look());
            // Runs that were over at once have touched it, and are dealt with.
            self.schedules.agenda.set(id, tick.into_iter().chain(save).min());
        }
    }

    fn may_tick(&self, id: LocalId) -> bool {
        let may = |local: &super::directory::Local| local.known && local.held.is_none() && !local.removed;
        !self.draining && self.locals.get(&id).is_some_and(may)
    }

    fn next_step(&mut self, id: LocalId) -> Option<Step> {
        let clock = self.clock();
        self.schedules.tables.get_mut(&id)?.tasks.due(clock)
    }

    fn take_step(&mut self, process: LocalId, step: Step) {
        let (task, trouble) = match step {
            Step::Run(run) => return self.begin_run(process, run),
            Step::Skipped { task, tick } => (task, TaskTrouble::Skipped(tick)),
            Step::Missed { task, tick } => (task, TaskTrouble::Missed(tick)),
        };
        self.outputs.push_back(Output::TaskTrouble { task, trouble });
    }

    fn begin_run(&mut self, process: LocalId, run: Run) {
        let place = match self.place_of(process, &run.callback, run.fingerprint) {
            Ok(_) if self.serves.len() >= MAX_SERVED_CALLS => {
                Err(outcome::node_full(&run.task.process, run.callback.to_string()))
            }
            place => place,
        };
        let callback = match place {
            Ok(callback) => callback,
            Err(error) => return self.run_ended(process, run.task.number, run.run, Err(error)),
        };
        // As a call from the command line: those below it are not the first of their chain.
        let chain: Arc<[Hop]> = [Hop { process: None, instance: 0 }].into();
        let (id, deadline) = (self.next_serve(), self.deadline(run.timeout));
        let caller = serve::AnswerTo::Task { task: run.task.number, run: run.run };
        let incoming = Incoming {
            id,
            process,
            callback,
            args: run.args,
            caller: None,
            chain,
            deadline,
            answer: Answer::Result,
            channels: Flows::default(),
        };
        let time = incoming.deadline.saturating_sub(self.now);
        self.begin_serve(caller, incoming, time);
    }

    /// A run is really over, with its result dropped.
    pub(super) fn run_ended(
        &mut self,
        process: LocalId,
        number: TaskNumber,
        run: RunNumber,
        result: Result<(), CallError>,
    ) {
        let clock = self.clock();
        let Some(table) = self.schedules.touch(process) else { return };
        let task = TaskId { process: table.tasks.process().clone(), number };
        let known = table.tasks.get(clock, &task).is_ok();
        table.tasks.ended(clock, &task, run, result.as_ref().copied());
        if let (Err(error), true) = (result, known) {
            self.outputs.push_back(Output::TaskTrouble { task, trouble: TaskTrouble::Failed(error) });
        }
    }

    /// The number of a process's tasks may be another.
    fn count_tasks(&mut self, id: LocalId) {
        let tasks = self.schedules.tables.get(&id).map_or(0, |table| table.tasks.len());
        let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
        if let Some(local) = self.locals.get_mut(&id)
            && std::mem::replace(&mut local.load.schedules, tasks) != tasks
        {
            self.load_changed_now(id);
        }
    }

    fn answer_task_op(&mut self, to: AnswerTo, answer: Result<TaskPage, CallError>, process: &ProcessName) {
        match answer {
            Ok(page) => {
                let payload = Frame::encode_payload(&page);
                match to {
                    AnswerTo::Call(id) => self.errand_done(id, &payload),
                    AnswerTo::Link(id) => self.reply(id, process.clone(), payload),
                }
            }
            Err(error) => self.answer_failed(to, &error.at(process.as_str())),
        }
    }

    fn reply(&mut self, id: CallId, process: ProcessName, payload: Bytes) {
        self.send(Frame::with_payload(
            Header::Reply { id, process: Some(process), open: false, channels: Flows::default() },
            payload,
        ));
    }

    fn answer_failed(&mut self, to: AnswerTo, error: &CallError) {
        match to {
            AnswerTo::Link(id) => self.fail_incoming(Wire { via: Via::Controller, id }, error, false),
            AnswerTo::Call(id) => {
                let asked =
                    |call: &super::calls::Call| matches!(call.place, Place::Asked { .. }).then(|| call.callback());
                let Some(callback) = self.calls.get(&id).map(Box::as_ref).and_then(asked) else { return };
                let callback = if error.callback.is_empty() { callback } else { error.callback.clone() };
                self.finish_call(id, Err(CallError { callback, ..error.clone() }));
            }
        }
    }
}
