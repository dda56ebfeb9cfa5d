//! `explain --config`: by which rules of which config files.
//!
//! It reads the files and the components that they name, as a runtime would, and starts nothing. What it does not know is
//! who else is on the mesh: processes that no file names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use daffi_proto::id::{ProcessRef, TenantName};
use daffi_proto::name::CallbackName;
use daffi_proto::share::is_shared;

use super::answer::{Answer, Question, Rule, process};
use crate::app;
use crate::cli::args::{ExplainArgs, RunArgs};
use crate::config::{self, ModuleConfig, RuntimeConfig};
use crate::exit::Failure;
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

/// What is asked, and of whom.
struct Case<'a> {
    question: Question,
    caller: Resident<'a>,
    /// Who may be called: the modules of the tenant that is called into, but the caller.
    others: Vec<Resident<'a>>,
}

/// Explains.
///
/// # Errors
/// A file that cannot be used, a caller that none of them has.
pub fn explain(args: &ExplainArgs) -> Result<Answer, Failure> {
    let places: Vec<Place> = args.config.iter().map(|file| read(file)).collect::<Result<_, _>>()?;
    let residents: Vec<Resident<'_>> = places.iter().flat_map(Place::residents).collect();
    let mut known = BTreeSet::new();
    if let Some(twice) = residents.iter().find(|resident| !known.insert(&resident.module.process)) {
        let (name, file) = (&twice.module.process, twice.place.file.display());
        return Err(Failure::usage(format!("{file}: {name} is in these files twice, and a mesh has it once")));
    }
    let (tenant, name) = process(&args.caller)?;
    let caller = ProcessRef { tenant: tenant.unwrap_or_default(), name };
    let Some(&found) = residents.iter().find(|resident| resident.module.process == caller) else {
        let known: Vec<String> = residents.iter().map(|resident| resident.module.process.to_string()).collect();
        let known = known.join(", ");
        let message = format!(
            "no module of these files is {caller}: there are {known}; write TENANT::PROCESS outside of default"
        );
        return Err(Failure::usage(message));
    };
    let question = Question::new(caller, &args.callback)?;
    let others = residents.iter().filter(|resident| question.is_other(&resident.module.process)).copied().collect();
    Ok(Case { question, caller: found, others }.answer())
}

fn read(file: &Path) -> Result<Place, Failure> {
    let run = RunArgs { config: Some(file.to_owned()), ..RunArgs::default() };
    let config = config::resolve(run, &Surroundings::of_this_process()).map_err(Failure::usage)?;
    let callbacks = app::callbacks(&config)?;
    Ok(Place { file: file.to_owned(), config, callbacks })
}

impl Place {
    fn residents(&self) -> impl Iterator<Item = Resident<'_>> {
        let modules = self.config.modules.iter().zip(&self.callbacks);
        modules.map(|(module, callbacks)| Resident { place: self, module, callbacks })
    }
}

impl<'a> Resident<'a> {
    /// Its callbacks that serve whoever asks for this full name.
    fn serving(self, name: &CallbackName) -> impl Iterator<Item = &'a CallbackName> {
        self.callbacks.iter().filter(move |callback| name.matches(callback))
    }
}

impl Case<'_> {
    fn answer(&self) -> Answer {
        let tenant = self.question.tenant();
        let nobody = format!("no module of tenant {tenant} in these files has such a callback");
        let name = match self.question.meant(self.candidates().into_iter(), self.caller.callbacks.iter(), &nobody) {
            Ok(name) => name,
            Err(why) => return self.question.answer(None, vec![why.of(&self.caller.place.file)]),
        };
        let having: Vec<_> = self.others.iter().filter(|other| other.serving(name).next().is_some()).collect();
        let file = having.first().map_or(&self.caller.place.file, |first| &first.place.file);
        let mut rules = vec![Rule::had_by(having.iter().map(|other| &other.module.process)).of(file)];
        if let Some(from) = &self.question.foreign {
            rules.push(self.import(from, name));
            rules.push(self.export(from, name).unwrap_or_else(|missing| missing.of(file)));
        }
        rules.push(self.grant(name));
        self.question.answer(Some(name), rules)
    }

    /// The callbacks that the name may mean. Of another tenant's those count that the caller's imports and is exported; where
    /// the name means none of these, all do, so that it can be told what is missing.
    fn candidates(&self) -> Vec<&CallbackName> {
        let all = || self.others.iter().flat_map(|other| other.callbacks);
        let Some(from) = &self.question.foreign else { return all().collect() };
        let importer = (&self.question.caller.tenant, self.caller.place.config.imports.as_slice());
        let shared = self.others.iter().flat_map(|other| {
            let exports = &other.module.exports;
            other.callbacks.iter().filter(move |callback| is_shared((from, exports), importer, callback))
        });
        let shared: Vec<&CallbackName> = shared.collect();
        match shared.iter().any(|name| self.question.pattern.matches(name)) {
            true => shared,
            false => all().collect(),
        }
    }

    fn import(&self, from: &TenantName, name: &CallbackName) -> Rule {
        let (into, place) = (&self.question.caller.tenant, self.caller.place);
        let mut imports = place.config.imports.iter();
        let found =
            imports.find(|import| import.into == *into && import.from == *from && import.callbacks.matches(name));
        let rule = match found {
            Some(import) => {
                Rule::yes("import", format!("[tenant.{into}] imports \"{from}::{}\"", import.callbacks.as_str()))
            }
            None => {
                let add = format!("add imports = [\"{from}::{name}\"]");
                Rule::no("import", format!("nothing in [tenant.{into}] imports it: {add}"))
            }
        };
        rule.of(&place.file)
    }

    fn export(&self, from: &TenantName, name: &CallbackName) -> Result<Rule, Rule> {
        let to = &self.question.caller.tenant;
        for other in &self.others {
            for callback in other.serving(name) {
                let mut exports = other.module.exports.iter();
                if let Some(export) = exports.find(|export| export.to == *to && export.callbacks.matches(callback)) {
                    let because = format!("[tenant.{from}] exports \"{}\" to {to}", export.callbacks.as_str());
                    return Ok(Rule::yes("export", because).of(&other.place.file));
                }
            }
        }
        let add = format!("add exports = [{{ callbacks = [\"{name}\"], to = [\"{to}\"] }}]");
        Err(Rule::no("export", format!("nothing in [tenant.{from}] exports it to {to}: {add}")))
    }

    fn grant(&self, name: &CallbackName) -> Rule {
        let module = self.caller.module;
        let refused = module.grants.call(&module.process, self.question.foreign.as_ref(), name).err();
        let rule = match (&refused, &module.grants.may_call) {
            (None, None) => Rule::yes("grant", "no `may-call`: the caller may call all that it sees"),
            (None, Some(_)) => Rule::yes("grant", "the caller's `may-call` covers it"),
            (Some(_), granted) => {
                let wanted = self.question.told(name);
                let said = granted.iter().flatten().map(ToString::to_string);
                let all: Vec<String> = said.chain([wanted]).map(|pattern| format!("\"{pattern}\"")).collect();
                let write = format!("write may-call = [{}]", all.join(", "));
                Rule::no("grant", format!("the `may-call` of {} does not cover it: {write}", module.process))
            }
        };
        rule.of(&self.caller.place.file)
    }
}
