//! `daffi-runtime schedule`: callbacks that their own processes call, over and over or later.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use daffi_proto::call::ScheduleRequest;
use daffi_proto::schedule::{
    Missed, Overlap, Plan, ScheduleError, TaskId, TaskInfo, TaskState, Terms, Utc, parse_duration,
};
use daffi_proto::signature::Signature;
use serde::Serialize;

use super::args::{ConnectArgs, ScheduleAddArgs, ScheduleCancelArgs, ScheduleCommand, ScheduleLsArgs};
use super::client::{self, Client, Joining, LEAVE_TIMEOUT};
use super::stdout::print;
use super::table::table;
use super::written::{Wait, Written, failure, receiver};
use crate::exit::Failure;
use crate::plain::{plain, plain_json};

/// How long joining may take, and each question.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Does what is asked.
///
/// # Errors
/// Bad input, no controller, or what the receiver says; the exit code says which.
pub fn run(command: &ScheduleCommand) -> Result<(), Failure> {
    let text = match command {
        ScheduleCommand::Ls(args) => ls(args),
        ScheduleCommand::Add(args) => add(args),
        ScheduleCommand::Cancel(args) => cancel(args),
    }?;
    print(&text).map(drop)
}

/// Where the mesh is that a command is for.
pub fn connect(command: &ScheduleCommand) -> &ConnectArgs {
    match command {
        ScheduleCommand::Ls(args) => &args.connect,
        ScheduleCommand::Add(args) => &args.connect,
        ScheduleCommand::Cancel(args) => &args.connect,
    }
}

fn ls(args: &ScheduleLsArgs) -> Result<String, Failure> {
    let receiver = receiver(args.receiver.as_deref())?;
    let tasks = client::block_on(async {
        let client = Client::join(&args.connect, Joining::AtOnce(TIMEOUT)).await?;
        let tasks = client.mesh().tasks(&client.caller(), client.tenant(), receiver, TIMEOUT).await;
        client.leave(LEAVE_TIMEOUT).await;
        tasks.map_err(|error| failure(&error))
    })?;
    Ok(if args.json { as_json(&tasks) } else { as_table(&tasks) })
}

fn add(args: &ScheduleAddArgs) -> Result<String, Failure> {
    let written = Written::read(&args.call, args.json.as_deref())?;
    let receiver = receiver(args.receiver.as_deref())?;
    let terms = terms(args)?;
    let wait = Wait { ready: args.wait_ready, given: args.within, ends: Instant::now() + args.within };
    let task = client::block_on(async {
        let joining = if args.wait_ready { Joining::Patiently } else { Joining::AtOnce };
        let client = Client::join(&args.connect, joining(args.within)).await?;
        let made = async {
            let (call, _) = written.prepare(&client, receiver, wait, of_streams).await?;
            client.mesh().schedule(ScheduleRequest { call, terms }).await.map_err(|error| failure(&error))
        };
        let made = client.connected(made).await;
        client.leave(wait.goodbye()).await;
        made
    })?;
    Ok(format!("{}\n", task.id))
}

fn cancel(args: &ScheduleCancelArgs) -> Result<String, Failure> {
    let ids: Vec<TaskId> = args.ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(Failure::usage)?;
    client::block_on(async {
        let client = Client::join(&args.connect, Joining::AtOnce(TIMEOUT)).await?;
        let mut text = String::new();
        let mut failed = None;
        for id in &ids {
            match client.mesh().cancel_task(client.caller(), id, TIMEOUT).await {
                Ok(task) if matches!(task.state, TaskState::Finished) => {
                    let _ = writeln!(text, "{} had no more to do, and is removed", task.id);
                }
                Ok(task) => drop(writeln!(text, "{} is cancelled", task.id)),
                // The others are cancelled all the same, and said.
                Err(error) => failed = failed.or(Some(failure(&error))),
            }
        }
        client.leave(LEAVE_TIMEOUT).await;
        match failed {
            None => Ok(text),
            Some(failed) => {
                let _ = print(&text); // the other failure is the one to tell
                Err(failed)
            }
        }
    })
}

fn terms(args: &ScheduleAddArgs) -> Result<Terms, Failure> {
    let every = args.every.as_deref().map(parse_duration).transpose().map_err(Failure::usage)?;
    let at = args.at.iter().map(|time| time.parse()).collect::<Result<Vec<Utc>, _>>().map_err(Failure::usage)?;
    let plan = Plan::from_parts(every, at, args.cron.as_deref()).map_err(|error| match error {
        ScheduleError::NoPlan => Failure::usage("a schedule without a time: give one of --every, --at and --cron"),
        error => Failure::usage(error),
    })?;
    let terms = Terms { timeout: args.timeout, overlap: args.overlap.into(), missed: args.missed.into(), plan };
    terms.bounded().map_err(Failure::usage)
}

/// A task in JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Task<'a> {
    id: String,
    receiver: &'a str,
    callback: String,
    arguments: Option<&'a str>,
    plan: PlanJson<'a>,
    timeout_ms: u64,
    overlap: &'static str,
    missed_runs: &'static str,
    creator: Option<&'a str>,
    made: Utc,
    state: &'static str,
    next_run: Option<Utc>,
    last_run: Option<Utc>,
    running: u32,
    runs: u64,
    failures: u64,
    skipped: u64,
    missed: u64,
    last_error: Option<LastError<'a>>,
}

/// When it runs, as one of the three ways to say it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum PlanJson<'a> {
    EveryMs(u64),
    At(&'a [Utc]),
    Cron(&'a str),
}

impl<'a> From<&'a Plan> for PlanJson<'a> {
    fn from(plan: &'a Plan) -> Self {
        match plan {
            Plan::Every(every) => Self::EveryMs(u64::try_from(every.as_millis()).unwrap_or(u64::MAX)),
            Plan::At(times) => Self::At(times),
            Plan::Cron(cron) => Self::Cron(cron.as_str()),
        }
    }
}

#[derive(Serialize)]
struct LastError<'a> {
    at: Utc,
    code: &'a str,
    message: &'a str,
}

fn as_json(tasks: &[TaskInfo]) -> String {
    let all: Vec<Task<'_>> = tasks
        .iter()
        .map(|task| Task {
            id: task.id.to_string(),
            receiver: task.id.process.as_str(),
            callback: task.callback.to_string(),
            arguments: task.arguments.as_deref(),
            plan: (&task.plan).into(),
            timeout_ms: u64::try_from(task.timeout.as_millis()).unwrap_or(u64::MAX),
            overlap: match task.overlap {
                Overlap::Skip => "skip",
                Overlap::QueueOne => "queue-one",
                Overlap::Parallel => "parallel",
            },
            missed_runs: match task.missed {
                Missed::RunOnce => "run-once",
                Missed::Skip => "skip",
            },
            creator: task.creator.as_ref().map(|creator| creator.name.as_str()),
            made: task.made,
            state: state(task.state),
            next_run: task.next_run,
            last_run: task.last_run,
            running: task.running,
            runs: task.counts.runs,
            failures: task.counts.failures,
            skipped: task.counts.skipped,
            missed: task.counts.missed,
            last_error: task.last_error.as_ref().map(|error| LastError {
                at: error.at,
                code: &error.code,
                message: &error.message,
            }),
        })
        .collect();
    // Nothing in it can fail to be JSON.
    plain_json(&serde_json::to_string_pretty(&all).unwrap_or_default()) + "\n"
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => "waiting",
        TaskState::Running => "running",
        TaskState::Finished => "finished",
    }
}

/// A line a task, its last error below it.
fn as_table(tasks: &[TaskInfo]) -> String {
    if tasks.is_empty() {
        return "nothing is scheduled\n".to_owned();
    }
    let heading = ["TASK", "CALL", "PLAN", "STATE", "NEXT", "RUNS", "FAILED", "SKIPPED", "MISSED"].map(str::to_owned);
    let rows = tasks.iter().map(|task| {
        [
            task.id.to_string(),
            // Arguments that nobody can read any more are told apart from none at all.
            format!("{}{}", task.callback, task.arguments.as_deref().unwrap_or("(?)")),
            task.plan.to_string(),
            state(task.state).to_owned(),
            // People look at seconds.
            task.next_run.map_or_else(|| "-".to_owned(), |next| Utc::from_unix(next.as_seconds(), 0).to_string()),
            task.counts.runs.to_string(),
            task.counts.failures.to_string(),
            task.counts.skipped.to_string(),
            task.counts.missed.to_string(),
        ]
    });
    let rows: Vec<[String; 9]> = std::iter::once(heading).chain(rows).collect();
    let errors = std::iter::once(None).chain(tasks.iter().map(|task| task.last_error.as_ref()));
    let mut text = String::new();
    for (line, error) in table(&rows).iter().zip(errors) {
        let _ = writeln!(text, "{line}");
        if let Some(error) = error {
            let said = plain(&format!("{} ({})", error.message, error.code));
            let _ = writeln!(text, "    last error, at {}: {said}", error.at);
        }
    }
    text
}

/// What to do where there are streams in the callback's type.
fn of_streams(_: &Signature) -> String {
    "a schedule has nobody to write or read them".to_owned()
}
