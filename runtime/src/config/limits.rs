//! What a module may use, and what of the host it sees: its table and the flags, over the defaults.

use std::collections::{BTreeMap, BTreeSet};

use daffi_proto::id::ProcessName;

use super::bounds::MAX_ENVIRONMENT_BYTES;
use super::file::ModuleTable;
use super::units::ByteSize;
use crate::cli::args::RunArgs;
use crate::guest::limits::ModuleLimits;
use crate::guest::network::{Destination, MAX_DESTINATIONS, Network};
use crate::guest::outside::{MAX_PREOPENS, Outside, Preopen};

/// Takes what was said for what is the default.
fn set<T, U: From<T>>(limit: &mut U, said: Option<T>) {
    if let Some(said) = said {
        *limit = said.into();
    }
}

fn set_count(limit: &mut usize, said: Option<u32>) {
    set(limit, said.map(|count| usize::try_from(count).unwrap_or(usize::MAX)));
}

fn set_size(limit: &mut usize, said: Option<ByteSize>) {
    set(limit, said.map(|ByteSize(bytes)| bytes));
}

/// The limits of a module; a flag holds for all modules.
pub(super) fn limits_of(args: &RunArgs, table: &ModuleTable, max_payload_bytes: usize) -> ModuleLimits {
    let mut limits = ModuleLimits { payload_bytes: max_payload_bytes, ..ModuleLimits::default() };
    set_size(&mut limits.memory_bytes, args.memory.or(table.memory));
    set_count(&mut limits.table_elements, table.table_elements);
    set_count(&mut limits.core_instances, table.core_instances);
    set_count(&mut limits.tables, table.tables);
    set_count(&mut limits.memories, table.memories);
    set(&mut limits.max_call_time, args.max_call_time.or(table.max_call_time));
    set(&mut limits.max_call_cpu, args.max_call_cpu.or(table.max_call_cpu));
    set(&mut limits.calls_per_second, args.call_rate.or(table.call_rate));
    set_count(&mut limits.queue, args.queue.or(table.queue));
    set(&mut limits.queue_time, args.queue_time.or(table.queue_time));
    let concurrency = args.concurrency.or(table.concurrency);
    set(&mut limits.concurrency, concurrency);
    set_count(&mut limits.async_calls, args.async_calls.or(table.async_calls).or(concurrency));
    set_size(&mut limits.argument_bytes, args.max_arguments.or(table.max_arguments));
    set_size(&mut limits.result_bytes, args.max_result.or(table.max_result));
    set_count(&mut limits.open_calls, args.open_calls.or(table.open_calls));
    set_count(&mut limits.schedules, args.max_schedules.or(table.max_schedules));
    set_count(&mut limits.open_streams, args.open_streams.or(table.open_streams));
    if let Some(ByteSize(rate)) = args.output_rate.or(table.output_rate) {
        limits.output_bytes_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
    }
    set_count(&mut limits.host_handles, table.handles);
    limits
}

/// What is wrong with what guests are to see of the host.
pub(super) struct Wrong {
    pub(super) message: String,
    /// Whether a flag has a part in it.
    pub(super) by_flag: bool,
}

/// What a process's guests see of the host; what flags say is added to what its table says.
///
/// # Errors
/// What cannot be a variable, or too much of anything.
pub(super) fn outside_of(
    args: &RunArgs,
    process: &ProcessName,
    table: (Vec<Preopen>, Vec<Destination>),
    env: BTreeMap<String, String>,
) -> Result<Outside, Wrong> {
    check_environment(process, &env).map_err(|message| Wrong { message, by_flag: !args.env.is_empty() })?;
    let (mut preopens, mut destinations) = table;
    preopens.extend(args.preopen.iter().cloned());
    destinations.extend(args.network.iter().cloned());
    let counted = |what, count, most, by_flag| {
        if count > most {
            Err(Wrong { message: format!("{what} of {process}: {count} are too many, at most {most}"), by_flag })
        } else {
            Ok(())
        }
    };
    counted("preopens", preopens.len(), MAX_PREOPENS, !args.preopen.is_empty())?;
    let mut paths = BTreeSet::new();
    if let Some(twice) = preopens.iter().find(|preopen| !paths.insert(preopen.guest.as_str())) {
        let message =
            format!("preopens of {process}: two folders are {} for guests: give one another path", twice.guest);
        return Err(Wrong { message, by_flag: !args.preopen.is_empty() });
    }
    counted("network", destinations.len(), MAX_DESTINATIONS, !args.network.is_empty())?;
    Ok(Outside { env: env.into_iter().collect(), preopens, network: Network::new(destinations) })
}

fn check_environment(process: &ProcessName, env: &BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!("env of {process}: {name:?} and its value are no environment variable"));
        }
    }
    let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_ENVIRONMENT_BYTES {
        let most = ByteSize(MAX_ENVIRONMENT_BYTES);
        return Err(format!("env of {process}: its names and values have {bytes} bytes, at most {most} are allowed"));
    }
    Ok(())
}
