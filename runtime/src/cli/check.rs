//! `daffi-runtime check`: whether a config file can be used, and all that it comes to.

use crate::app;
use crate::cli::args::{CheckArgs, RunArgs};
use crate::config::effective::Effective;
use crate::config::{self, RuntimeConfig};
use crate::exit::{self, Failure};
use crate::net::endpoint::Surroundings;

/// Checks the file and the components that it names, and gives its settings, as TOML or JSON.
///
/// # Errors
/// The first mistake.
pub fn check(args: &CheckArgs) -> Result<String, Failure> {
    let run = RunArgs { config: Some(args.path.clone()), ..RunArgs::default() };
    let config = config::resolve(run, &Surroundings::of_this_process()).map_err(Failure::usage)?;
    app::examine(&config)?;
    shown(&config, args.json).map_err(|error| Failure::new(exit::FAILED, error))
}

/// The text form is for people and for files, so what cannot be written is a defect, and told as a sentence.
fn shown(config: &RuntimeConfig, json: bool) -> Result<String, String> {
    let effective = Effective::of(config);
    let text = match json {
        true => serde_json::to_string_pretty(&effective).map(|text| text + "\n").map_err(|error| error.to_string()),
        false => toml::to_string(&effective).map_err(|error| error.to_string()),
    };
    text.map_err(|error| format!("the settings cannot be shown: {error}"))
}
