//! The flags of a runtime: who it is, where its mesh is, what it runs and what that may use.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use daffi_proto::id::TenantName;

use super::TlsArgs;
use crate::config::units::{ByteSize, parse_address, parse_duration};
use crate::config::{ModuleArg, bounds};
use crate::guest::grants::{Act, Callable};
use crate::guest::limits::{InstancePolicy, OnCancel};
use crate::guest::network::Destination;
use crate::guest::outside::Preopen;

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
    #[arg(long, value_name = "NAME")]
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
    #[arg(long, value_name = "SIZE", value_parser = bounds::memory, allow_hyphen_values = true)]
    pub memory: Option<ByteSize>,

    /// How long one call may run in an instance, 1ms to 7days, such as 500ms or 2m [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub max_call_time: Option<Duration>,

    /// How long one call may compute, what it waits for not counted, 1ms to 7days [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub max_call_cpu: Option<Duration>,

    /// Most calls of one module in a second, and at once after a rest, 1 to 1000000; more are refused as `overloaded`
    /// [default: 1000000]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, { bounds::MAX_CALL_RATE }>, allow_hyphen_values = true)]
    pub call_rate: Option<u32>,

    /// How long a call may wait for an instance, 1ms to 7days; then it is refused as `overloaded` [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_hyphen_values = true)]
    pub queue_time: Option<Duration>,

    /// Most calls of one module that wait for an instance; more are refused as `overloaded` [default: 1024]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<0, { bounds::MAX_QUEUE }>, allow_hyphen_values = true)]
    pub queue: Option<u32>,

    /// Most calls of one module that run at once: instances of `per-call`, calls in one async instance
    /// [default: 64, and 1024 async]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, { bounds::MAX_CONCURRENCY }>, allow_hyphen_values = true)]
    pub concurrency: Option<u32>,

    /// Most calls at once in one async instance, where that is not to be as --concurrency says [default: 1024]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<1, { bounds::MAX_CONCURRENCY }>, allow_hyphen_values = true)]
    pub async_calls: Option<u32>,

    /// Most calls to others that one module has open at once; more are refused as `overloaded` [default: 1024]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<0, { bounds::MAX_OPEN_CALLS }>, allow_hyphen_values = true)]
    pub open_calls: Option<u32>,

    /// Most scheduled tasks of one module; more are refused as `overloaded` [default: 64]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<0, { bounds::MAX_SCHEDULES }>, allow_hyphen_values = true)]
    pub max_schedules: Option<u32>,

    /// Most streams and futures that one module has open at once; calls with more are refused as `overloaded`
    /// [default: 256]
    #[arg(long, value_name = "N", value_parser = bounds::flag::<0, { bounds::MAX_OPEN_STREAMS }>, allow_hyphen_values = true)]
    pub open_streams: Option<u32>,

    /// What the modules may call, such as `demo:shop/*` or `acme::prices#*`; can be repeated [default: all of their tenant,
    /// and what others share with it]
    #[arg(long, value_name = "PATTERN")]
    pub may_call: Vec<Callable>,

    /// What the modules may not do: broadcast, schedule, list, watch or stop; can be repeated
    #[arg(long, value_name = "ACT")]
    pub deny: Vec<Act>,

    /// What becomes of a running call that nobody waits for any more: finish or kill [default: finish for singleton,
    /// else kill]
    #[arg(long, value_name = "finish|kill")]
    pub on_cancel: Option<OnCancel>,

    /// Most bytes of a call's arguments or result, 1KiB to 1GiB, such as 1MiB [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::payload, allow_hyphen_values = true)]
    pub max_payload: Option<ByteSize>,

    /// Most bytes of the arguments of the modules' callbacks [default: as --max-payload]
    #[arg(long, value_name = "SIZE", value_parser = bounds::part, allow_hyphen_values = true)]
    pub max_arguments: Option<ByteSize>,

    /// Most bytes of their results [default: as --max-payload]
    #[arg(long, value_name = "SIZE", value_parser = bounds::part, allow_hyphen_values = true)]
    pub max_result: Option<ByteSize>,

    /// The stack that wasm may use in a call, 64KiB to 64MiB, for the whole runtime [default: 1MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::stack, allow_hyphen_values = true)]
    pub stack: Option<ByteSize>,

    /// How much the guests of one module may print in a second, from 1KiB on, such as 1MiB; beyond it they wait [default: 10MiB]
    #[arg(long, value_name = "SIZE", value_parser = bounds::output_rate, allow_hyphen_values = true)]
    pub output_rate: Option<ByteSize>,

    /// A folder of this runtime's own that keeps its modules' scheduled tasks when it ends, however it ends
    ///
    /// It is made where it is not there, with mode 0700. Without it schedules end with the runtime.
    #[arg(long, value_name = "PATH")]
    pub state_dir: Option<PathBuf>,

    /// How runtimes call each other without the controller in between: unix, off, tls://HOST:PORT or tcp://HOST:PORT [default: unix]
    ///
    /// By a unix socket, runtimes of one user of this machine do; by TLS, those that say tls:// too, with an address where the others
    /// reach it, and that know each other by the certificates with which they join (--tls-ca, --tls-cert, --tls-key). By TCP it is the
    /// same without certificates, for loopback, unless --insecure is said. Port 0 lets the system choose one. The link is opened by the
    /// first call of a process to one of another runtime and the same tenant. The controller tells both runtimes of each other, and
    /// passes calls on where there is no link.
    #[arg(long, value_name = "HOW")]
    pub direct: Option<String>,

    /// A folder that keeps compiled code of components, so that each is compiled once [default: $XDG_CACHE_HOME/daffi]
    ///
    /// Several runtimes of one user may share it. Without $XDG_CACHE_HOME it is ~/.cache/daffi. It is made where it is not there, and
    /// one that is open to others is left alone. 1 GiB is kept, of what was used last. It is native code: never give a folder that came
    /// from somebody else.
    #[arg(long, value_name = "PATH")]
    pub cache_dir: Option<PathBuf>,

    /// Keep no compiled code
    #[arg(long, conflicts_with = "cache_dir")]
    pub no_cache: bool,

    /// Where to tell metrics of the modules, in the text of OpenMetrics: http://ADDRESS/metrics, such as 127.0.0.1:9464
    ///
    /// Loopback only, unless --insecure is said: it has no TLS. Port 0 lets the system choose one.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub metrics: Option<SocketAddr>,

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

fn parse_env(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}
