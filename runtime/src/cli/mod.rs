//! The command line: what can be said, and where it goes.
//!
//! | module | holds |
//! |---|---|
//! | [`args`] | every flag with its help text |
//! | [`words`] | from words to [`args`]; every mistake is one line |
//! | [`client`] | joining the mesh as an anonymous client |
//! | [`written`] | a call as it is written |
//! | [`table`] | tables for people |
//! | [`stdout`] | what is printed, and where that fails |
//! | [`usage`] | what processes have used, in words and in JSON |
//! | [`stream`] | `call --stream`: lines to items and back |
//! | [`call`], [`schedule`], [`ps`], [`top`], [`events`], [`certs`], [`check`], [`explain`], [`doctor`], [`inspect`] | the subcommands |

pub mod args;
pub mod call;
pub mod certs;
pub mod check;
pub mod client;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod inspect;
pub mod ps;
pub mod schedule;
pub mod stdout;
pub mod stream;
pub mod table;
pub mod top;
pub mod usage;
pub mod words;
pub mod written;
