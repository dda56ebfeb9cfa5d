//! One component that exports and imports the same function. A process never serves its own call, so the import is
//! always another process.

wit_bindgen::generate!({ world: "both", path: "../wit" });

struct Both;

impl exports::demo::roles::names::Guest for Both {
    fn get_process_name() -> String {
        std::env::var("PROCESS_NAME").unwrap_or_else(|_| "nobody".into())
    }
}

export!(Both);

fn main() {
    println!("The other process is {}", demo::roles::names::get_process_name());
}
