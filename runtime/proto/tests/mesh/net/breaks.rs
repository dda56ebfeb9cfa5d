//! What a test does to the mesh: links that break, swallow, are slow or full, runtimes that die.

use daffi_proto::controller::{Controller, ControllerConfig};
use daffi_proto::node::Node;

use super::{Delivery, Net};

impl Net {
    /// Cuts a node's link: each side hears of it after a while of its own.
    pub fn cut(&mut self, node: usize) {
        let Some(link) = self.nodes[node].link else { return };
        let Some(wire) = self.wires.get_mut(&link).filter(|wire| wire.up) else { return };
        wire.up = false;
        for to_controller in [false, true] {
            self.deliver(link, to_controller, |link| Delivery::Closed {
                link,
                to_controller,
                reason: "cut by the test".to_owned(),
            });
        }
    }

    /// The link swallows everything from now on.
    pub fn silence(&mut self, node: usize) {
        let link = self.link_of(node);
        self.wires.get_mut(&link).unwrap().silent = true;
    }

    /// The node alone notices that its link is dead.
    pub fn lose(&mut self, node: usize) {
        let link = self.link_of(node);
        self.node_lost(link, "lost by the test".to_owned());
    }

    /// The link's queues, both ways, have no room for what may be refused.
    pub fn fill(&mut self, node: usize, full: bool) {
        let link = self.link_of(node);
        self.wires.get_mut(&link).unwrap().full = full;
    }

    /// The link's two directions take so many bytes a second each from now on.
    pub fn slow(&mut self, node: usize, bytes_a_second: u64) {
        let link = self.link_of(node);
        self.wires.get_mut(&link).unwrap().bytes_a_second = Some(bytes_a_second);
    }

    /// The controller's process dies.
    pub fn kill_controller(&mut self) {
        self.controller = None;
        for node in 0..self.nodes.len() {
            self.cut(node);
        }
    }

    pub fn start_controller(&mut self) {
        self.controller = Some(Controller::new(ControllerConfig::new(self.random.bits())));
    }

    /// The node's process dies: nothing of it is left but its link's end.
    pub fn kill_node(&mut self, node: usize) {
        self.cut(node);
        for end in self.directs_of(node) {
            self.close_directly(end, "its process died");
        }
        let runtime = &mut self.nodes[node];
        runtime.link = None;
        runtime.redial = false;
        runtime.dead = true;
        runtime.running.clear();
        runtime.node = Node::new(runtime.config.clone());
    }
}
