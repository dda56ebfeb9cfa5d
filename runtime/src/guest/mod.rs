//! Guests: the only place that knows wasmtime.
//!
//! | module | holds |
//! |---|---|
//! | [`engine`] | the wasmtime engines, and what the machine lets them be |
//! | [`component`] | from bytes to a compiled component with its callbacks, fetchers and needs |
//! | [`transcode`] | values between postcard bytes and guests |
//! | [`module`] | a component on the mesh: one process, its instances, its `run` |
//! | [`limits`] | what a module may use, and how its instances are kept |
//! | [`ceiling`] | what all modules of a tenant may use together |
//! | [`output`] | what guests print |
//! | [`run`] | `wasi:cli/run` |
//! | `template` | the linked component that instances are made from |
//! | `state` | what a guest's store holds |
//! | `instance` | one instance and calls into it |
//! | [`outside`], [`network`] | what of the host guests see: environment, folders, addresses |
//! | `rate` | how often a module may be called |
//! | [`fair`] | whose guests have the threads next, among tenants |
//! | `roster` | who may run and who waits, as a plain state machine |
//! | `pool`, `worker` | the calls of a module, at the driver's desk and on the worker threads |
//! | `interleave`, `lanes`, `lane` | the same for components with async functions, whose calls interleave |
//! | `tasks` | what the tasks of an instance work for, and the time that each used |
//! | `heat` | whether a module's calls may run at the driver's desk |
//! | `lent` | time for which a thread ran another guest than its own |
//! | `house`, `bell` | what a module does beside its calls, and what wakes it |
//! | `fetch`, `call` | what guests import: typed calls, and `daffi:runtime` |
//! | `meter` | what a module has done and used, as counters |
//! | `outgoing`, `handles` | how many calls a module has open to others, and how many handles its guests hold |
//! | `handle_table` | what an instance holds of the host, and how much of it its tenant may |
//! | `answer` | what callers are told of calls that did not run |
//! | `audience` | how much of an error callers of another tenant are told |
//! | `streams` | streams between guests and the mesh |
//! | `fault`, `backtrace` | how a guest's end becomes the error of its call |

mod answer;
mod audience;
mod backtrace;
mod bell;
mod call;
pub mod ceiling;
pub mod component;
pub mod engine;
pub mod fair;
mod fault;
mod fetch;
pub mod grants;
mod handle_table;
mod handles;
mod heat;
mod house;
mod instance;
mod interleave;
mod lane;
mod lanes;
mod lent;
pub mod limits;
mod meter;
pub mod module;
pub mod network;
mod outgoing;
pub mod output;
pub mod outside;
mod pool;
mod rate;
mod roster;
pub mod run;
mod state;
mod stint;
mod streams;
mod tasks;
mod template;
mod threads;
pub mod transcode;
mod worker;

#[cfg(test)]
mod tests;
