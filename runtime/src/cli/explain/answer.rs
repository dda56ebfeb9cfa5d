//! What is asked of `explain` and what it answers, in the words that files and the mesh have in common.
//!
//! Invariant: a process never serves its own call, so the caller is never one of those who have the callback.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use daffi_proto::id::{ProcessName, ProcessRef, TenantName};
use daffi_proto::name::{CallbackName, Lookup, Pattern, Qualified, nearest, split_tenant};
use serde::Serialize;

use crate::cli::table;
use crate::exit::{self, Failure};

/// What is to be explained.
pub struct Question {
    /// Who calls.
    pub caller: ProcessRef,
    /// Another tenant that is called into.
    pub foreign: Option<TenantName>,
    /// What was written for the callback.
    pub pattern: Pattern,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    caller: String,
    callback: String,
    /// Whether no rule forbids the call.
    allowed: bool,
    rules: Vec<Rule>,
}

/// A rule that allows the call, or does not.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Rule {
    rule: &'static str,
    /// None where it cannot be told here.
    allows: Option<bool>,
    /// What it says, or what to do.
    because: String,
    /// Where it stands, or would, if that is in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// `process` or `tenant::process`
pub fn process(text: &str) -> Result<(Option<TenantName>, ProcessName), Failure> {
    let (tenant, name) = split_tenant(text).map_err(Failure::usage)?;
    Ok((tenant, ProcessName::new(name).map_err(Failure::usage)?))
}

impl Question {
    /// What is asked of this caller, with the callback as it was written.
    ///
    /// # Errors
    /// A text that is no name.
    pub fn new(caller: ProcessRef, callback: &str) -> Result<Self, Failure> {
        let Qualified { tenant, pattern } = Qualified::parse(callback).map_err(Failure::usage)?;
        let foreign = tenant.filter(|tenant| *tenant != caller.tenant);
        Ok(Self { caller, foreign, pattern })
    }

    /// The tenant that is called into.
    pub fn tenant(&self) -> &TenantName {
        self.foreign.as_ref().unwrap_or(&self.caller.tenant)
    }

    /// Whether this process may be one that serves the call.
    pub fn is_other(&self, process: &ProcessRef) -> bool {
        process.tenant == *self.tenant() && *process != self.caller
    }

    /// A name where the caller looks, as he writes it.
    pub fn told(&self, name: &impl Display) -> String {
        match &self.foreign {
            Some(tenant) => format!("{tenant}::{name}"),
            None => name.to_string(),
        }
    }

    /// The callback that is meant, of all that others have.
    ///
    /// # Errors
    /// Why there is none, as a rule: `nobody` says that no other has it, and `own` are the caller's callbacks.
    pub fn meant<'a>(
        &self,
        others: impl Iterator<Item = &'a CallbackName> + Clone,
        own: impl Iterator<Item = &'a CallbackName> + Clone,
        nobody: &str,
    ) -> Result<&'a CallbackName, Rule> {
        let because = match self.pattern.pick(others.clone()) {
            Ok(name) => return Ok(name),
            Err(Lookup::NotFound) if self.foreign.is_none() && self.pattern.pick(own.clone()).is_ok() => {
                "only the caller itself has it, and no process serves its own calls".to_owned()
            }
            Err(Lookup::NotFound) => {
                let near: Vec<String> = self.pattern.near(others).iter().map(|name| self.told(name)).collect();
                format!("{nobody}{}", nearest(&near))
            }
            Err(lookup) => lookup.to_string(),
        };
        Err(Rule::no("callback", because))
    }

    /// The answer, with the callback if one was found.
    pub fn answer(&self, name: Option<&CallbackName>, rules: Vec<Rule>) -> Answer {
        let callback = name.map_or_else(|| self.told(&self.pattern), |name| self.told(name));
        let allowed = rules.iter().all(|rule| rule.allows != Some(false));
        Answer { caller: self.caller.to_string(), callback, allowed, rules }
    }
}

impl Rule {
    /// It allows the call.
    pub fn yes(rule: &'static str, because: impl Into<String>) -> Self {
        Self { rule, allows: Some(true), because: because.into(), file: None }
    }

    /// It does not.
    pub fn no(rule: &'static str, because: impl Into<String>) -> Self {
        Self { allows: Some(false), ..Self::yes(rule, because) }
    }

    /// It cannot be told here.
    pub fn unknown(rule: &'static str, because: impl Into<String>) -> Self {
        Self { allows: None, ..Self::yes(rule, because) }
    }

    /// The callback was found at these, of which there is one at least.
    pub fn had_by<'a>(processes: impl Iterator<Item = &'a ProcessRef>) -> Self {
        let all: BTreeSet<&ProcessRef> = processes.collect();
        let list: Vec<String> = all.into_iter().map(ToString::to_string).collect();
        let have = if list.len() == 1 { "has" } else { "have" };
        Self::yes("callback", format!("{} {have} it", list.join(", ")))
    }

    /// It cannot be told here whether that is so: this may be otherwise.
    pub fn unless(self, otherwise: &str) -> Self {
        Self { allows: None, because: format!("{}; unless {otherwise}", self.because), ..self }
    }

    /// It stands in this file, or would.
    pub fn of(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }
}

impl Answer {
    /// 0 where the call is allowed, 3 where it would not run.
    pub fn exit_code(&self) -> u8 {
        if self.allowed { exit::OK } else { exit::NOT_RUN }
    }

    /// For people, or in JSON.
    ///
    /// # Errors
    /// None that anybody knows of: it can all be JSON.
    pub fn text(&self, json: bool) -> Result<String, Failure> {
        match json {
            true => Ok(serde_json::to_string_pretty(self).map_err(|error| Failure::new(exit::FAILED, error))? + "\n"),
            false => Ok(self.page()),
        }
    }

    fn page(&self) -> String {
        let Self { caller, callback, .. } = self;
        let verdict = if self.allowed { "may call" } else { "may not call" };
        // What cannot be told may forbid it yet.
        let unseen: Vec<&str> = self.rules.iter().filter(|rule| rule.allows.is_none()).map(|rule| rule.rule).collect();
        let open = match self.allowed && !unseen.is_empty() {
            true => format!(", as far as can be told here, where these are not seen: {}", unseen.join(", ")),
            false => String::new(),
        };
        let rows = self.rules.iter().map(|rule| {
            let allows = match rule.allows {
                Some(true) => "yes",
                Some(false) => "no",
                None => "?",
            };
            let file = rule.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
            [rule.rule.to_owned(), allows.to_owned(), rule.because.clone(), file]
        });
        let rows: Vec<[String; 4]> = rows.collect();
        let lines = std::iter::once(format!("{caller} {verdict} {callback}{open}")).chain(table::table(&rows));
        lines.map(|line| line + "\n").collect()
    }
}
