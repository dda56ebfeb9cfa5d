//! Typed imports: what a guest calls as an ordinary function is an FG call to a callback of another process, or, where it
//! returns a list of processes and their checked results, a BROADCAST.
//!
//! The signature was compared at load and is compared again by the mesh, by fingerprint; an import waits for its
//! callback until the deadline. Failures: an import whose result is `result<T, call-error>` gets them as a value, any
//! other traps the guest that called it; so where others rely on the instance, a call of the latter kind is finished also
//! when the one that it is made for is given up. Arguments come from the guest itself and are values of their types; results
//! come from other machines and are checked before they are lowered.
//! Ordering: calls of one instance of a synchronous component are sent in the order in which it makes them.
//! An import with streams or futures in its type is [`streaming`]'s.

mod streaming;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{CallReply, CallRequest, GatherEntry, GatherRequest, Need, WhenAbandoned};
use daffi_proto::error::{CallError, Outcome, code};
use daffi_proto::id::TenantName;
use daffi_proto::name::CallbackName;
use daffi_proto::signature::{Fingerprint, Form, Signature};
use daffi_proto::value::{self, Channel, Limits as ValueLimits, checked_err, checked_ok, gathered};
use wasmtime::AsContextMut;
use wasmtime::component::Linker;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::component::Loaded;
use super::component::description::{Fetcher, Place};
use super::fault::FetchFailed;
use super::grants::Act;
use super::instance::unfit;
use super::outgoing::OpenCall;
use super::state::{CallOrigin, GuestState, ModuleContext};
use super::threads::leave_network_with;
use super::transcode::{define_import, define_import_concurrent};

/// An import, as all its calls need it.
struct Import {
    /// The callback's name for errors and for the calls that are open: of its candidates the one that is preferred.
    name: String,
    tenant: Option<TenantName>,
    candidates: Arc<[CallbackName]>,
    signature: Arc<Signature>,
    /// The signatures that it takes.
    accepts: Arc<[Fingerprint]>,
    /// What each of them makes of a reply.
    forms: Vec<(Form, Fingerprint)>,
    /// Why the module may not call it, where it may not.
    denied: Option<CallError>,
}

/// Defines a typed import.
pub(super) fn add_to_linker(
    linker: &mut Linker<GuestState>,
    loaded: &Loaded,
    fetcher: &Fetcher,
    module: &ModuleContext,
) -> wasmtime::Result<()> {
    let ty = import_type(loaded, &fetcher.place)
        .ok_or_else(|| wasmtime::Error::msg("the compiled component has no such import"))?;
    let forms = fetcher.signature.forms();
    let name = fetcher.candidates.first().map(ToString::to_string).unwrap_or_default();
    let (candidates, denied) = granted(fetcher, &forms, module, &name);
    let import = Arc::new(Import {
        name,
        tenant: fetcher.tenant.clone(),
        candidates,
        signature: fetcher.signature.clone(),
        // A broadcast does not take the import's own form too: it would go to some of the processes only.
        accepts: match forms.iter().find(|(form, _)| *form == Form::All) {
            Some((_, fingerprint)) => Arc::from([*fingerprint]),
            None => forms.iter().map(|(_, fingerprint)| *fingerprint).collect(),
        },
        forms,
        denied,
    });
    let mut root = linker.root();
    let mut instance = match &fetcher.place.interface {
        Some(interface) => root.instance(interface)?,
        None => root,
    };
    if fetcher.signature.has_streams() {
        streaming::define(&mut instance, &fetcher.place.item, &ty, import)?;
    } else if ty.async_() {
        define_import_concurrent(&mut instance, &fetcher.place.item, &ty, move |accessor, args| {
            let import = import.clone();
            Box::pin(async move {
                let origin = accessor.with(|mut access| CallOrigin::of(access.as_context_mut()));
                let turn = origin.turn.clone();
                turn.answer(import.call(origin, args)).await
            })
        })?;
    } else {
        define_import(&mut instance, &fetcher.place.item, &ty, move |store, args| {
            let import = import.clone();
            let origin = CallOrigin::of(store);
            Box::pin(async move { import.call(origin, args).await })
        })?;
    }
    Ok(())
}

/// The callbacks that an import may call, and why none where there are none.
fn granted(
    fetcher: &Fetcher,
    forms: &[(Form, Fingerprint)],
    module: &ModuleContext,
    name: &str,
) -> (Arc<[CallbackName]>, Option<CallError>) {
    let (grants, caller) = (&module.grants, &module.process);
    let mut refused = None;
    let mut may_call = |callback: &&CallbackName| match grants.call(caller, fetcher.tenant.as_ref(), callback) {
        Ok(()) => true,
        Err(error) => {
            refused.get_or_insert(error);
            false
        }
    };
    let candidates: Arc<[CallbackName]> =
        fetcher.candidates.iter().filter(|callback| may_call(callback)).cloned().collect();
    let to_all = forms.iter().any(|(form, _)| *form == Form::All);
    let denied = to_all.then(|| grants.act(caller, Act::Broadcast, name).err()).flatten();
    let denied = denied.or(refused.filter(|_| candidates.is_empty()));
    (candidates, denied)
}

fn import_type(loaded: &Loaded, place: &Place) -> Option<ComponentFunc> {
    let ty = loaded.component.component_type();
    let function = |item| match item {
        ComponentItem::ComponentFunc(function) => Some(function),
        _ => None,
    };
    match &place.interface {
        None => function(ty.get_import(&loaded.engine, &place.item)?.ty),
        Some(interface) => match ty.get_import(&loaded.engine, interface)?.ty {
            ComponentItem::ComponentInstance(instance) => {
                function(instance.get_export(&loaded.engine, &place.item)?.ty)
            }
            _ => None,
        },
    }
}

impl Import {
    /// Makes the call; an error traps the guest.
    async fn call(&self, origin: CallOrigin, args: Bytes) -> wasmtime::Result<Bytes> {
        match self.ask(origin, args).await {
            Ok(result) => Ok(result),
            Err(error) if self.has_form(Form::Checked) => Ok(checked_err(&error).into()),
            Err(error) => Err(wasmtime::Error::new(FetchFailed { name: self.name.clone(), error })),
        }
    }

    async fn ask(&self, origin: CallOrigin, args: Bytes) -> Result<Bytes, CallError> {
        let (request, _open) = self.request(&origin, args)?;
        let _awaited = origin.awaits();
        if self.has_form(Form::All) {
            // In a box: what a broadcast takes would else be moved about with each call of one process.
            return Box::pin(self.ask_all(&origin, *request)).await;
        }
        let reply = origin.module.mesh.call(request).await?;
        leave_network_with(reply.result.len()).await;
        let (result, _) = self.result(reply, origin.module.limits.payload_bytes)?;
        Ok(result)
    }

    /// The call that is to be made, and its place among those that the module has open.
    ///
    /// # Errors
    /// `not-run`: `permission-denied`, `payload-too-large`, `overloaded`, `deadline-exceeded`
    fn request(&self, origin: &CallOrigin, args: Bytes) -> Result<(Box<CallRequest>, OpenCall), CallError> {
        if let Some(denied) = &self.denied {
            return Err(denied.clone());
        }
        let allowed = origin.module.limits.payload_bytes;
        if args.len() > allowed {
            let message = format!(
                "the arguments of {} have {} bytes, {allowed} are allowed: send less, or raise the runtime's max-payload",
                self.name,
                args.len()
            );
            return Err(CallError::not_run(code::PAYLOAD_TOO_LARGE, message, self.name.as_str()));
        }
        let open = origin.open(&self.name, args.len())?;
        let request = Box::new(CallRequest {
            tenant: self.tenant.clone(),
            accepts: self.accepts.clone(),
            signature: Some(self.signature.clone()),
            args,
            timeout: origin.timeout(None),
            wait_ready: true,
            when_abandoned: if self.has_form(Form::Checked) {
                WhenAbandoned::Cancel
            } else {
                origin.module.plain_calls
            },
            ..CallRequest::new(origin.caller(&self.name)?, self.candidates.clone())
        });
        if request.timeout == Duration::ZERO {
            return Err(origin.no_time(&self.name));
        }
        Ok((request, open))
    }

    /// The result as the guest has it, and the streams in it.
    ///
    /// # Errors
    /// `failed` when it is no value of its type, or too large: it comes from another machine.
    fn result(&self, reply: CallReply, allowed: usize) -> Result<(Bytes, Vec<Channel>), CallError> {
        let CallReply { result, fingerprint, process, .. } = reply;
        let checked = self.forms.iter().any(|(form, fp)| *form == Form::Checked && *fp == fingerprint);
        let result = if checked { checked_ok(&result).into() } else { result };
        let limits = ValueLimits::for_payload(allowed.saturating_add(1));
        match value::channels_of_result(&self.signature, &result, &limits) {
            Ok(channels) => Ok((result, channels)),
            Err(error) => {
                let message = format!("{} gave a result that does not fit its type: {error}", self.name);
                Err(CallError::failed(unfit(&error), message, self.name.as_str()).at(process.as_str()))
            }
        }
    }

    /// Calls all who have the callback, the first of whom is waited for; nobody until the deadline is an empty list.
    async fn ask_all(&self, origin: &CallOrigin, call: CallRequest) -> Result<Bytes, CallError> {
        let mut gather = origin.module.mesh.gather(GatherRequest { call, need: Need::All, stall: None }).await?;
        let limits = ValueLimits::for_payload(origin.module.limits.payload_bytes.saturating_add(1));
        let mut entries = Vec::new();
        while let Some(entry) = gather.next().await {
            match entry {
                Ok(entry) => {
                    leave_network_with(entry.result.as_ref().map_or(0, |reply| reply.result.len())).await;
                    entries.push(self.entry(entry, &limits));
                }
                Err(error) if is_nobody(&error) => break,
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(gathered(&entries).into())
    }

    /// An entry's process, and its result as the guest has it.
    fn entry(&self, entry: GatherEntry, limits: &ValueLimits) -> (String, Vec<u8>) {
        let process = entry.process.to_string();
        let checked = match entry.result {
            Ok(reply) => checked_ok(&reply.result),
            Err(error) => checked_err(&error),
        };
        // A list of this entry alone: one bad result must not cost the others.
        let alone = gathered(&[(process.clone(), checked.clone())]);
        let checked = match value::check_result(&self.signature, &alone, limits) {
            Ok(()) => checked,
            Err(error) => {
                let message = format!("{} gave a result that does not fit its type: {error}", self.name);
                checked_err(&CallError::failed(code::INTERNAL, message, self.name.as_str()).at(process.as_str()))
            }
        };
        (process, checked)
    }

    /// Whether its type has a place for failures, or for those of many.
    fn has_form(&self, form: Form) -> bool {
        self.forms.iter().any(|(has, _)| *has == form)
    }
}

/// Whether nobody had the callback all the time.
fn is_nobody(error: &CallError) -> bool {
    error.outcome == Outcome::NotRun && [code::NO_SUCH_CALLBACK, code::DEADLINE_EXCEEDED].contains(&error.code.as_str())
}
