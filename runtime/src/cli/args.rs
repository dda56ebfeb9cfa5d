//! Every flag with its help text.
//!
//! What is said here is checked for itself only; how flags and config go together is in [`crate::config`].

mod certs;
mod schedule;
mod tls;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use daffi_proto::id::TenantName;

pub use self::certs::{CertsCommand, CertsInitArgs, CertsIssueArgs, Host};
pub use self::schedule::{MissedArg, OverlapArg, ScheduleAddArgs, ScheduleCancelArgs, ScheduleCommand, ScheduleLsArgs};
pub use self::tls::TlsArgs;
use crate::config::units::{ByteSize, parse_delay, parse_duration};
use crate::config::{ModuleArg, bounds};
use crate::exit;
use crate::guest::grants::{Act, Callable};
use crate::guest::limits::{InstancePolicy, OnCancel};
use crate::guest::network::Destination;
use crate::guest::outside::Preopen;

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
    /// Say whether a module may call a callback, and by which rules of which config files
    Explain(ExplainArgs),
    /// Call a callback and print its result
    Call(CallArgs),
    /// Have callbacks called over and over, or later; list and cancel what is scheduled
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// List the processes of the mesh and their callbacks
    Ps(PsArgs),
    /// Tell of processes that come and go, as it happens
    Events(EventsArgs),
    /// Make certificates for tls://: an authority, and what it signs
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Tell what this machine allows, what was chosen, and how to get more
    Doctor(DoctorArgs),
}

/// The flags of a runtime.
#[derive(Debug, Default, Args)]
pub struct RunArgs {
    /// The name of this runtime, and of its process when it has one module
    ///
    /// Default: HOST-PID for the runtime, the file's name without its ending for a process.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Be the mesh's controller: listen for other runtimes, keep the registry, pass calls on
    #[arg(long)]
    pub controller: bool,

    /// Be nothing but the controller: no modules
    #[arg(long)]
    pub no_node: bool,

    /// Where the controller listens: unix:///path, tcp://127.0.0.1:8888 or tls://host:port; can be repeated
    ///
    /// Default: $DAFFI_SOCKET, else $XDG_RUNTIME_DIR/daffi/controller.sock, else daffi-UID/controller.sock in the
    /// temporary directory. With --listen the default socket is not made. Port 0 lets the system choose one.
    #[arg(long, value_name = "URL")]
    pub listen: Vec<String>,

    /// Where the controller is: unix:///path, tcp://127.0.0.1:8888 or tls://host:port
    ///
    /// Default: the same socket as for --listen. A controller that is not there yet is waited for.
    #[arg(long, value_name = "URL")]
    pub connect: Option<String>,

    /// Allow plain TCP with other machines, unencrypted and open to whoever reaches the port
    #[arg(long)]
    pub insecure: bool,

    /// The files of TLS.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// A component to run, as a process of this name; can be repeated
    #[arg(long, value_name = "[NAME=]PATH")]
    pub module: Vec<ModuleArg>,

    /// The tenant of the modules that are given by --module [default: default]
    ///
    /// Processes see and call those of their own tenant alone; two tenants may have processes of the same name. A module
    /// of the config file says its own.
    #[arg(long, value_name = "NAME", requires = "module")]
    pub tenant: Option<TenantName>,

    /// An environment variable for the modules, which see no others; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_env)]
    pub env: Vec<(String, String)>,

    /// A folder that the modules may read, and its path for them, such as data::/data; can be repeated
    #[arg(long, value_name = "HOST::GUEST")]
    pub preopen: Vec<Preopen>,

    /// Where the modules may connect to by TCP: 10.0.0.0/8:443, api.example.org:443, [fd00::]/8:*; can be repeated
    ///
    /// Without it they have no sockets. Loopback and link-local addresses must be named by an entry of their own.
    #[arg(long, value_name = "HOST:PORT")]
    pub network: Vec<Destination>,

    /// How instances are kept [default: singleton]
    ///
    /// singleton: one instance, whose state survives calls. pool:N: N of them, each with its own state, for CPU-bound
    /// work. per-call: a fresh one for each call.
    #[arg(long, value_name = "singleton|pool:N|per-call")]
    pub instances: Option<InstancePolicy>,

    /// End when the modules' `run` exports have returned, also where they have callbacks
    #[arg(long)]
    pub exit_after_run: bool,

    /// Load components in spite of exports and imports that cannot be served, and leave those out
    #[arg(long)]
    pub skip_unsupported: bool,

    /// Most memory of one instance, 64KiB to 32GiB, such as 64MiB [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::memory)]
    pub memory: Option<ByteSize>,

    /// How long one call may run in an instance, 1ms to 7days, such as 500ms or 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub max_call_time: Option<Duration>,

    /// Most calls of one module in a second, and at once after a rest, 1 to 1000000; more are refused as `overloaded`
    /// [default: 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(bounds::MAX_CALL_RATE)))]
    pub call_rate: Option<u32>,

    /// How long a call may wait for an instance, 1ms to 7days; then it is refused as `overloaded` [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub queue_time: Option<Duration>,

    /// Most calls of one module that wait for an instance; more are refused as `overloaded` [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(bounds::MAX_QUEUE)))]
    pub queue: Option<u32>,

    /// Most calls of one module that run at once: instances of `per-call`, calls in one async instance
    /// [default: 64, and 1024 async]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(bounds::MAX_CONCURRENCY)))]
    pub concurrency: Option<u32>,

    /// Most calls at once in one async instance, where that is not to be as --concurrency says [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(bounds::MAX_CONCURRENCY)))]
    pub async_calls: Option<u32>,

    /// Most calls to others that one module has open at once; more are refused as `overloaded` [default: 1024]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(bounds::MAX_OPEN_CALLS)))]
    pub open_calls: Option<u32>,

    /// Most scheduled tasks of one module; more are refused as `overloaded` [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(bounds::MAX_SCHEDULES)))]
    pub max_schedules: Option<u32>,

    /// Most streams and futures that one module has open at once; calls with more are refused as `overloaded`
    /// [default: 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(bounds::MAX_OPEN_STREAMS)))]
    pub open_streams: Option<u32>,

    /// What the modules may call, such as `demo:shop/*` or `acme::prices#*`; can be repeated [default: all of their tenant,
    /// and what others share with it]
    #[arg(long, value_name = "PATTERN")]
    pub may_call: Vec<Callable>,

    /// What the modules may not do: broadcast, schedule, list or watch; can be repeated
    #[arg(long, value_name = "ACT")]
    pub deny: Vec<Act>,

    /// What becomes of a running call that nobody waits for any more: finish or kill [default: finish for singleton,
    /// else kill]
    #[arg(long, value_name = "finish|kill")]
    pub on_cancel: Option<OnCancel>,

    /// Most bytes of a call's arguments or result, 1KiB to 1GiB, such as 1MiB [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::payload)]
    pub max_payload: Option<ByteSize>,

    /// Most bytes of the arguments of the modules' callbacks [default: as --max-payload]
    #[arg(long, value_name = "SIZE", value_parser = bounds::part)]
    pub max_arguments: Option<ByteSize>,

    /// Most bytes of their results [default: as --max-payload]
    #[arg(long, value_name = "SIZE", value_parser = bounds::part)]
    pub max_result: Option<ByteSize>,

    /// The stack that wasm may use in a call, 64KiB to 64MiB, for the whole runtime [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::stack)]
    pub stack: Option<ByteSize>,

    /// How much the guests of one module may print in a second, from 1KiB on, such as 1MiB; beyond it they wait [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::output_rate)]
    pub output_rate: Option<ByteSize>,

    /// A folder of this runtime's own that keeps its modules' scheduled tasks when it ends, however it ends
    ///
    /// It is made where it is not there, with mode 0700. Without it schedules end with the runtime.
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,

    /// How long calls in flight may take to finish when the runtime ends, 1ms to 7days [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub drain_timeout: Option<Duration>,

    /// A config file in TOML, with the same keys as these flags; flags override it
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as daffi_runtime=debug
    ///
    /// Also from $DAFFI_LOG.
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
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
The settings are printed as a config file that says all of them, defaults included; paths are absolute. A mistake is one line
with file, line and column, and the exit code is 2. Components are read, and whether they can be served is told; they are
not compiled, and no socket, certificate or state folder is touched.

Example:
  daffi-runtime check daffi.toml
  daffi-runtime check --json daffi.toml | jq '.module[].memory'";

/// `explain`
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub struct ExplainArgs {
    /// Who calls: PROCESS or TENANT::PROCESS
    pub caller: String,
    /// What is called: a name as the caller writes it, TENANT::NAME for another tenant's
    pub callback: String,
    /// The config files of the runtimes that have them; can be repeated
    #[arg(long, value_name = "PATH", required = true)]
    pub config: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

const EXPLAIN_HELP: &str = "\
One line a rule: the callback that the name means and who has it; between tenants the import and the export; the caller's
grants. What is missing is told with what to write where. Nothing is started, and no mesh is asked: processes that no file
names are not known. The exit code is 3 where the call would not run.

Example:
  daffi-runtime explain --config acme.toml --config globex.toml globex::shop acme::prices#of";

/// Where a client finds the mesh.
#[derive(Debug, Default, Args)]
pub struct ConnectArgs {
    /// Where the controller is: unix:///path, tcp://127.0.0.1:8888 or tls://host:port [default: the default socket]
    #[arg(long, value_name = "URL")]
    pub connect: Option<String>,
    /// Allow plain TCP with other machines
    #[arg(long)]
    pub insecure: bool,
    /// The tenant to be in: the command sees and calls the processes of this one alone
    #[arg(long, value_name = "NAME", default_value_t)]
    pub tenant: TenantName,
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
          requires = "broadcast", conflicts_with_all = ["quorum", "no_result"])]
    pub first_n: Option<u32>,
    /// With --broadcast: as --first-n, and it ends as soon as so many values cannot come any more
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..),
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
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100),
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
The result goes to stdout in the encoding of the arguments. An error is one line on stderr; where $RUST_BACKTRACE is
set, the backtrace of a callback that trapped is below it.

With --broadcast, a line for each process goes to stdout: `NAME: RESULT` or `NAME: error: …`; with --json an object
each, {\"process\", \"ok\"} or {\"process\", \"error\"}, and nothing else. The exit code is then that of the first error;
with --first-n and --quorum it is 0 when as many values came.

With --stream a line of stdin is an item, in WAVE or with --json in JSON: the parameter where there is one, else the
arguments, `(5, 15)` or `[5, 15]`; of a stream<u8> a piece, a list<u8>. Empty lines are passed over, unless the callback
takes nothing. A line that is no item is an error, and the exit code is 2: a callback that is called once a line has
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

Exit codes: 0 all went well; 1 the callback failed; 2 the call or its arguments are not right; 3 it did not
run; 4 no answer came: it may or may not have run; 5 there is no controller.";

const PS_HELP: &str = "\
IN-FLIGHT are the calls that a process serves or has in its queue. Shown only where there are some: SCHEDULES, its scheduled
tasks; OPEN-CALLS, its own calls to others; STREAMS, those that it reads and writes; HANDLES, what its guests hold of calls,
streams and watches. All of them are as of a moment ago.

Example:
  daffi-runtime ps
  daffi-runtime ps --json | jq '.[].process'";

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
It begins with one `joined` for each process that is there, and goes on until it is interrupted (exit code 0) or the
controller has gone (5). A process that comes back with other callbacks has `changed`.

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

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
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
