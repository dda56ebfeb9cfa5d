//! Many nodes and a controller in one test, with virtual time, seeded delays and loss of links.
//!
//! | module | shows |
//! |---|---|
//! | `net` | the harness: nodes, links, time |
//! | `handshake` | who may come in, and who loses his link |
//! | `names` | process names: taken, kept, freed |
//! | `calls` | whom a call goes to and what comes back |
//! | `lookup` | names and signatures, and waiting for them |
//! | `deadlines` | time that runs out, and trees of calls that are cancelled |
//! | `faults` | links that break, peers that are silent, queues that are full |
//! | `leaving` | drain, leave, processes that are taken off; loads and lists |
//! | `soak` | random runs of everything, checked as a whole |

mod calls;
mod deadlines;
mod faults;
mod handshake;
mod leaving;
mod lookup;
mod names;
mod net;
mod soak;
