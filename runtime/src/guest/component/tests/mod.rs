//! Components made from WIT and WAT in the test itself, and what loading says of them.

mod bad_input;
mod callbacks;
mod fetchers;
mod host;
mod load;
mod opener;
mod unservable;

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

use super::description::{Callback, Description, Fetcher};
use super::{LoadError, LoadOptions, describe};

/// A component of the one world in this WIT, which may `import daffi:runtime/…@0.1.0`. Its functions trap.
pub(crate) fn component(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Legacy(LiftLowerAbi::Sync));
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// A component of a world with these items in package `demo:tutorial`, which has these interfaces.
fn demo(interfaces: &str, world: &str) -> Vec<u8> {
    component(&format!("package demo:tutorial; {interfaces} world w {{ {world} }}"))
}

/// A component in WAT.
fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn described(bytes: &[u8]) -> Description {
    describe("test.wasm", bytes, &LoadOptions::default()).unwrap()
}

fn error(bytes: &[u8], options: &LoadOptions) -> LoadError {
    describe("test.wasm", bytes, options).unwrap_err()
}

/// `name: signature` of each callback.
fn callbacks(description: &Description) -> Vec<String> {
    let text = |callback: &Callback| format!("{}: {}", callback.name, callback.signature.to_wit());
    description.callbacks.iter().map(text).collect()
}

/// `candidate, candidate: signature` of each fetcher.
fn fetchers(description: &Description) -> Vec<String> {
    let text = |fetcher: &Fetcher| {
        let candidates: Vec<String> = fetcher.candidates.iter().map(ToString::to_string).collect();
        format!("{}: {}", candidates.join(", "), fetcher.signature.to_wit())
    };
    description.fetchers.iter().map(text).collect()
}

fn problems(description: &Description) -> Vec<String> {
    description.problems.iter().map(ToString::to_string).collect()
}
