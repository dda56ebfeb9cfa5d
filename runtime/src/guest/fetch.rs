//! Typed imports: what a guest calls as an ordinary function is an FG call to a callback of another process.
//!
//! The signature was compared at load and is compared again by the mesh, by fingerprint; an import waits for its
//! callback until the deadline. Failures: an import whose result is `result<T, call-error>` gets them as a value, any
//! other traps the guest that called it; so where others rely on the instance, a call of the latter kind is finished also
//! when the one that it is made for is given up. Arguments come from the guest itself and are values of their types; results
//! come from other machines and are checked before they are lowered.
//! Ordering: calls of one instance of a synchronous component are sent in the order in which it makes them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::{CallRequest, WhenAbandoned};
use daffi_proto::error::{CallError, code};
use daffi_proto::name::CallbackName;
use daffi_proto::signature::{Fingerprint, Form, Signature};
use daffi_proto::value::{self, Limits as ValueLimits, checked_err, checked_ok};
use wasmtime::AsContextMut;
use wasmtime::component::Linker;
use wasmtime::component::types::{ComponentFunc, ComponentItem};

use super::component::Loaded;
use super::component::description::{Fetcher, Place};
use super::fault::FetchFailed;
use super::instance::unfit;
use super::state::{CallOrigin, GuestState};
use super::transcode::{define_import, define_import_concurrent};

/// An import, as all its calls need it.
struct Import {
    candidates: Arc<[CallbackName]>,
    signature: Arc<Signature>,
    /// The signatures that it takes.
    accepts: Arc<[Fingerprint]>,
    /// What each of them makes of a reply.
    forms: Vec<(Form, Fingerprint)>,
}

/// Defines a typed import.
pub(super) fn add_to_linker(
    linker: &mut Linker<GuestState>,
    loaded: &Loaded,
    fetcher: &Fetcher,
) -> wasmtime::Result<()> {
    let ty = import_type(loaded, &fetcher.place)
        .ok_or_else(|| wasmtime::Error::msg("the compiled component has no such import"))?;
    let forms = fetcher.signature.forms();
    let import = Arc::new(Import {
        candidates: fetcher.candidates.clone(),
        signature: fetcher.signature.clone(),
        accepts: forms.iter().map(|(_, fingerprint)| *fingerprint).collect(),
        forms,
    });
    let mut root = linker.root();
    let mut instance = match &fetcher.place.interface {
        Some(interface) => root.instance(interface)?,
        None => root,
    };
    if ty.async_() {
        define_import_concurrent(&mut instance, &fetcher.place.item, &ty, move |accessor, args| {
            let import = import.clone();
            Box::pin(async move {
                let origin = accessor.with(|mut access| CallOrigin::of(access.as_context_mut()));
                import.call(origin, args).await
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
            Err(error) if self.is_checked() => Ok(checked_err(&error).into()),
            Err(error) => Err(wasmtime::Error::new(FetchFailed { name: self.name(), error })),
        }
    }

    async fn ask(&self, origin: CallOrigin, args: Bytes) -> Result<Bytes, CallError> {
        let allowed = origin.module.limits.payload_bytes;
        if args.len() > allowed {
            let message = format!(
                "the arguments of {} have {} bytes, {allowed} are allowed: send less, or raise the payload limit",
                self.name(),
                args.len()
            );
            return Err(CallError::not_run(code::PAYLOAD_TOO_LARGE, message, self.name()));
        }
        let _open = origin.open(&self.name(), args.len())?;
        let request = CallRequest {
            caller: origin.caller(&self.name())?,
            callbacks: self.candidates.clone(),
            accepts: self.accepts.clone(),
            signature: Some(self.signature.clone()),
            receiver: None,
            args,
            timeout: origin.timeout(None),
            wait_ready: true,
            when_abandoned: if self.is_checked() { WhenAbandoned::Cancel } else { origin.module.plain_calls },
        };
        if request.timeout == Duration::ZERO {
            return Err(origin.no_time(&self.name()));
        }
        let reply = origin.module.mesh.call(request).await?;
        let checked = self.forms.iter().any(|(form, fp)| *form == Form::Checked && *fp == reply.fingerprint);
        let result = if checked { checked_ok(&reply.result).into() } else { reply.result };
        let limits = ValueLimits::for_payload(allowed.saturating_add(1));
        match value::check_result(&self.signature, &result, &limits) {
            Ok(()) => Ok(result),
            Err(error) => {
                let message = format!("{} gave a result that does not fit its type: {error}", self.name());
                Err(CallError::failed(unfit(&error), message, self.name()).at(reply.process.as_str()))
            }
        }
    }

    /// Whether its type has a place for a failure.
    fn is_checked(&self) -> bool {
        self.forms.iter().any(|(form, _)| *form == Form::Checked)
    }

    /// The callback's name, the one that is preferred.
    fn name(&self) -> String {
        self.candidates.first().map(ToString::to_string).unwrap_or_default()
    }
}
