//! Cooks several dishes at once: calls of one instance that go on beside one another while they wait.

use std::cell::Cell;

wit_bindgen::generate!({ world: "cook", path: "../wit", generate_all });

use wasi::clocks::monotonic_clock::wait_for;

struct Cook;

thread_local! {
    // One instance serves all calls, and one of them at a time runs: a cell is enough.
    static ON_THE_STOVE: Cell<u32> = const { Cell::new(0) };
}

impl exports::demo::restaurant::kitchen::Guest for Cook {
    async fn cook(dish: String, ms: u64) -> String {
        ON_THE_STOVE.set(ON_THE_STOVE.get() + 1);
        println!("{dish} is on the stove");
        wait_for(ms * 1_000_000).await; // here the others go on
        println!("{dish} is ready");
        ON_THE_STOVE.set(ON_THE_STOVE.get() - 1);
        format!("hot {dish}")
    }

    fn on_the_stove() -> u32 {
        ON_THE_STOVE.get()
    }
}

export!(Cook);
