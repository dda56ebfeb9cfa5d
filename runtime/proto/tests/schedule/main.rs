//! PERIOD in virtual time: no test waits.
//!
//! | module | shows |
//! |---|---|
//! | `sim` | the harness: a table, its two clocks, runs that take time |
//! | `every` | intervals that do not drift; pauses |
//! | `utc` | `at` and cron; clocks that are set forwards and back |
//! | `overlap` | ticks that come while a run is in flight |
//! | `table` | the limit, cancelling, lists, finished tasks |
//! | `restart` | snapshots and what a restart makes of them; bad ones |
//! | `disk` | a snapshot and its journal, as they stand on a disk |
//! | `journal` | what is written down between snapshots, and what a crash leaves of it |
//! | `wire` | the bytes of what travels |
//! | `random` | random plans, pauses, jumps and restarts against what must always hold |

#[cfg(test)]
mod disk;
#[cfg(test)]
mod every;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod overlap;
#[cfg(test)]
mod random;
#[cfg(test)]
mod restart;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod table;
#[cfg(test)]
mod utc;
#[cfg(test)]
mod wire;
