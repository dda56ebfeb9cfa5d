//! How a driver gets its link to the controller, without knowing what the link is made of.
//!
//! The driver orders a link; whoever dials (`net::dial` over sockets, [`super::hub::join_in_memory`] for a controller in the same
//! process) delivers one, or says that there will never be one. Invariant: at most one order is open, so the channels
//! of [`ORDERS`] places are never full for long.

use tokio::sync::mpsc;

use super::link::Link;

/// Places in the channels between a driver and its dialer.
const ORDERS: usize = 4;

/// What the driver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A new link, after a wait that grows with each failure.
    Dial,
    /// The link that was delivered has been of use: waits start small again.
    LinkWasGood,
}

/// What the dialer delivers.
pub enum Delivery {
    /// A connected link.
    Link(Link),
    /// Not yet: an attempt failed, for this reason, and the next one will be made.
    NotYet(String),
    /// There will be none, for this reason.
    Refused(String),
}

/// The driver's end: what it orders, and what it is delivered.
pub struct Uplink {
    /// To the dialer.
    pub orders: Orders,
    /// From the dialer.
    pub deliveries: Deliveries,
}

/// Orders to the dialer.
pub struct Orders(mpsc::Sender<Order>);

/// What the dialer delivers.
pub struct Deliveries(mpsc::Receiver<Delivery>);

/// The dialer's end.
pub struct Dialing {
    orders: mpsc::Receiver<Order>,
    deliveries: mpsc::Sender<Delivery>,
}

/// The two ends.
pub fn channel() -> (Uplink, Dialing) {
    let (orders_in, orders) = mpsc::channel(ORDERS);
    let (deliveries_in, deliveries) = mpsc::channel(ORDERS);
    (
        Uplink { orders: Orders(orders_in), deliveries: Deliveries(deliveries) },
        Dialing { orders, deliveries: deliveries_in },
    )
}

impl Orders {
    /// Tells the dialer. An order beyond the channel's places is dropped: that many are open already.
    pub fn send(&self, order: Order) {
        let _ = self.0.try_send(order);
    }
}

impl Deliveries {
    /// The next delivery; `None` when the dialer has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}

impl Dialing {
    /// The next order; `None` when the driver has ended. Cancel safe.
    pub async fn order(&mut self) -> Option<Order> {
        self.orders.recv().await
    }

    /// Delivers a link.
    pub async fn connected(&self, link: Link) {
        let _ = self.deliveries.send(Delivery::Link(link)).await;
    }

    /// Says why there is no link yet. When too much of that has not been heard, there is no need for more.
    pub fn not_yet(&self, reason: String) {
        let _ = self.deliveries.try_send(Delivery::NotYet(reason));
    }

    /// Says that there will be no link.
    pub async fn refused(&self, reason: String) {
        let _ = self.deliveries.send(Delivery::Refused(reason)).await;
    }
}
