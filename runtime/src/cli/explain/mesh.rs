//! `explain` of a running mesh: what an anonymous client in the caller's tenant sees of it.
//!
//! Of another tenant the client sees what that exports to the caller's, as a runtime does that imports all of it: what is not
//! exported is not in what is looked at, so that it cannot be told from what nobody has. Of who shares a callback no more is told
//! than whoever calls it learns.
//!
//! What only the caller's runtime knows is said to be unknown, with where it can be had.

use std::time::Duration;

use daffi_proto::call::{CallbackInfo, ProcessInfo};
use daffi_proto::id::{ProcessRef, TenantName};
use daffi_proto::name::{CallbackName, Lookup, NameGlob, names_like, nearest};
use daffi_proto::share::Import;
use daffi_proto::signature::{Fingerprint, Signature};

use super::answer::{Answer, Question, Rule, process};
use crate::cli::args::{ConnectArgs, ExplainArgs};
use crate::cli::client::{self, Client, Joining, LEAVE_TIMEOUT, Sight, call_failure};
use crate::exit::Failure;

/// How long joining may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What is seen of the mesh.
struct Seen {
    /// The processes of the caller's tenant.
    home: Vec<ProcessInfo>,
    /// What another tenant shares with it, where that is called into.
    shared: Option<Vec<ProcessInfo>>,
}

/// A signature of a callback, and who has it so.
struct Kind<'a> {
    fingerprint: Fingerprint,
    signature: &'a Signature,
    who: Vec<&'a ProcessRef>,
}

/// Explains.
///
/// # Errors
/// Names that are none, flags that do not go together, no controller, or one that does not let the client into the tenant.
pub fn explain(args: &ExplainArgs) -> Result<Answer, Failure> {
    let (question, connect) = read(args)?;
    let import = |from: &TenantName| -> Result<Import, Failure> {
        let callbacks = NameGlob::parse("*").map_err(Failure::usage)?;
        Ok(Import { into: question.caller.tenant.clone(), from: from.clone(), callbacks })
    };
    let imports: Vec<Import> = question.foreign.iter().map(import).collect::<Result<_, _>>()?;
    let seen = client::block_on(async {
        let sight = Sight { imports: &imports, ..Sight::default() };
        let client = Client::join_seeing(&connect, Joining::AtOnce(JOIN_TIMEOUT), sight).await?;
        let seen = client.connected(look(&client, &question)).await;
        client.leave(LEAVE_TIMEOUT).await;
        seen
    })?;
    Ok(seen.answer(&question))
}

/// What is asked, and how to join for it: in the caller's tenant.
fn read(args: &ExplainArgs) -> Result<(Question, ConnectArgs), Failure> {
    let (named, name) = process(&args.caller)?;
    let tenant = match (named, &args.connect.tenant) {
        (Some(named), Some(flag)) if named != *flag => {
            let advice = format!("leave --tenant out to ask from {named}, or {named}:: to ask from {flag}");
            return Err(Failure::usage(format!("{} is not of --tenant {flag}: {advice}", args.caller)));
        }
        (named, flag) => named.or_else(|| flag.clone()).unwrap_or_default(),
    };
    let connect = ConnectArgs { tenant: Some(tenant.clone()), ..args.connect.clone() };
    Ok((Question::new(ProcessRef { tenant, name }, &args.callback)?, connect))
}

async fn look(client: &Client, question: &Question) -> Result<Seen, Failure> {
    let home = client.mesh().processes(client.tenant()).await.map_err(|error| call_failure(&error))?;
    let shared = match &question.foreign {
        Some(from) => {
            let shared = client.mesh().shared(from.clone(), client.tenant()).await;
            Some(shared.map_err(|error| call_failure(&error))?)
        }
        None => None,
    };
    client.still_up()?;
    Ok(Seen { home, shared })
}

impl Seen {
    fn answer(&self, question: &Question) -> Answer {
        let mut rules = vec![self.presence(question)];
        let name = match self.meant(question) {
            Ok(name) => {
                let kinds = self.kinds(question, name);
                rules.push(Rule::had_by(kinds.iter().flat_map(|kind| kind.who.iter().copied())));
                if let Some(from) = &question.foreign {
                    rules.extend(border(&question.caller.tenant, from, name));
                }
                rules.push(signature(&kinds));
                Some(name)
            }
            Err(why) => {
                rules.push(why);
                None
            }
        };
        let fetchers = "only the caller's runtime knows which name a typed import goes by: see `daffi-runtime check`";
        rules.push(Rule::unknown("fetchers", fetchers));
        let grant = "only the caller's runtime knows its `may-call` and `deny`: see `daffi-runtime explain --config`";
        rules.push(Rule::unknown("grant", grant));
        question.answer(name, rules)
    }

    /// Whether the caller is there.
    fn presence(&self, question: &Question) -> Rule {
        let caller = &question.caller;
        if let Some(found) = self.caller(question) {
            return Rule::yes("caller", format!("it is on the mesh, in the runtime {}", found.node));
        }
        let names = self.home.iter().map(|process| process.process.name.as_str());
        let mut near = names_like(caller.name.as_str(), names);
        if caller.tenant != TenantName::default() {
            near = near.iter().map(|name| format!("{}::{name}", caller.tenant)).collect();
        }
        let what_to_do = match near.as_slice() {
            [] => "; `daffi-runtime ps` lists who is; write TENANT::PROCESS for one of another tenant".to_owned(),
            near => nearest(near),
        };
        Rule::no("caller", format!("no process {caller} is on the mesh{what_to_do}"))
    }

    fn caller(&self, question: &Question) -> Option<&ProcessInfo> {
        self.home.iter().find(|process| process.process == question.caller)
    }

    /// Who may serve the call, and what of theirs.
    fn others<'a>(
        &'a self,
        question: &'a Question,
    ) -> impl Iterator<Item = (&'a ProcessRef, &'a CallbackInfo)> + Clone {
        let all = self.shared.as_ref().unwrap_or(&self.home);
        let others = all.iter().filter(move |other| question.is_other(&other.process));
        others.flat_map(|other| other.callbacks.iter().map(move |callback| (&other.process, callback)))
    }

    fn meant<'a>(&'a self, question: &'a Question) -> Result<&'a CallbackName, Rule> {
        let nobody = match &question.foreign {
            None => format!("no process of tenant {} has such a callback", question.tenant()),
            Some(from) => {
                let to = &question.caller.tenant;
                format!("{from} has no such callback, or does not export it to {to}: a stranger is not told which")
            }
        };
        let own = self.caller(question).into_iter().flat_map(|caller| &caller.callbacks);
        let others = self.others(question).map(|(_, callback)| &callback.name);
        let meant = question.meant(others.clone(), own.map(|callback| &callback.name), &nobody);
        // The caller's runtime may import less than all, and so one alone.
        let several = || matches!(question.pattern.pick(others.clone()), Err(Lookup::Ambiguous { .. }));
        match meant {
            Err(why) if question.foreign.is_some() && several() => {
                Err(why.unless("the caller's runtime imports one of them alone"))
            }
            meant => meant,
        }
    }

    /// The signatures of a callback, each with those whom a call by that name may go to: compatible versions serve too, where
    /// they are of the same type.
    fn kinds<'a>(&'a self, question: &'a Question, name: &CallbackName) -> Vec<Kind<'a>> {
        let mut kinds: Vec<Kind<'a>> = Vec::new();
        for (_, callback) in self.others(question).filter(|(_, callback)| callback.name == *name) {
            let fingerprint = callback.signature.fingerprint();
            if kinds.iter().all(|kind| kind.fingerprint != fingerprint) {
                kinds.push(Kind { fingerprint, signature: &callback.signature, who: Vec::new() });
            }
        }
        for (process, callback) in self.others(question).filter(|(_, callback)| name.matches(&callback.name)) {
            let fingerprint = callback.signature.fingerprint();
            let kind = kinds.iter_mut().find(|kind| kind.fingerprint == fingerprint);
            // One process may have several versions, which stand beside one another.
            if let Some(kind) = kind.filter(|kind| kind.who.last() != Some(&process)) {
                kind.who.push(process);
            }
        }
        kinds
    }
}

/// The two sides of what is shared.
fn border(into: &TenantName, from: &TenantName, name: &CallbackName) -> [Rule; 2] {
    let knows = "only the caller's runtime knows whether it imports";
    let import = format!("{knows} \"{from}::{name}\": see `daffi-runtime explain --config`");
    [Rule::unknown("import", import), Rule::yes("export", format!("{from} exports it to {into}"))]
}

fn signature(kinds: &[Kind<'_>]) -> Rule {
    let import = "what a typed import of the caller is, its component says: see `daffi-runtime inspect`";
    let because = match kinds {
        [kind] => format!("it is `{}`; {import}", kind.signature.to_wit_with_types()),
        kinds => {
            let at = |kind: &Kind<'_>| {
                let who: Vec<String> = kind.who.iter().map(ToString::to_string).collect();
                format!("`{}` at {}", kind.signature.to_wit_with_types(), who.join(", "))
            };
            let list: Vec<String> = kinds.iter().map(at).collect();
            let how = "by name the caller must name a receiver, and a typed import reaches those that it fits";
            format!("it is {}: {how}; {import}", list.join("; "))
        }
    };
    Rule::unknown("signature", because)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daffi_proto::call::Load;
    use daffi_proto::signature::{SignatureBuilder, Type};

    use super::*;

    fn process(name: &str, callbacks: &[(&str, Type)]) -> ProcessInfo {
        let (tenant, name) = super::process(name).unwrap();
        let info = |(name, ty): &(&str, Type)| {
            let signature = SignatureBuilder::new().function([("a", *ty)], None).unwrap();
            CallbackInfo { name: name.parse().unwrap(), signature: Arc::new(signature) }
        };
        ProcessInfo {
            process: ProcessRef { tenant: tenant.unwrap_or_default(), name },
            node: "host".to_owned(),
            instances: String::new(),
            load: Load::default(),
            callbacks: callbacks.iter().map(info).collect(),
            usage: None,
        }
    }

    fn args(caller: &str, callback: &str, tenant: Option<&str>) -> ExplainArgs {
        let tenant = tenant.map(|name| TenantName::new(name).unwrap());
        let connect = ConnectArgs { tenant, ..ConnectArgs::default() };
        ExplainArgs { caller: caller.into(), callback: callback.into(), config: Vec::new(), json: false, connect }
    }

    fn explained(seen: &Seen, caller: &str, callback: &str) -> (u8, String) {
        let (question, _) = read(&args(caller, callback, None)).unwrap();
        let answer = seen.answer(&question);
        (answer.exit_code(), answer.text(false).unwrap())
    }

    #[track_caller]
    fn says(text: &str, words: &[&str]) {
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    }

    #[test]
    fn compatible_versions_of_the_same_type_serve_and_the_caller_never_does() {
        let seen = Seen {
            home: vec![
                process("new", &[("a:b/c@1.3.0#f", Type::S64), ("a:b/c@1.2.0#f", Type::S64)]),
                process("old", &[("a:b/c@1.2.0#f", Type::S64)]),
                process("odd", &[("a:b/c@1.0.0#f", Type::String)]),
                process("next", &[("a:b/c@2.0.0#g", Type::S64)]),
                process("caller", &[("a:b/c@1.3.0#f", Type::S64), ("own", Type::U8)]),
            ],
            shared: None,
        };
        let (code, text) = explained(&seen, "caller", "f");
        assert_eq!(code, 0);
        says(
            &text,
            &[
                "caller may call a:b/c@1.3.0#f, as far as can be told here, where these are not seen: ",
                "yes  new, old have it\n",
            ],
        );
        says(&text, &["it is `func(a: s64)`", "fetchers   ?", "grant      ?"]);
        let (code, text) = explained(&seen, "caller", "own");
        assert_eq!(code, 3);
        says(&text, &["caller may not call own\n", "no   only the caller itself has it"]);
    }

    #[test]
    fn one_name_of_two_types_is_told_with_who_has_which() {
        let home = vec![process("a", &[("f", Type::S64)]), process("b", &[("f", Type::U8)]), process("c", &[])];
        let (code, text) = explained(&Seen { home, shared: None }, "c", "f");
        assert_eq!(code, 0);
        says(&text, &["`func(a: s64)` at a; `func(a: u8)` at b", "by name the caller must name a receiver"]);
    }

    #[test]
    fn a_caller_that_is_not_there_is_told_with_who_is_like_it() {
        let seen = Seen { home: vec![process("globex::shop", &[("f", Type::S64)])], shared: None };
        let (code, text) = explained(&seen, "globex::shoq", "f");
        assert_eq!(code, 3);
        says(&text, &["no process globex::shoq is on the mesh; did you mean `globex::shop`?", "globex::shop has it"]);
        says(&explained(&seen, "globex::nobody", "f").1, &["`daffi-runtime ps` lists who is"]);
    }

    #[test]
    fn of_another_tenant_is_seen_what_it_shares_alone() {
        let seen = Seen {
            home: vec![process("globex::caller", &[("g", Type::S64)])],
            shared: Some(vec![process("acme::shop", &[("a:b/c#total", Type::S64)])]),
        };
        let (code, text) = explained(&seen, "globex::caller", "acme::total");
        assert_eq!(code, 0);
        says(
            &text,
            &["may call acme::a:b/c#total", "acme::shop has it", "yes  acme exports it to globex", "import     ?"],
        );
        let refused = |name: &str| {
            let (code, text) = explained(&seen, "globex::caller", name);
            assert_eq!(code, 3);
            text.replace(name, "NAME")
        };
        // Of the caller's own tenant, of its own callbacks: not of acme.
        assert_eq!(refused("acme::g"), refused("acme::h"));
        says(&refused("acme::c#totall"), &["did you mean `acme::a:b/c#total`?"]);
    }

    #[test]
    fn a_name_that_fits_several_is_refused_but_of_another_tenant_where_one_may_be_imported_alone() {
        let names = [("a:b/c#f", Type::S64), ("a:b/d#f", Type::S64)];
        let seen = Seen { home: vec![process("globex::a", &names), process("globex::b", &[])], shared: None };
        let (code, text) = explained(&seen, "globex::b", "f");
        assert_eq!(code, 3);
        says(&text, &["callback  no   the name fits several callbacks: a:b/c#f, a:b/d#f; write one of them in full"]);
        let seen = Seen { shared: Some(vec![process("acme::a", &names)]), ..seen };
        let (code, text) = explained(&seen, "globex::b", "acme::f");
        assert_eq!(code, 0);
        says(&text, &["callback  ?    the name fits several", "unless the caller's runtime imports one of them alone"]);
    }

    #[test]
    fn the_tenant_is_the_callers_and_two_of_them_are_a_mistake() {
        let tenant =
            |caller, flag| read(&args(caller, "f", flag)).map(|(_, connect)| connect.tenant.unwrap().to_string());
        assert_eq!(tenant("a", None).unwrap(), "default");
        assert_eq!(tenant("a", Some("acme")).unwrap(), "acme");
        assert_eq!(tenant("acme::a", None).unwrap(), "acme");
        assert_eq!(tenant("acme::a", Some("acme")).unwrap(), "acme");
        let error = tenant("acme::a", Some("default")).unwrap_err();
        says(&error.message, &["acme::a is not of --tenant default", "leave --tenant out"]);
    }
}
