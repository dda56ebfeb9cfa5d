//! The end-to-end tests: everything here goes through the real binary, over real sockets, with real guests.
//!
//! | module | asks |
//! |---|---|
//! | [`cluster`] | (the harness: starts runtimes in a folder of their own, waits for their lines, ends them) |
//! | [`tutorial`] | does each example do what its README says? |
//! | [`calls`] | FG: by name and typed, names, versions, receivers, cycles |
//! | [`background`] | BG: many calls at a time, fetched, cancelled, dropped |
//! | [`twins`] | async callbacks, and calls, waits and watches in async functions |
//! | [`detached`] | calls that begin later, are made again, or whose results nobody waits for; that nothing stays of them |
//! | [`trees`] | cancels, kills, traps and cycles across three runtimes |
//! | [`broadcast`] | BROADCAST: all who have the callback, at once or as they arrive |
//! | [`schedule`] | PERIOD: made, seen and cancelled by guests and from the command line |
//! | [`state_dir`] | schedules that outlive their runtime |
//! | [`streams`] | STREAM: streams and futures between guests, how they end, what they hold |
//! | [`streams_dynamic`] | STREAM from guests without async: items, backpressure, how streams end |
//! | [`streams_cli`] | STREAM from the command line: lines to items |
//! | [`conformance`] | every value type between two processes, in three languages |
//! | [`values`] | JSON, WAVE and postcard through the binary |
//! | [`instances`] | singleton, pool, per-call, async: state and concurrency |
//! | [`tenants`] | what ends at the border between two tenants |
//! | [`strangers`] | what a caller of another tenant is told of a call that failed |
//! | [`grants`] | what a module may call and do, and what it is told where it may not |
//! | [`faults`] | what dies, comes back or talks nonsense, and who notices |
//! | [`tls`] | who gets in over a network, as what, and what those are told who do not |
//! | [`fairness`] | tenants that all want more than there is: weights, processors |
//! | [`starvation`] | more guests that spin than threads: who is held up, and which deadline is missed? |
//! | [`keeping`] | whose state outlives a caller who gives up |
//! | [`limits`] | memory, stack, time, payload, queue |
//! | [`metering`] | what processes have done and used, as it is told |
//! | [`impostors`] | processes that tell of their schedules what no table has |
//! | [`hostile`] | guests that mean harm: what stops them, what they see, and that a bystander does not notice |
//! | [`hostile_peers`] | who speaks the protocol and means harm, and that a bystander does not notice |
//! | [`lifetime`] | `wasi:cli/run`, exit codes, signals, sockets left behind |
//! | [`output`] | prints and logs that nobody reads |
//! | [`check`] | a config file is judged, and its settings shown, without starting anything |
//! | [`cli`] | `call`, `ps`, `inspect`, `doctor` |
//! | [`explain`] | whether a process may call a callback: of config files, and of a running mesh |
//! | [`events`] | who comes and goes, as it happens |
//! | [`bad_input`] | one line of error: what, where, what to do |
//! | [`layout`] | who may name what, and who depends on whom |
//! | [`readme`] | does the README's table of modifiers say what the WIT has? |
//!
//! No test sleeps: each waits for a line, an exit or an answer, with a generous limit. Guests come from
//! `guests/build.sh`; a missing one fails with what to run.

#[cfg(test)]
mod background;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod broadcast;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod ceilings;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod detached;
#[cfg(test)]
mod events;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod grants;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_peers;
#[cfg(test)]
mod impostors;
#[cfg(test)]
mod instances;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod layout;
#[cfg(test)]
mod lifetime;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod metering;
#[cfg(test)]
mod modifiers;
#[cfg(test)]
mod output;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod schedule;
#[cfg(test)]
mod starvation;
#[cfg(test)]
mod state_dir;
#[cfg(test)]
mod strangers;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod streams_cli;
#[cfg(test)]
mod streams_dynamic;
#[cfg(test)]
mod streams_sdk;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod terminal;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trees;
#[cfg(test)]
mod tutorial;
#[cfg(test)]
mod twins;
#[cfg(test)]
mod values;
