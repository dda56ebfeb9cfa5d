//! What a reply holds, and until when.

use std::task::Wake;

use daffi_proto::call::WhenAbandoned;
use daffi_proto::id::{ProcessRef, TenantName};
use daffi_proto::stream::Flows;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::guest::limits::InstancePolicy;
use crate::guest::module::ModuleSpec;
use crate::guest::output::Output;
use crate::guest::state::Background;
use crate::guest::threads::Threads;
use crate::mesh::handle::{LinkState, MeshHandle};

/// A module without guests.
fn module() -> Arc<ModuleContext> {
    let own = ProcessRef { tenant: TenantName::default(), name: ProcessName::new("own").unwrap() };
    let spec = ModuleSpec::plain(own, InstancePolicy::Singleton);
    let (_, link) = tokio::sync::watch::channel(LinkState::Up);
    let (mesh, _) = MeshHandle::new(Instant::now(), link);
    let threads = Threads::new(Handle::current(), Handle::current(), TaskTracker::new());
    let background = Background { threads, shutdown: CancellationToken::new() };
    Arc::new(ModuleContext::new(spec, (mesh, background), Output::none(), WhenAbandoned::Cancel))
}

/// A guest that drops its reply as soon as it is told that it is there, and then counts its open calls.
struct Hasty {
    module: Arc<ModuleContext>,
    reply: Mutex<Option<Reply>>,
    counted: mpsc::UnboundedSender<usize>,
}

impl Wake for Hasty {
    fn wake(self: Arc<Self>) {
        drop(lock(&self.reply).take());
        let _ = self.counted.send(self.module.outgoing.count());
    }
}

#[tokio::test]
async fn a_guest_that_drops_its_reply_at_once_finds_the_place_of_the_call_free() {
    let signature = Arc::new(Signature { defs: Vec::new(), params: Vec::new(), result: None, is_async: false });
    let reply = CallReply {
        result: bytes::Bytes::new(),
        fingerprint: signature.fingerprint(),
        process: ProcessName::new("peer").unwrap(),
        channels: Flows::default(),
    };
    let replied = Ok(StreamingReply { reply, readers: Vec::new() });
    for answer in [replied, Err(CallError::failed(code::TRAP, "it trapped", "f"))] {
        let module = module();
        let place = module.outgoing.open(&module.process, "f", 0).unwrap();
        let known = Known {
            signature: signature.clone(),
            mode: Mode::Whole,
            encoding: Encoding::Json,
            limits: ValueLimits::default(),
            callback: "f".to_owned(),
            call: Arc::new(Mutex::new(place)),
        };
        let (tell, told) = oneshot::channel();
        let reply = Reply::of(async { told.await.unwrap() }, known, &module);
        let (shared, (counted, mut counts)) = (reply.0.clone(), mpsc::unbounded_channel());
        let hasty = Arc::new(Hasty { module, reply: Mutex::new(Some(reply)), counted });
        assert!(shared.poll(&mut Context::from_waker(&Waker::from(hasty.clone()))).is_pending());
        assert_eq!(hasty.module.outgoing.count(), 1);
        assert!(tell.send(answer).is_ok());
        assert_eq!(counts.recv().await, Some(0));
    }
}
