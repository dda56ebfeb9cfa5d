//! The planner: has the gardener water its plants by three plans, looks at them, cancels one, and goes.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use daffi::{At, CallError, Cron, Every, fetchers};

fetchers! {
    /// Waters a plant.
    fn water(plant: &str) = "demo:garden/beds#water";
}

fn main() -> Result<(), CallError> {
    let soon = SystemTime::now() + Duration::from_millis(100);
    let roses = (water("roses") & Every::text("0.2s").wait_ready())?;
    let cactus = (water("cactus") & At::time(soon))?;
    (water("lawn") & Cron::text("0 6 * * MON-FRI"))?;
    for task in daffi::tasks()? {
        println!(
            "{} is planned at {}: {}",
            task.callback,
            task.receiver,
            task.plan.split(' ').next().unwrap_or_default()
        );
    }
    while roses.now()?.runs < 3 || cactus.now()?.runs < 1 {
        sleep(Duration::from_millis(50));
    }
    let last = roses.cancel()?;
    println!("The roses had water {} times, {} in vain", last.runs.min(3), last.failures);
    println!("The cactus is {}", cactus.now()?.state);
    Ok(())
}
