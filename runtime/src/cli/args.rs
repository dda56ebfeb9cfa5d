//! Every flag with its help text.
//!
//! What is said here is checked for itself only; how flags and config go together is in [`crate::config`].

mod certs;
mod explain;
mod run;
mod schedule;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use daffi_proto::id::TenantName;

pub use self::certs::{CertsCommand, CertsInitArgs, CertsIssueArgs, DEFAULT_DIR, Host};
pub use self::explain::ExplainArgs;
pub use self::run::RunArgs;
pub use self::schedule::{MissedArg, OverlapArg, ScheduleAddArgs, ScheduleCancelArgs, ScheduleCommand, ScheduleLsArgs};
pub use self::tls::TlsArgs;
use crate::config::bounds;
use crate::config::units::{parse_delay, parse_duration};
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  A mesh of two processes on this machine, over the default unix socket:
    daffi-runtime --controller --name publisher --module publisher.wasm
    daffi-runtime --name consumer --module consumer.wasm

  The same over TCP:
    daffi-runtime --controller --listen tcp://127.0.0.1:8888 --name publisher --module publisher.wasm
    daffi-runtime --connect tcp://127.0.0.1:8888 --name consumer --module consumer.wasm

  Two modules in one runtime, which call each other without a socket:
    daffi-runtime --controller --module publisher.wasm --module consumer.wasm

  Look around, and call something:
    daffi-runtime ps
    daffi-runtime call 'sum-of-two-numbers(5, 15)'
";

/// Runs WebAssembly components whose functions call each other across processes.
///
/// Every WIT function that a component exports can be called from other processes by its name; every one that it
/// imports, and that the host itself does not have, is served by whoever exports it.
///
/// One runtime of the mesh is the controller (--controller): it listens, and the others find it.
#[derive(Debug, Parser)]
#[command(
    name = "daffi-runtime",
    version,
    after_help = "Try `daffi-runtime --help` for examples and exit codes.",
    after_long_help = format!("{EXAMPLES}\n{}", exit::HELP),
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Cli {
    /// Another command than to run modules.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a component exports, imports and needs, without running it
    Inspect(InspectArgs),
    /// Check a config file and its components without starting anything, and print all settings
    Check(CheckArgs),
    /// Say whether a process may call a callback, and by which rules: of the running mesh, or of config files
    Explain(ExplainArgs),
    /// Call a callback and print its result
    Call(CallArgs),
    /// Have callbacks called over and over, or later; list and cancel what is scheduled
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// List the processes of the mesh and their callbacks
    Ps(PsArgs),
    /// Show what processes do and use, as it happens: calls a second, latencies, errors, CPU, memory
    Top(TopArgs),
    /// Tell of processes that come and go, as it happens
    Events(EventsArgs),
    /// Make certificates for tls://: an authority, and what it signs
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Tell what this machine allows, what was chosen, and how to get more
    Doctor(DoctorArgs),
}

/// `inspect`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  daffi-runtime inspect publisher.wasm\n  daffi-runtime inspect --wit publisher.wasm > publisher.wit"
)]
pub struct InspectArgs {
    /// The component
    pub path: PathBuf,
    /// Print WIT that a caller can import
    #[arg(long, conflicts_with = "json")]
    pub wit: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `check`
#[derive(Debug, Args)]
#[command(after_help = CHECK_HELP)]
pub struct CheckArgs {
    /// The config file
    pub path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const CHECK_HELP: &str = "\
The settings are printed as a config file that says all of them, defaults included; paths are absolute. A mistake is one line \
that names the key, with file, line and column where it is in one value, and the exit code is 2. Components are read, and whether they can be served is told; they are \
not compiled, and no socket, certificate or state folder is touched.

Example:
  daffi-runtime check daffi.toml
  daffi-runtime check --json daffi.toml | jq '.module[].memory'";

/// Where a client finds the mesh.
#[derive(Clone, Debug, Default, Args)]
pub struct ConnectArgs {
    /// Where the controller is: unix:///path, tcp://127.0.0.1:8888 or tls://host:port [default: the default socket]
    #[arg(long, value_name = "URL")]
    pub connect: Option<String>,
    /// Allow plain TCP with other machines
    #[arg(long)]
    pub insecure: bool,
    /// The tenant to be in: the command sees and calls the processes of this one alone [default: default]
    #[arg(long, value_name = "NAME")]
    pub tenant: Option<TenantName>,
    /// The files of TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// What to log to stderr, as for `daffi-runtime --log`
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// `call`
#[derive(Debug, Args)]
#[command(after_help = CALL_HELP)]
pub struct CallArgs {
    /// The call: a name and its arguments in WAVE; with --json the name alone
    #[arg(value_name = "CALL")]
    pub call: String,
    /// The arguments in JSON: an array, or an object by parameter name
    #[arg(long, value_name = "ARGS")]
    pub json: Option<String>,
    /// Stream: items from stdin, one a line, to the callback, and what it gives to stdout as it comes
    ///
    /// A callback without streams is called once a line, in order, in one process. One with a `stream<T>` parameter, or a
    /// stream as its result, is called once; that parameter is left out of CALL.
    #[arg(long, conflicts_with_all = ["broadcast", "eta", "no_result", "retry"])]
    pub stream: bool,
    /// How long all of it may take, 1ms to 7days, such as 500ms or 2m; with --stream how long nothing may move
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s", allow_hyphen_values = true)]
    pub timeout: Duration,
    /// Call this process and no other
    #[arg(long, value_name = "PROCESS")]
    pub receiver: Option<String>,
    /// Wait, within the timeout, for the controller and the callback if they are not there yet
    #[arg(long)]
    pub wait_ready: bool,
    /// Begin after this time, 0 to 7days, from which the timeout counts; the command follows a controller that comes back
    #[arg(long, value_name = "TIME", value_parser = parse_delay, allow_hyphen_values = true)]
    pub eta: Option<Duration>,
    /// Do not wait for the result, but only until the process has the call in its queue
    #[arg(long)]
    pub no_result: bool,
    /// With --no-result: wait only until the call was sent
    #[arg(long, requires = "no_result")]
    pub unacknowledged: bool,
    /// Call every process that has the callback: a line each, as they answer
    #[arg(long, conflicts_with = "receiver")]
    pub broadcast: bool,
    /// With --broadcast: so many values are enough; the other calls are cancelled
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, { u32::MAX }>, allow_hyphen_values = true,
          requires = "broadcast", conflicts_with_all = ["quorum", "no_result"])]
    pub first_n: Option<u32>,
    /// With --broadcast: as --first-n, and it ends as soon as so many values cannot come any more
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, { u32::MAX }>, allow_hyphen_values = true,
          requires = "broadcast", conflicts_with = "no_result")]
    pub quorum: Option<u32>,
    /// With --broadcast: when nobody answered for so long, 1ms to 7days, those that are missing have failed
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "broadcast",
          conflicts_with = "no_result", allow_hyphen_values = true)]
    pub stall: Option<Duration>,
    /// Make the call up to this often, within the timeout, if it did not run and may do so later
    ///
    /// Such as one that was `overloaded`, or whose link was lost before it was taken. A controller that is not there is
    /// waited for. A callback or process that is not there is not tried again: that is what --wait-ready is for.
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, 100>, allow_hyphen_values = true,
          conflicts_with_all = ["no_result", "broadcast"])]
    pub retry: Option<u32>,
    /// With --retry: the callback may run twice, so that any failure is tried again
    #[arg(long, requires = "retry")]
    pub idempotent: bool,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const CALL_HELP: &str = "\
The result goes to stdout in the encoding of the arguments. An error is one line on stderr; where $RUST_BACKTRACE is \
set, the backtrace of a callback that trapped is below it.

With --broadcast, a line for each process goes to stdout: `NAME: RESULT` or `NAME: error: …`; with --json an object \
each, {\"process\", \"ok\"} or {\"process\", \"error\"}, and nothing else. The exit code is then that of the first error; \
with --first-n and --quorum it is 0 when as many values came.

With --stream a line of stdin is an item, in WAVE or with --json in JSON: the parameter where there is one, else the \
arguments, `(5, 15)` or `[5, 15]`; of a stream<u8> a piece, a list<u8>. Empty lines are passed over, unless the callback \
takes nothing. A line that is no item is an error, and the exit code is 2: a callback that is called once a line has \
served those before it, of any other the call is given up.

Examples:
  daffi-runtime call 'sum-of-two-numbers(5, 15)'
  daffi-runtime call 'demo:tutorial/math#sum-of-two-numbers(5, 15)' --receiver publisher
  daffi-runtime call sum-of-two-numbers --json '[5, 15]'
  daffi-runtime call sum-of-two-numbers --json '{\"a\": 5, \"b\": 15}'
  daffi-runtime call 'menu()' --broadcast --timeout 2s
  daffi-runtime call 'vote(\"x\")' --broadcast --quorum 2 --stall 500ms
  daffi-runtime call 'clean-up()' --no-result --eta 5m
  daffi-runtime call 'lookup(\"x\")' --retry 5 --idempotent
  seq 100 | daffi-runtime call total --stream

Exit codes: 0 all went well; 1 the callback failed; 2 the call or its arguments are not right; 3 it did not \
run; 4 no answer came: it may or may not have run; 5 there is no controller.";

const PS_HELP: &str = "\
IN-FLIGHT are the calls that a process serves or has in its queue. Shown only where there are some: SCHEDULES, its scheduled \
tasks; OPEN-CALLS, its own calls to others; STREAMS, those that it reads and writes; HANDLES, what its guests hold of calls, \
streams and watches. All of them are as of a moment ago.

Example:
  daffi-runtime ps
  daffi-runtime ps --json | jq '.[] | {process, usage}'";

/// `ps`
#[derive(Debug, Args)]
#[command(after_help = PS_HELP)]
pub struct PsArgs {
    /// Print the callbacks as WIT that a caller can import
    #[arg(long, conflicts_with = "json")]
    pub wit: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const TOP_HELP: &str = "\
Rates and latencies are those of the last 3 seconds; errors are counted by kind. A line `all of` sums up a tenant. \
Keys: q quit, left and right (or < and >) choose the column to sort by, up and down scroll, t shows tenants only.

Examples:
  daffi-runtime top
  daffi-runtime top --once
  daffi-runtime top --json | jq '.processes[] | {process, \"calls-per-second\"}'";

/// `top`
#[derive(Debug, Args)]
#[command(after_help = TOP_HELP)]
pub struct TopArgs {
    /// How often to look, 1ms to 7days
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true, default_value = "1s")]
    pub interval: Duration,
    /// Look twice, print what was between, and end; so it is where stdout is no terminal
    #[arg(long)]
    pub once: bool,
    /// The same in JSON
    #[arg(long)]
    pub json: bool,
    /// Show the processes of this tenant too; can be repeated
    #[arg(long, value_name = "NAME")]
    pub also: Vec<TenantName>,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `events`
#[derive(Debug, Args)]
#[command(after_help = EVENTS_HELP)]
pub struct EventsArgs {
    /// Print a line of JSON for each event
    #[arg(long)]
    pub json: bool,
    /// Where the mesh is.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

const EVENTS_HELP: &str = "\
It begins with one `joined` for each process that is there, and goes on until it is interrupted (exit code 0) or the \
controller has gone (5), or more came at once than it could take (1). A process that comes back with other callbacks has \
`changed` (in JSON `callbacks-changed`).

Example:
  daffi-runtime events
  daffi-runtime events --json | jq -r 'select(.event == \"left\").process'";

/// `doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::config::units::ByteSize;
    use crate::guest::limits::InstancePolicy;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// The texts below the flags, of this command and those below it.
    fn texts(command: &clap::Command) -> Vec<String> {
        let own =
            [command.get_after_help(), command.get_after_long_help()].into_iter().flatten().map(ToString::to_string);
        own.chain(command.get_subcommands().flat_map(texts)).collect()
    }

    #[test]
    fn a_paragraph_of_a_help_text_is_one_line_and_tables_fit_where_the_width_is_unknown() {
        let texts = texts(&Cli::command());
        assert!(texts.len() > 8);
        for text in texts {
            let mut in_paragraph = false;
            for line in text.lines() {
                let is_paragraph = !line.is_empty() && !line.starts_with(' ');
                assert!(
                    !(in_paragraph && is_paragraph),
                    "broken where the terminal does not break it: {line:?} in {text}"
                );
                assert!(is_paragraph || line.contains("daffi-runtime ") || line.len() <= 100, "{line:?} in {text}");
                in_paragraph = is_paragraph;
            }
        }
    }

    #[test]
    fn a_tutorial_command_is_understood() {
        let cli = Cli::try_parse_from(
            "daffi-runtime --controller --name publisher --module publisher.wasm --env A=b=c --instances pool:2 \
             --memory 64MiB --max-call-time 500ms"
                .split_whitespace(),
        )
        .unwrap();
        assert!(cli.command.is_none() && cli.run.controller);
        assert_eq!(cli.run.env, [("A".to_owned(), "b=c".to_owned())]);
        assert_eq!(cli.run.instances, Some(InstancePolicy::Pool(2)));
        assert_eq!(cli.run.memory, Some(ByteSize(64 << 20)));
        assert_eq!(cli.run.max_call_time, Some(Duration::from_millis(500)));
    }

    #[test]
    fn flags_of_a_runtime_do_not_go_with_a_subcommand() {
        assert!(Cli::try_parse_from(["daffi-runtime", "--controller", "ps"]).is_err());
        assert!(Cli::try_parse_from(["daffi-runtime", "call", "f()", "--timeout", "x"]).is_err());
    }
}
