//! Visits every greeter on the mesh: lists the processes and pins a call to each.

use std::time::Duration;

use daffi::{CallError, FG, fetchers, mesh};

const GREET: &str = "demo:standalone/greetings#greet";

fetchers! {
    /// A greeting that says who gave it.
    fn greet(name: &str) -> String = GREET;
}

fn main() -> Result<(), CallError> {
    for greeter in ["greeter-1", "greeter-2"] {
        mesh::wait_process(greeter, Duration::from_secs(30))?;
    }
    let me = mesh::whoami().process;
    for process in mesh::processes() {
        if process.callbacks.iter().any(|callback| callback == GREET) {
            println!("{}", (greet(&me) & FG.receiver(process.name))?);
        }
    }
    Ok(())
}
