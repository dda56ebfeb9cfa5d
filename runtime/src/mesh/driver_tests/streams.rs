//! Streams through drivers and a hub.

use daffi_proto::call::Mode;
use daffi_proto::stream::{Chunk, Ending, Flow, WINDOW_OF_BYTES};
use futures::FutureExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use daffi_proto::frame::Header;
use daffi_proto::session::PeerIdentity;

use super::*;
use crate::mesh::handle::{StreamReader, StreamingCall, StreamingReply};
use crate::mesh::hub::NewLink;
use crate::mesh::link::{FrameSink, Mute, NotTaken};
use crate::mesh::pipe;

/// A call with its streams, as it comes to a process.
type Streamed = (Incoming, Vec<StreamReader>);

/// Hands its calls to the test.
struct Taker(mpsc::UnboundedSender<Streamed>);

impl Serve for Taker {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        self.serve_streams(incoming, Vec::new())
    }
    fn serve_streams(&self, incoming: Incoming, readers: Vec<StreamReader>) -> Option<ServeResult> {
        self.0.send((incoming, readers)).unwrap();
        None
    }
    fn cancel(&self, _: ServeId) {}
}

fn taker() -> (Arc<Taker>, mpsc::UnboundedReceiver<Streamed>) {
    let (sender, calls) = mpsc::unbounded_channel();
    (Arc::new(Taker(sender)), calls)
}

fn streaming(receiver: &str, flows: &[Flow]) -> CallRequest {
    CallRequest { channels: flows.into(), ..request(Some(receiver), b"\x01x") }
}

/// So many bytes, one after another.
fn bytes(first: usize, count: usize) -> Chunk {
    let bytes: Vec<u8> = (first..first + count).map(|number| number as u8).collect();
    Chunk { count: count as u32, bytes: bytes.into() }
}

const CHUNK: usize = 60_000;

async fn write_all(writer: &mut crate::mesh::handle::StreamWriter, chunks: usize) -> Ending {
    for at in 0..chunks {
        writer.write(bytes(at * CHUNK, CHUNK)).await.unwrap();
    }
    writer.finish();
    writer.ended().await
}

async fn read_all(reader: &mut StreamReader) -> usize {
    let mut read = 0;
    while let Some(chunk) = reader.next().await.unwrap() {
        assert!(chunk.bytes.iter().zip(read..).all(|(byte, at)| *byte == at as u8));
        read += chunk.bytes.len();
    }
    read
}

#[tokio::test]
async fn megabytes_go_both_ways_at_once_between_nodes_and_within_one() {
    for receiver in ["b", "a"] {
        let mut mesh = Mesh::new();
        let (there, mut calls) = taker();
        let (here, mut own_calls) = taker();
        let a = mesh.node("a", here).await;
        let b = mesh.node("b", there).await;
        let mut call = a.mesh.start_streaming(streaming(receiver, &[Flow::Bytes])).await.unwrap();
        let (incoming, mut readers) = tokio::select! {
            call = calls.recv() => call.unwrap(),
            call = own_calls.recv() => call.unwrap(),
        };
        let callee = if receiver == "b" { &b.mesh } else { &a.mesh };
        let mut down = callee.reply(incoming.id, Bytes::from_static(b"\x02ok"), [Flow::Bytes].into()).await;
        let mut up = std::mem::take(&mut call.writers);
        let StreamingReply { reply, readers: mut result } = call.await.unwrap();
        assert_eq!(reply.result.as_ref(), b"\x02ok");
        let all = tokio::join!(
            write_all(&mut up[0], 50),
            read_all(&mut readers[0]),
            write_all(&mut down[0], 50),
            read_all(&mut result[0]),
        );
        assert_eq!(all, (Ending::Finished, 50 * CHUNK, Ending::Finished, 50 * CHUNK));
        callee.served(incoming.id, Ok(Bytes::new())).await;
        callee.drain().await;
        mesh.end().await;
    }
}

#[tokio::test]
async fn a_writer_waits_for_its_reader() {
    let mut mesh = Mesh::new();
    let (service, mut calls) = taker();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", service).await;
    let mut call = a.mesh.start_streaming(streaming("b", &[Flow::Bytes])).await.unwrap();
    let (_incoming, mut readers) = calls.recv().await.unwrap();
    let mut written = 0;
    // Until it waits, also after all that is on its way has had its time: every call is behind it.
    while written < 100 {
        let mut write = std::pin::pin!(call.writers[0].write(bytes(written * CHUNK, CHUNK)));
        let mut done = futures::poll!(&mut write).is_ready();
        for _ in 0..3 {
            if !done {
                a.call("a", b"\x01x").await.unwrap();
                a.mesh.processes(TenantName::default()).await.unwrap();
                done = futures::poll!(&mut write).is_ready();
            }
        }
        if !done {
            break;
        }
        written += 1;
    }
    // Those of the window, and one each in both ports and in the writer's node.
    let window = WINDOW_OF_BYTES as usize / CHUNK;
    assert!((window..=window + 3).contains(&written), "{written} chunks were taken, the window has {window}");
    let finishing = async {
        for at in written..30 {
            call.writers[0].write(bytes(at * CHUNK, CHUNK)).await.unwrap();
        }
        call.writers[0].finish();
    };
    let ((), read) = tokio::join!(finishing, read_all(&mut readers[0]));
    assert_eq!(read, 30 * CHUNK);
    mesh.end().await;
}

/// Whether a link of a test has room for streams, and who waits for it.
#[derive(Default)]
struct Gate {
    /// Chunks that were sent, and stand in the way of the next.
    waiting: AtomicUsize,
    /// Those that were sent off.
    sent_off: AtomicUsize,
    /// Whether what is sent off leaves no room.
    is_narrow: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    /// There is room again.
    fn open(&self) {
        self.is_narrow.store(false, Ordering::Relaxed);
        self.flush();
        self.waker.lock().unwrap().take().expect("somebody waits").wake();
    }

    fn flush(&self) {
        if !self.is_narrow.load(Ordering::Relaxed) {
            self.sent_off.fetch_add(self.waiting.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Who is woken when there is room.
    fn waiting(&self) -> Option<Waker> {
        self.waker.lock().unwrap().clone()
    }
}

struct GatedSink(Box<dyn FrameSink>, Arc<Gate>);

impl FrameSink for GatedSink {
    fn send(&self, frame: Frame) -> Result<(), NotTaken> {
        if let Header::Items { .. } = frame.header {
            self.1.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.0.send(frame)
    }
    fn flush(&self) -> Result<(), Mute> {
        self.1.flush();
        self.0.flush()
    }
    fn has_room(&self) -> bool {
        self.1.waiting.load(Ordering::Relaxed) == 0
    }
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        *self.1.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
    fn close(self: Box<Self>) -> futures::future::BoxFuture<'static, ()> {
        self.0.close()
    }
}

/// A node whose link to the hub has such a gate.
async fn gated(mesh: &mut Mesh, name: &str) -> (TestNode, Arc<Gate>) {
    let (node, mut dialing) = mesh.unlinked(name, Arc::new(Echo)).await;
    assert_eq!(dialing.order().await, Some(uplink::Order::Dial));
    let (near, far) = pipe::pair(LinkLimits::default());
    mesh.hub.add(NewLink { link: far, identity: PeerIdentity::InProcess, place: None }).await;
    let gate = Arc::new(Gate::default());
    let sink = Box::new(GatedSink(near.sink, gate.clone()));
    dialing.connected(Link { sink, source: near.source }).await;
    (node.linked().await, gate)
}

/// A stream of bytes over such a link, from the first of two nodes to the other.
async fn gated_stream(mesh: &mut Mesh) -> ([TestNode; 2], Arc<Gate>, StreamingCall, Vec<StreamReader>) {
    let (service, mut calls) = taker();
    let b = mesh.node("b", service).await;
    let (a, gate) = gated(mesh, "a").await;
    let call = a.mesh.start_streaming(streaming("b", &[Flow::Bytes])).await.unwrap();
    let (_, readers) = calls.recv().await.unwrap();
    ([a, b], gate, call, readers)
}

#[tokio::test]
async fn a_chunk_is_sent_off_by_who_writes_it_and_left_to_the_drivers_task_where_that_is_busy() {
    let mut mesh = Mesh::new();
    let ([a, _b], gate, mut call, mut readers) = gated_stream(&mut mesh).await;
    let writer = &mut call.writers[0];
    let mut by_writer = 0;
    for at in 0..20 {
        // The last flush is a while ago.
        std::thread::sleep(Duration::from_millis(1));
        let before = gate.sent_off.load(Ordering::Relaxed);
        let desk = a.mesh.shared_desk();
        let busy = (at % 2 == 1).then(|| desk.lock());
        writer.put(bytes(at * CHUNK, CHUNK)).unwrap();
        let sent_off = gate.sent_off.load(Ordering::Relaxed) - before;
        match busy {
            // Not where the test was put aside for a turn meanwhile, nor before the window was granted.
            None => by_writer += sent_off,
            Some(_) => assert_eq!((sent_off, writer.ready().now_or_never()), (0, None), "chunk {at}"),
        }
        drop(busy);
        assert_eq!(readers[0].next().await.unwrap().unwrap(), bytes(at * CHUNK, CHUNK));
        writer.ready().await.unwrap();
    }
    assert!((1..=10).contains(&by_writer), "{by_writer} chunks were sent off by who wrote them");
    assert_eq!(gate.sent_off.load(Ordering::Relaxed), 20);
    mesh.end().await;
}

#[tokio::test]
async fn who_sends_something_off_leaves_the_drivers_task_waiting_for_room_on_a_full_link() {
    let mut mesh = Mesh::new();
    let ([a, _b], gate, mut call, mut readers) = gated_stream(&mut mesh).await;
    gate.is_narrow.store(true, Ordering::Relaxed);
    for at in 0..2 {
        call.writers[0].write(bytes(at * CHUNK, CHUNK)).await.unwrap();
    }
    // The task has nothing to do but to wait.
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let task = gate.waiting().unwrap();
    // As who carries a stream over another link does.
    let desk = a.mesh.shared_desk();
    let mut guard = desk.lock();
    let core = guard.as_deref_mut().and_then(Option::as_mut).unwrap();
    core.begin_turn();
    core.send_off();
    drop(guard);
    assert!(gate.waiting().is_some_and(|waiting| waiting.will_wake(&task)), "nobody would tell the task");
    gate.open();
    for at in 0..2 {
        assert_eq!(readers[0].next().await.unwrap().unwrap(), bytes(at * CHUNK, CHUNK));
    }
    mesh.end().await;
}

#[tokio::test]
async fn dropping_an_end_tells_the_other_one() {
    let mut mesh = Mesh::new();
    let (service, mut calls) = taker();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", service).await;
    let mut call = a.mesh.start_streaming(streaming("b", &[Flow::Items, Flow::Items])).await.unwrap();
    let (incoming, mut readers) = calls.recv().await.unwrap();
    let mut writers = std::mem::take(&mut call.writers);
    drop(readers.remove(1));
    assert_eq!(writers[1].ended().await, Ending::Cancelled(None));
    assert_eq!(writers[1].write(bytes(0, 1)).await, Err(Ending::Cancelled(None)));
    drop(writers);
    let Err(Ending::Failed(error)) = readers[0].next().await else { panic!("the writer is gone") };
    assert_eq!(error.code, code::CANCELLED);
    // A caller who wants no streams: those that come are cancelled.
    let mut down = b.mesh.reply(incoming.id, Bytes::new(), [Flow::Items].into()).await;
    drop(call.await.unwrap());
    assert_eq!(down[0].ended().await, Ending::Cancelled(None));
    b.mesh.served(incoming.id, Ok(Bytes::new())).await;
    b.mesh.drain().await;
    mesh.end().await;
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_streams_and_so_does_the_end_of_either_runtime() {
    for ending in 0..3 {
        let mut mesh = Mesh::new();
        let (service, mut calls) = taker();
        let a = mesh.node("a", Arc::new(Echo)).await;
        let b = mesh.node("b", service).await;
        let mut call = a.mesh.start_streaming(streaming("b", &[Flow::Items])).await.unwrap();
        let (_incoming, mut readers) = calls.recv().await.unwrap();
        let mut writer = std::mem::take(&mut call.writers).remove(0);
        match ending {
            0 => drop(call),
            1 => a.cancel.cancel(),
            _ => b.cancel.cancel(),
        }
        let (written, read) = tokio::join!(writer.ended(), readers[0].next());
        let told = (written.error().unwrap().code, read.unwrap_err().error().unwrap().code);
        let expected = match ending {
            0 => [code::CANCELLED, code::CANCELLED],
            1 => [code::LINK_LOST, code::CANCELLED],
            _ => [code::LINK_LOST, code::LINK_LOST],
        };
        assert_eq!([told.0.as_str(), told.1.as_str()], expected, "{ending}");
        mesh.end().await;
    }
}

#[tokio::test]
async fn a_callback_without_streams_is_called_once_an_item() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    for receiver in ["b", "a"] {
        let request = CallRequest { mode: Mode::Each, ..streaming(receiver, &[]) };
        let mut call = a.mesh.start_streaming(request).await.unwrap();
        let mut writer = call.writers.remove(0);
        let mut reader = call.await.unwrap().readers.remove(0);
        let writing = async {
            for _ in 0..50 {
                writer.write(Chunk { count: 100, bytes: b"\x01x".repeat(100).into() }).await.unwrap();
            }
            writer.finish();
            writer.ended().await
        };
        let reading = async {
            let mut items = 0;
            while let Some(chunk) = reader.next().await.unwrap() {
                items += chunk.count;
            }
            items
        };
        assert_eq!(tokio::join!(writing, reading), (Ending::Finished, 5000));
    }
    mesh.end().await;
}

#[tokio::test]
async fn a_process_that_takes_no_streams_refuses_them() {
    let mut mesh = Mesh::new();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let _b = mesh.node("b", Arc::new(Echo)).await;
    let mut call = a.mesh.start_streaming(streaming("b", &[Flow::Items])).await.unwrap();
    let mut writer = call.writers.remove(0);
    let error = call.await.err().unwrap();
    assert_eq!((error.outcome, error.code.as_str()), (Outcome::NotRun, code::SIGNATURE_MISMATCH));
    assert_eq!(writer.ended().await.error().unwrap().code, code::SIGNATURE_MISMATCH);
    assert!(writer.ready().now_or_never().unwrap().is_err());
    mesh.end().await;
}

#[tokio::test]
async fn giant_items_come_as_the_reader_drops_those_before_and_small_calls_pass_them() {
    const GIANT: usize = 16 * 1024 * 1024;
    let mut mesh = Mesh::new();
    let (service, mut calls) = taker();
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", service).await;
    let (streams, room) = (24, LARGE_BYTES / GIANT);
    let mut call = a.mesh.start_streaming(streaming("b", &vec![Flow::Items; streams])).await.unwrap();
    let (incoming, readers) = calls.recv().await.unwrap();
    let giant = Bytes::from(vec![7; GIANT]);
    let writing = futures::future::join_all(std::mem::take(&mut call.writers).into_iter().map(async |mut writer| {
        writer.write(Chunk { count: 1, bytes: giant.clone() }).await.unwrap();
        writer.finish();
        writer.ended().await
    }));
    let reading = async {
        let (mut held, mut read, mut open) = (Vec::new(), 0, readers);
        while !open.is_empty() {
            let next = open.iter_mut().map(|reader| Box::pin(reader.next()));
            let (next, at, _) = futures::future::select_all(next).await;
            match next.unwrap() {
                Some(chunk) => {
                    assert_eq!(chunk.bytes.len(), GIANT);
                    read += 1;
                    held.push(chunk);
                }
                None => drop(open.swap_remove(at)),
            }
            if held.len() == room {
                // What had room would be here by now: whoever wrote it did before this call was made.
                let small = a.mesh.call(request(Some("b"), b"\x01x"));
                let serve = async {
                    let (incoming, _) = calls.recv().await.unwrap();
                    b.mesh.served(incoming.id, Ok(Bytes::new())).await;
                };
                let (small, ()) = tokio::join!(small, serve);
                small.unwrap();
                let more = open.iter_mut().filter_map(|reader| reader.next().now_or_never()?.unwrap());
                assert_eq!(more.count(), 0, "there is room for {room}");
                held.clear();
            }
        }
        read
    };
    let (endings, read) = tokio::join!(writing, reading);
    assert_eq!((read, endings), (streams, vec![Ending::Finished; streams]));
    b.mesh.served(incoming.id, Ok(Bytes::new())).await;
    call.await.unwrap();
    mesh.end().await;
}

/// Takes a whole turn of the driver for each call, and counts them; tells of the first.
struct Busy {
    served: AtomicUsize,
    begins: mpsc::UnboundedSender<()>,
}

impl Serve for Busy {
    fn serve(&self, incoming: Incoming, _: Begin) -> Option<ServeResult> {
        let began = std::time::Instant::now();
        while began.elapsed() < TURN {
            std::hint::spin_loop();
        }
        if self.served.fetch_add(1, Ordering::Relaxed) == 0 {
            self.begins.send(()).unwrap();
        }
        Some(Ok(incoming.args))
    }
    fn cancel(&self, _: ServeId) {}
}

#[tokio::test]
async fn a_call_is_answered_between_the_items_of_one_that_is_made_once_an_item() {
    let mut mesh = Mesh::new();
    let (begins, mut begun) = mpsc::unbounded_channel();
    let busy = Arc::new(Busy { served: AtomicUsize::new(0), begins });
    let a = mesh.node("a", Arc::new(Echo)).await;
    let b = mesh.node("b", busy.clone()).await;
    for (caller, at_once) in [(&a, 200), (&b, 200)] {
        busy.served.store(0, Ordering::Relaxed);
        let mut call =
            caller.mesh.start_streaming(CallRequest { mode: Mode::Each, ..streaming("b", &[]) }).await.unwrap();
        let mut writer = call.writers.remove(0);
        let mut reader = call.await.unwrap().readers.remove(0);
        // All of them are there before the first is served, and nobody waits for room.
        writer.write(Chunk { count: at_once, bytes: b"\x01x".repeat(at_once as usize).into() }).await.unwrap();
        writer.finish();
        let between = async {
            begun.recv().await.unwrap();
            caller.mesh.call(request(Some("b"), b"\x01x")).await.unwrap();
            busy.served.load(Ordering::Relaxed)
        };
        let reading = async { while reader.next().await.unwrap().is_some() {} };
        let (between, ()) = tokio::join!(between, reading);
        assert!(between < at_once as usize, "{between} items were served before it");
        assert_eq!(busy.served.load(Ordering::Relaxed), at_once as usize + 1);
    }
    mesh.end().await;
}
