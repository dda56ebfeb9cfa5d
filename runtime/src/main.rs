//! The binary: from words to work, and from its end to an exit code.
//!
//! Threads: the main one begins and ends all of it, and waits; `daffi-net` does all that is sockets, mesh and timers; `daffi-guest` runs guests that
//! had to wait or to compute for longer; `daffi-out` and `daffi-err` print.

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use daffi_runtime::cli::args::{Command, RunArgs};
use daffi_runtime::cli::inspect::{InspectFormat, inspect};
use daffi_runtime::cli::words::{self, Instead};
use daffi_runtime::cli::{call, certs, check, doctor, events, explain, ps, schedule, stdout, top};
use daffi_runtime::exit::{self, Failure};
use daffi_runtime::guest::component::LoadOptions;
use daffi_runtime::net::endpoint::Surroundings;
use daffi_runtime::output::Printer;
use daffi_runtime::{app, config, telemetry};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// The name of the network's thread.
const NET_THREAD: &str = "daffi-net";

/// How often a thread looks at timers and sockets: more often than usual, since guests hold it for a tick.
const EVENT_INTERVAL_POLLS: u32 = 7;

/// How long threads may take to end.
const THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Public for a bench, which runs it with an allocator of its own.
pub fn main() -> ExitCode {
    let cli = match words::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(Instead::Answered(code)) => return code,
        Err(Instead::Wrong(failure)) => return failure.report(),
    };
    let done = match cli.command {
        None => run(cli.run),
        Some(Command::Call(args)) => start_log(args.connect.log.as_deref()).and_then(|()| call::run(&args)).map(|()| 0),
        Some(Command::Schedule(command)) => {
            start_log(schedule::connect(&command).log.as_deref()).and_then(|()| schedule::run(&command)).map(|()| 0)
        }
        Some(Command::Ps(args)) => start_log(args.connect.log.as_deref()).and_then(|()| ps::run(&args)).map(|()| 0),
        Some(Command::Top(args)) => start_log(args.connect.log.as_deref()).and_then(|()| top::run(&args)).map(|()| 0),
        Some(Command::Events(args)) => {
            start_log(args.connect.log.as_deref()).and_then(|()| events::run(&args)).map(|()| 0)
        }
        Some(Command::Inspect(args)) => {
            let format = match (args.wit, args.json) {
                (true, _) => InspectFormat::Wit,
                (_, true) => InspectFormat::Json,
                _ => InspectFormat::Page,
            };
            print(inspect(&args.path, format, &LoadOptions::default()).map_err(Failure::usage))
        }
        Some(Command::Check(args)) => print(check::check(&args)),
        Some(Command::Explain(args)) => {
            let log = if args.config.is_empty() { start_log(args.connect.log.as_deref()) } else { Ok(()) };
            log.and_then(|()| explain::run(&args)).and_then(|(text, code)| print(Ok(text)).map(|_| code))
        }
        Some(Command::Certs(command)) => print(certs::run(&command)),
        Some(Command::Doctor(args)) => print(doctor::examine(args.json)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}

/// The log of a client, which nobody waits for: it prints for itself.
fn start_log(filter: Option<&str>) -> Result<(), Failure> {
    telemetry::init(filter, std::io::stderr).map_err(Failure::usage)
}

fn print(text: Result<String, Failure>) -> Result<u8, Failure> {
    stdout::print(&text?).map(|_| exit::OK)
}

/// Takes all the descriptors that this process may have: the lower limit that it begins with is for programs that wait with
/// `select`.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where that is not allowed, it has what it had.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

fn run(args: RunArgs) -> Result<u8, Failure> {
    raise_open_files();
    let config = config::resolve(args, &Surroundings::of_this_process()).map_err(Failure::usage)?;
    let no_thread = |error| Failure::new(exit::FAILED, format!("no thread for output: {error}"));
    let printer = Printer::start().map_err(no_thread)?;
    telemetry::init(config.log.as_deref(), printer.log()).map_err(Failure::usage)?;
    printer.tell_panics();
    let guests = guests_threads().map_err(no_threads)?;
    let (net, network) = NetThread::start().map_err(no_threads)?;
    let end = net.block_on(app::run(config, guests.handle().clone(), &printer));
    // The network's first: guests that are polled there wait for timers and sockets of the guests' runtime.
    network.end();
    guests.shutdown_timeout(THREADS_TIMEOUT);
    // Last: whatever ends may have something to say.
    printer.close();
    end
}

fn no_threads(error: anyhow::Error) -> Failure {
    Failure::new(exit::FAILED, format!("{error:#}"))
}

/// The network's runtime is that of one thread, so that a call that comes in need not change threads, and that one which looks for
/// what has come looks often.
struct NetThread {
    /// Dropped at its end.
    runs: oneshot::Sender<()>,
    /// Closed when it has ended.
    ended: mpsc::Receiver<()>,
}

impl NetThread {
    fn start() -> anyhow::Result<(Handle, Self)> {
        let net = Builder::new_current_thread().event_interval(EVENT_INTERVAL_POLLS).enable_all().build();
        let net = net.context("cannot start the network's runtime")?;
        let handle = net.handle().clone();
        let ((runs, end), (has_ended, ended)) = (oneshot::channel(), mpsc::channel());
        let run = move || {
            let _ = net.block_on(end);
            // With the tasks that are left, and what they hold.
            drop(net);
            drop(has_ended);
        };
        let thread = thread::Builder::new().name(NET_THREAD.to_owned()).spawn(run);
        thread.context("cannot start the network's thread")?;
        Ok((handle, Self { runs, ended }))
    }

    /// Waits for its end, but not for long.
    fn end(self) {
        drop(self.runs);
        let _ = self.ended.recv_timeout(THREADS_TIMEOUT);
    }
}

fn guests_threads() -> anyhow::Result<Runtime> {
    // One more than may compute at a time: `guest::fair` keeps it for tenants that use little.
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let guests = Builder::new_multi_thread()
        .thread_name("daffi-guest")
        .worker_threads(processors + 1)
        .event_interval(EVENT_INTERVAL_POLLS)
        .enable_all()
        .build();
    guests.context("cannot start the guests' threads")
}
