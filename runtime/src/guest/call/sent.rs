//! Calls whose results nobody waits for.
//!
//! ```text
//!   send ──► looked up ──┬── at once ────────────────► handed over: the guest goes on
//!            │           ├── `eta` ── in the background ──► handed over; the guest went on before
//!            │           └── `acknowledge` ──────────► the process has it: the guest goes on
//!            └── `wait-ready` without `acknowledge`: all of it in the background
//! ```
//!
//! Invariants: a call has its place among those that its module has open until it was handed over, or acknowledged; what
//! waits in the background ends with the module, and its failure goes to the log, since nobody else hears of it.

use daffi_proto::call::{CallRequest, GatherRequest, Need};
use daffi_proto::error::{CallError, code};

use super::super::grants::Act;
use super::super::outgoing::OpenCall;
use super::super::state::CallOrigin;
use super::dynamic::{Prepared, Wish};
use super::options::How;
use super::{call, types};
use crate::mesh::handle::{Gather, MeshHandle};

/// Sends a call to one process.
///
/// # Errors
/// As of a call; of one that goes on in the background what shows before that.
pub(super) async fn send(
    origin: CallOrigin,
    callback: String,
    arguments: types::Value,
    options: Option<call::SendOptions>,
) -> Result<(), CallError> {
    let how = How::send(options, &callback)?;
    let wish = Wish::new(&origin, callback, arguments, how)?;
    let acknowledged = wish.is_acknowledged();
    if !acknowledged && wish.waits() {
        in_background(origin.clone(), async move {
            let Prepared { request, place, .. } = wish.look_up(&origin).await?;
            hand_over(&origin.module.mesh, request, place).await
        });
        return Ok(());
    }
    let Prepared { request, place, .. } = wish.look_up(&origin).await?;
    if acknowledged || request.eta.is_zero() {
        return hand_over(&origin.module.mesh, request, place).await;
    }
    in_background(origin.clone(), async move { hand_over(&origin.module.mesh, request, place).await });
    Ok(())
}

/// Sends a call to every process that has the callback; who has it where that is acknowledged.
///
/// # Errors
/// As of a broadcast; of one that goes on in the background what shows before that.
pub(super) async fn send_all(
    origin: CallOrigin,
    callback: String,
    arguments: types::Value,
    options: Option<call::SendOptions>,
) -> Result<Vec<call::Delivery>, CallError> {
    origin.may(Act::Broadcast, &callback)?;
    let how = How::send(options, &callback)?;
    if let Some(receiver) = &how.receiver {
        let message = format!("`send-all` goes to all who have the callback: `send` goes to {receiver} alone");
        return Err(CallError::not_run(code::BAD_ARGUMENTS, message, callback));
    }
    let wish = Wish::new(&origin, callback, arguments, how)?;
    let acknowledged = wish.is_acknowledged();
    if !acknowledged && wish.waits() {
        in_background(origin.clone(), async move {
            let Prepared { request, place, .. } = wish.look_up(&origin).await?;
            all(gather(&origin, request).await?, place).await.map(drop)
        });
        return Ok(Vec::new());
    }
    let Prepared { request, place, .. } = wish.look_up(&origin).await?;
    let later = !request.eta.is_zero();
    let gather = gather(&origin, request).await?;
    if acknowledged {
        return all(gather, place).await;
    }
    if later {
        in_background(origin, async move { all(gather, place).await.map(drop) });
        return Ok(Vec::new());
    }
    all(gather, place).await.map(|_| Vec::new())
}

async fn hand_over(mesh: &MeshHandle, request: CallRequest, place: Option<OpenCall>) -> Result<(), CallError> {
    let _place = place;
    mesh.call(request).await.map(drop)
}

async fn gather(origin: &CallOrigin, call: CallRequest) -> Result<Gather, CallError> {
    origin.module.mesh.gather(GatherRequest { call, need: Need::All, stall: None }).await
}

async fn all(mut gather: Gather, place: Option<OpenCall>) -> Result<Vec<call::Delivery>, CallError> {
    let _place = place;
    let mut deliveries = Vec::new();
    while let Some(entry) = gather.next().await {
        let entry = entry?;
        let accepted = entry.result.map(drop).map_err(types::CallError::from);
        deliveries.push(call::Delivery { process: entry.process.to_string(), accepted });
    }
    deliveries.sort_by(|a, b| a.process.cmp(&b.process));
    Ok(deliveries)
}

fn in_background(origin: CallOrigin, work: impl Future<Output = Result<(), CallError>> + Send + 'static) {
    let module = origin.module.clone();
    let (shutdown, process) = (module.background.shutdown.clone(), module.process.name.clone());
    module.background.spawn(async move {
        let failure = tokio::select! {
            biased;
            outcome = work => outcome.err().map(|error| error.to_string()),
            () = shutdown.cancelled() => Some("its module ended before".to_owned()),
        };
        if let Some(failure) = failure {
            tracing::warn!(%process, "a call that nobody waits for was not sent: {failure}");
        }
    });
}
