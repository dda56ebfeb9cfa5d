//! The gardener: waters what it is told to, whoever's plan that was.

use std::sync::atomic::{AtomicU32, Ordering};

wit_bindgen::generate!({ world: "gardener", path: "../wit" });

use exports::demo::garden::beds::Guest;

static WATERED: AtomicU32 = AtomicU32::new(0);

struct Gardener;

impl Guest for Gardener {
    fn water(plant: String) {
        let times = WATERED.fetch_add(1, Ordering::Relaxed) + 1;
        println!("Watering the {plant} ({times})");
    }

    fn watered() -> u32 {
        WATERED.load(Ordering::Relaxed)
    }
}

export!(Gardener);
