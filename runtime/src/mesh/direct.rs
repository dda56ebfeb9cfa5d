//! How a driver gets its direct links, without knowing what they are made of.
//!
//! The driver orders a link to a node by its addresses; whoever dials and listens (`net::direct`) delivers it, or says why there is
//! none, and delivers the links that others open, numbered by its own count. Invariant: both channels are bounded; an order that
//! finds no room is a link that could not be had, and who listens waits while what it accepted is not taken.

use std::sync::Arc;

use daffi_proto::grants::NodeGrants;
use daffi_proto::id::{DirectId, ProcessName};
use daffi_proto::node::Via;
use tokio::sync::mpsc;

use super::link::Link;

/// Places in the channels between a driver and who dials for it: for as many links as a node opens.
const ORDERS: usize = daffi_proto::node::MAX_ROADS;

/// A link to be dialed.
#[derive(Debug)]
pub struct DialOrder {
    /// What the node calls it.
    pub link: DirectId,
    /// URLs; the first that can be had is taken.
    pub at: Vec<String>,
    /// Whose certificate is to be found there, where there are such.
    pub identity: Option<ProcessName>,
}

/// What comes of an order, or a link that another node opened.
pub struct Arrival {
    /// What the node calls it.
    pub via: Via,
    /// The link, or why there is none.
    pub link: Result<Link, String>,
    /// Of one that another node opened: what its certificate says, where there are such.
    pub grants: Option<Arc<NodeGrants>>,
}

/// The driver's end.
pub struct Directs {
    /// To who dials.
    pub orders: mpsc::Sender<DialOrder>,
    /// From who dials and listens.
    pub arrivals: mpsc::Receiver<Arrival>,
}

/// The other end.
pub struct DirectDialing {
    /// From the driver.
    pub orders: mpsc::Receiver<DialOrder>,
    /// To the driver.
    pub arrivals: mpsc::Sender<Arrival>,
}

/// The two ends.
pub fn channel() -> (Directs, DirectDialing) {
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let (arrivals_in, arrivals) = mpsc::channel(ORDERS);
    (Directs { orders: orders_in, arrivals }, DirectDialing { orders, arrivals: arrivals_in })
}
