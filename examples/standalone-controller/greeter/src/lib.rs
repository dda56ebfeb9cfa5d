//! Greets, and says which process it is.

wit_bindgen::generate!({ world: "greeter", path: "../wit" });

struct Greeter;

impl exports::demo::standalone::greetings::Guest for Greeter {
    fn greet(name: String) -> String {
        format!("hello {name}, says {}", daffi::mesh::whoami().process)
    }
}

export!(Greeter);
