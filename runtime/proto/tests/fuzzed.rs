//! What the fuzz targets found before, and what they begin with: each file of `fuzz/corpus` once.
//!
//! The targets themselves are a workspace of their own (`fuzz/run.sh`); their modules name no libFuzzer and stand here too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests may fail as tests do"
)]

#[path = "../fuzz/src/controller.rs"]
mod controller;
#[path = "../fuzz/src/frames.rs"]
mod frames;
#[path = "../fuzz/src/journal.rs"]
mod journal;
#[path = "../fuzz/src/node.rs"]
mod node;
#[path = "../fuzz/src/script.rs"]
mod script;
#[path = "../fuzz/src/texts.rs"]
mod texts;
#[path = "../fuzz/src/types.rs"]
mod types;
#[path = "../fuzz/src/values.rs"]
mod values;

use std::path::Path;

fn each_of(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // So that a failure names its file.
        println!("{}", path.display());
        run(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn the_frames_that_were_found_are_read_or_refused() {
    each_of("frames", frames::run);
}

#[test]
fn all_codecs_agree_on_the_values_that_were_found() {
    each_of("values", values::run);
}

#[test]
fn the_texts_that_were_found_are_read_or_refused() {
    each_of("texts", texts::run);
}

#[test]
fn the_journals_that_were_found_are_read_or_refused() {
    each_of("journal", journal::run);
}

#[test]
fn a_controller_lives_through_the_scripts_that_were_found_and_keeps_nothing() {
    each_of("controller", controller::run);
}

#[test]
fn a_node_lives_through_the_scripts_that_were_found_and_keeps_nothing() {
    each_of("node", node::run);
}
