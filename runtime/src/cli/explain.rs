//! `daffi-runtime explain`: whether a module may call a callback, by which rules of which config files, or what is missing.
//!
//! It reads the files and the components that they name, as a runtime would, and starts nothing. What it does not know is
//! who else is on the mesh: processes that no file names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daffi_proto::id::{ProcessName, ProcessRef, TenantName};
use daffi_proto::name::{CallbackName, Lookup, Pattern, Qualified, split_tenant};
use serde::Serialize;

use super::args::{ExplainArgs, RunArgs};
use super::table;
use crate::app;
use crate::config::{self, ModuleConfig, RuntimeConfig};
use crate::exit::{self, Failure};
use crate::net::endpoint::Surroundings;

/// A config file, and what the components in it have.
struct Place {
    file: PathBuf,
    config: RuntimeConfig,
    /// The callbacks of each module.
    callbacks: Vec<Vec<CallbackName>>,
}

/// A module of a file.
#[derive(Clone, Copy)]
struct Resident<'a> {
    place: &'a Place,
    module: &'a ModuleConfig,
    callbacks: &'a [CallbackName],
}

/// What is to be explained.
struct Question<'a> {
    caller: Resident<'a>,
    /// Another tenant that is called into.
    foreign: Option<TenantName>,
    pattern: Pattern,
    /// Who may be called: the modules of that tenant, or the others of the caller's own.
    others: Vec<Resident<'a>>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    caller: String,
    callback: String,
    allowed: bool,
    rules: Vec<Rule>,
}

/// A rule that allows the call, or does not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Rule {
    rule: &'static str,
    allows: bool,
    /// What it says, or what to do.
    because: String,
    /// Where it stands, or would.
    file: PathBuf,
}

/// Explains, and gives the exit code too: 0 where the call is allowed, 3 where it would not run.
///
/// # Errors
/// A file that cannot be used, a caller that none of them has.
pub fn explain(args: &ExplainArgs) -> Result<(String, u8), Failure> {
    let places: Vec<Place> = args.config.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let residents: Vec<Resident<'_>> = places.iter().flat_map(Place::residents).collect();
    let mut known = BTreeSet::new();
    if let Some(twice) = residents.iter().find(|resident| !known.insert(&resident.module.process)) {
        let (name, file) = (&twice.module.process, twice.place.file.display());
        return Err(Failure::usage(format!("{file}: {name} is in these files twice, and a mesh has it once")));
    }
    let caller = process(&args.caller)?;
    let Some(&found) = residents.iter().find(|resident| resident.module.process == caller) else {
        let known: Vec<String> = residents.iter().map(|resident| resident.module.process.to_string()).collect();
        let known = known.join(", ");
        let message = format!(
            "no module of these files is {caller}: there are {known}; write TENANT::PROCESS outside of default"
        );
        return Err(Failure::usage(message));
    };
    let Qualified { tenant, pattern } = Qualified::parse(&args.callback).map_err(Failure::usage)?;
    let foreign = tenant.filter(|tenant| *tenant != caller.tenant);
    let of = foreign.as_ref().unwrap_or(&caller.tenant);
    let is_other =
        |resident: &&Resident<'_>| resident.module.process.tenant == *of && resident.module.process != caller;
    let others = residents.iter().filter(is_other).copied().collect();
    let answer = Question { caller: found, foreign, pattern, others }.answer();
    let code = if answer.allowed { exit::OK } else { exit::NOT_RUN };
    let text = match args.json {
        true => serde_json::to_string_pretty(&answer).map_err(|error| Failure::new(exit::FAILED, error))? + "\n",
        false => answer.page(),
    };
    Ok((text, code))
}

fn read(file: &Path) -> Result<Place, Failure> {
    let run = RunArgs { config: Some(file.to_owned()), ..RunArgs::default() };
    let config = config::resolve(run, &Surroundings::of_this_process()).map_err(Failure::usage)?;
    let callbacks = app::callbacks(&config)?;
    Ok(Place { file: file.to_owned(), config, callbacks })
}

/// `process` or `tenant::process`
fn process(text: &str) -> Result<ProcessRef, Failure> {
    let (tenant, name) = split_tenant(text).map_err(Failure::usage)?;
    let name = ProcessName::new(name).map_err(Failure::usage)?;
    Ok(ProcessRef { tenant: tenant.unwrap_or_default(), name })
}

impl Place {
    fn residents(&self) -> impl Iterator<Item = Resident<'_>> {
        let modules = self.config.modules.iter().zip(&self.callbacks);
        modules.map(|(module, callbacks)| Resident { place: self, module, callbacks })
    }
}

impl Question<'_> {
    fn answer(&self) -> Answer {
        let mut rules = Vec::new();
        let callback = match self.meant() {
            Ok((name, had)) => {
                rules.push(had);
                if let Some(from) = &self.foreign {
                    rules.push(self.import(from, &name));
                    rules.push(self.export(from, &name));
                }
                rules.push(self.grant(&name));
                match &self.foreign {
                    Some(tenant) => format!("{tenant}::{name}"),
                    None => name.to_string(),
                }
            }
            Err(why) => {
                rules.push(why);
                match &self.foreign {
                    Some(tenant) => format!("{tenant}::{}", self.pattern),
                    None => self.pattern.to_string(),
                }
            }
        };
        let allowed = rules.iter().all(|rule| rule.allows);
        Answer { caller: self.caller.module.process.to_string(), callback, allowed, rules }
    }

    fn tenant(&self) -> &TenantName {
        self.foreign.as_ref().unwrap_or(&self.caller.module.process.tenant)
    }

    /// Which callback the name means, and who has it.
    fn meant(&self) -> Result<(CallbackName, Rule), Rule> {
        let names = || self.others.iter().flat_map(|other| other.callbacks);
        let rule = |allows, because, file: &Path| Rule { rule: "callback", allows, because, file: file.to_owned() };
        match self.pattern.pick(names()) {
            Ok(name) => {
                let who: Vec<&Resident<'_>> =
                    self.others.iter().filter(|other| other.callbacks.contains(name)).collect();
                let list: Vec<String> = who.iter().map(|other| other.module.process.to_string()).collect();
                let file = who.first().map_or(&self.caller.place.file, |first| &first.place.file);
                Ok((
                    name.clone(),
                    rule(
                        true,
                        format!("{} {} it", list.join(", "), if list.len() == 1 { "has" } else { "have" }),
                        file,
                    ),
                ))
            }
            Err(Lookup::NotFound) => {
                let own = self.foreign.is_none() && self.pattern.pick(self.caller.callbacks).is_ok();
                let because = if own {
                    "only the caller itself has it, and no process serves its own calls".to_owned()
                } else {
                    let near = match self.pattern.near(names()).as_slice() {
                        [] => String::new(),
                        near => format!("; did you mean {}?", near.join(" or ")),
                    };
                    format!("no module of tenant {} in these files has such a callback{near}", self.tenant())
                };
                Err(rule(false, because, &self.caller.place.file))
            }
            Err(lookup) => Err(rule(false, lookup.to_string(), &self.caller.place.file)),
        }
    }

    fn import(&self, from: &TenantName, name: &CallbackName) -> Rule {
        let (into, place) = (&self.caller.module.process.tenant, self.caller.place);
        let mut imports = place.config.imports.iter();
        let found =
            imports.find(|import| import.into == *into && import.from == *from && import.callbacks.matches(name));
        let because = match found {
            Some(import) => format!("[tenant.{into}] imports \"{from}::{}\"", import.callbacks.as_str()),
            None => format!("nothing in [tenant.{into}] imports it: add imports = [\"{from}::{name}\"]"),
        };
        Rule { rule: "import", allows: found.is_some(), because, file: place.file.clone() }
    }

    fn export(&self, from: &TenantName, name: &CallbackName) -> Rule {
        let to = &self.caller.module.process.tenant;
        let having = self.others.iter().filter(|other| other.callbacks.contains(name));
        let mut first = None;
        for other in having {
            let mut exports = other.module.exports.iter();
            if let Some(export) = exports.find(|export| export.to == *to && export.callbacks.matches(name)) {
                let because = format!("[tenant.{from}] exports \"{}\" to {to}", export.callbacks.as_str());
                return Rule { rule: "export", allows: true, because, file: other.place.file.clone() };
            }
            first.get_or_insert(&other.place.file);
        }
        let add = format!("add exports = [{{ callbacks = [\"{name}\"], to = [\"{to}\"] }}]");
        let because = format!("nothing in [tenant.{from}] exports it to {to}: {add}");
        Rule { rule: "export", allows: false, because, file: first.unwrap_or(&self.caller.place.file).clone() }
    }

    fn grant(&self, name: &CallbackName) -> Rule {
        let module = self.caller.module;
        let refused = module.grants.call(&module.process, self.foreign.as_ref(), name).err();
        let because = match (&refused, &module.grants.may_call) {
            (None, None) => "no `may-call`: the caller may call all that it sees".to_owned(),
            (None, Some(_)) => "the caller's `may-call` covers it".to_owned(),
            (Some(_), _) => "the caller's `may-call` does not cover it: add a pattern for it".to_owned(),
        };
        Rule { rule: "grant", allows: refused.is_none(), because, file: self.caller.place.file.clone() }
    }
}

impl Answer {
    fn page(&self) -> String {
        let Self { caller, callback, .. } = self;
        let verdict = if self.allowed { "may call" } else { "may not call" };
        let rows = self.rules.iter().map(|rule| {
            let allows = if rule.allows { "yes" } else { "no" };
            [rule.rule.to_owned(), allows.to_owned(), rule.because.clone(), rule.file.display().to_string()]
        });
        let rows: Vec<[String; 4]> = rows.collect();
        let lines = std::iter::once(format!("{caller} {verdict} {callback}")).chain(table::table(&rows));
        lines.map(|line| line + "\n").collect()
    }
}
