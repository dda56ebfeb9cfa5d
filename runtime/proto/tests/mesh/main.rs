//! Many nodes and a controller in one test, with virtual time, seeded delays and loss of links.
//!
//! | module | shows |
//! |---|---|
//! | `net` | the harness: nodes, links, time |
//! | `handshake` | who may come in, and who loses his link |
//! | `names` | process names: taken, kept, freed |
//! | `calls` | whom a call goes to and what comes back |
//! | `offers` | calls between two processes of one node that are over at once |
//! | `lookup` | names and signatures, and waiting for them |
//! | `deadlines` | time that runs out, and trees of calls that are cancelled |
//! | `abandoned` | calls that are to be finished though the ones that they are made for are given up |
//! | `run_on` | calls that run on after their caller was told, or has given up |
//! | `gather` | broadcasts |
//! | `detached` | calls that begin later, and calls whose callers do not wait for what they come to |
//! | `retries` | calls that are made again, and receivers that see them twice |
//! | `faults` | links that break, peers that are silent, queues that are full |
//! | `slow` | links on which a frame takes longer than silence may |
//! | `leaving` | drain, leave, processes that are taken off; loads and lists |
//! | `watch` | who is told of processes that come and go |
//! | `schedules` | scheduled tasks: where they run, who sees them, what ends them |
//! | `planned` | the same at random |
//! | `kept` | scheduled tasks that are written down |
//! | `streams` | streams of calls |
//! | `sharing` | what is shared across it |
//! | `usage` | what processes used, as others are told of it |
//! | `tenants` | what ends at the border between two tenants |
//! | `soak` | random runs of everything, checked as a whole |

#[cfg(test)]
mod abandoned;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod detached;
#[cfg(test)]
mod directs;
#[cfg(test)]
#[path = "../schedule/disk.rs"]
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gather;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod lookup;
#[cfg(test)]
mod names;
#[cfg(test)]
mod net;
#[cfg(test)]
mod offers;
#[cfg(test)]
mod planned;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod run_on;
#[cfg(test)]
mod schedules;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod slow;
#[cfg(test)]
mod soak;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod watch;
