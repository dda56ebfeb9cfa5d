//! The flags of `schedule`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use daffi_proto::schedule::{Missed, Overlap};

use super::ConnectArgs;
use crate::config::units::parse_duration;

/// `schedule`
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List what is scheduled
    Ls(ScheduleLsArgs),
    /// Have a callback called by its process, and print the task's id
    Add(ScheduleAddArgs),
    /// Cancel tasks; a run in flight goes on
    Cancel(ScheduleCancelArgs),
}

/// `schedule ls`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  daffi-runtime schedule ls\n  daffi-runtime schedule ls --json | jq '.[].\"next-run\"'"
)]
pub struct ScheduleLsArgs {
    /// Only the tasks of this process
    #[arg(long, value_name = "PROCESS")]
    pub receiver: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `schedule add`
#[derive(Debug, Args)]
#[command(after_help = SCHEDULE_ADD_HELP)]
pub struct ScheduleAddArgs {
    /// The call of each run: a name and its arguments in WAVE; with --json the name alone
    #[arg(value_name = "CALL")]
    pub call: String,
    /// The arguments in JSON: an array, or an object by parameter name
    #[arg(long, value_name = "ARGS")]
    pub json: Option<String>,
    /// Over and over, the first time when this much has passed: 10ms to 366 days, such as 5s, 1m24s or '1.2 minutes'
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub every: Option<String>,
    /// Once at this time, such as 2026-05-04T12:30:00Z; can be repeated
    #[arg(long, value_name = "TIME")]
    pub at: Vec<String>,
    /// Whenever this says so, in UTC: `minute hour day month weekday`, such as '30 4 * * MON-FRI', with seconds before them
    /// where there are six; or @yearly, @monthly, @weekly, @daily, @hourly
    #[arg(long, value_name = "CRON")]
    pub cron: Option<String>,
    /// The process that keeps the task and runs it [default: one that has the callback]
    #[arg(long, value_name = "PROCESS")]
    pub receiver: Option<String>,
    /// How long a run may take, 1ms to 7days, such as 500ms or 2m
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s", allow_hyphen_values = true)]
    pub timeout: Duration,
    /// What becomes of a tick while a run is in flight
    #[arg(long, value_enum, default_value = "skip")]
    pub overlap: OverlapArg,
    /// What becomes of the latest of the ticks that passed while the runtime was down
    #[arg(long, value_enum, default_value = "run-once")]
    pub missed: MissedArg,
    /// Wait for the controller and the callback if they are not there yet
    #[arg(long)]
    pub wait_ready: bool,
    /// How long it may take until the task is made, 1ms to 7days
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s", allow_hyphen_values = true)]
    pub within: Duration,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `--overlap`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OverlapArg {
    /// It is skipped
    Skip,
    /// One waits for the run in flight
    QueueOne,
    /// It runs beside the others
    Parallel,
}

/// `--missed`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MissedArg {
    /// It runs, once for all of them
    RunOnce,
    /// It is missed too
    Skip,
}

impl From<OverlapArg> for Overlap {
    fn from(arg: OverlapArg) -> Self {
        match arg {
            OverlapArg::Skip => Self::Skip,
            OverlapArg::QueueOne => Self::QueueOne,
            OverlapArg::Parallel => Self::Parallel,
        }
    }
}

impl From<MissedArg> for Missed {
    fn from(arg: MissedArg) -> Self {
        match arg {
            MissedArg::RunOnce => Self::RunOnce,
            MissedArg::Skip => Self::Skip,
        }
    }
}

const SCHEDULE_ADD_HELP: &str = "\
The task lives at its receiver until it is cancelled, or has no more to do, or its runtime ends; with that runtime's \
--state-dir it goes on when it starts anew.

Examples:
  daffi-runtime schedule add 'backup(\"home\")' --every 1h
  daffi-runtime schedule add backup --json '[\"home\"]' --cron '30 4 * * MON-FRI' --receiver backup-1
  daffi-runtime schedule add 'wake-up()' --at 2026-05-04T12:30:00Z

Exit codes: 0 the task was made, and its id printed; 2 the call, the plan or another argument is not right; 3 it was \
not made; 4 no answer came: see `schedule ls`; 5 there is no controller.";

/// `schedule cancel`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  daffi-runtime schedule cancel backup-1/mide74zf")]
pub struct ScheduleCancelArgs {
    /// The tasks' ids, as `schedule ls` shows them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}
