//! Sinks whose reader is the test: it takes what it wants, when it wants.

use std::task::Waker;

use tokio::io::AsyncWriteExt;

use super::super::{MAX_WAITING_BYTES, Output, Printed};
use super::*;

/// A reader that has not dropped anything yet.
type Unread = Arc<Mutex<Vec<Printed>>>;

fn output(bytes_per_second: u64) -> (Arc<ModuleOutput>, Unread) {
    let unread = Unread::default();
    let taken = unread.clone();
    let output = Output::new(move |printed| taken.lock().unwrap().push(printed));
    (ModuleOutput::new(output, bytes_per_second, None), unread)
}

fn sink(stream: GuestStream) -> (LineSink, Unread) {
    let (output, unread) = output(1 << 40);
    (LineSink::new(stream, output), unread)
}

fn text(unread: &Unread) -> String {
    unread.lock().unwrap().iter().map(|printed| printed.text.as_str()).collect()
}

/// Writes as much as is allowed, line by line, and tells how much that was.
fn fill(sink: &mut LineSink, line: &'static [u8]) -> usize {
    let mut bytes = 0;
    while sink.check_write().unwrap() >= line.len() {
        OutputStream::write(sink, Bytes::from_static(line)).unwrap();
        bytes += line.len();
    }
    bytes
}

#[test]
fn lines_are_passed_on_whole_and_the_rest_when_the_instance_ends() {
    let (sink, unread) = sink(GuestStream::Stdout);
    sink.write(b"one\r\ntw");
    sink.write(b"o\n\nthr");
    assert_eq!(text(&unread), "one\ntwo\n\n");
    assert_eq!(unread.lock().unwrap().len(), 2, "one piece a write");
    drop(sink);
    assert_eq!(text(&unread), "one\ntwo\n\nthr\n");
}

#[test]
fn a_line_without_end_is_cut_into_pieces() {
    let (sink, unread) = sink(GuestStream::Stdout);
    for _ in 0..5 {
        sink.write(&vec![b'x'; MAX_LINE_BYTES / 2]);
    }
    sink.write(&vec![b'y'; 3 * MAX_LINE_BYTES]);
    let text = text(&unread);
    assert!(text.lines().count() >= 4 && text.lines().all(|line| line.len() <= MAX_LINE_BYTES));
}

#[test]
fn the_tail_is_the_last_of_stderr_since_the_call_began() {
    let (sink, _) = sink(GuestStream::Stderr);
    sink.write(b"before\n");
    sink.start_tail();
    sink.write(&vec![b'a'; 2 * TAIL_BYTES]);
    sink.write(b"the end\n");
    let tail = sink.tail();
    assert!(tail.len() <= TAIL_BYTES && tail.ends_with("aaathe end"), "{tail}");
}

#[test]
fn empty_lines_fill_the_room_as_fast_as_what_they_cost() {
    let (mut sink, unread) = sink(GuestStream::Stdout);
    fill(&mut sink, b"\n");
    let pieces = unread.lock().unwrap().len();
    // Each is a byte of text, and a piece of some hundred bytes.
    assert!(pieces <= (MAX_WAITING_BYTES + WRITE_BYTES) / 64, "{pieces}");
}

#[test]
fn a_guest_that_holds_many_handles_may_not_write_more_at_once() {
    let (mut one, unread) = sink(GuestStream::Stdout);
    let mut handles: Vec<Box<dyn OutputStream>> = (0..1000).map(|_| one.p2_stream()).collect();
    for handle in &mut handles {
        assert!(handle.check_write().unwrap() > 0);
    }
    fill(&mut one, b"x\n");
    for handle in &mut handles {
        let _ = handle.write(Bytes::from(vec![b'\n'; WRITE_BYTES]));
    }
    let waiting: usize = unread.lock().unwrap().iter().map(|printed| printed.bytes()).sum();
    assert!(waiting <= MAX_WAITING_BYTES + 2 * WRITE_BYTES, "{waiting}");
}

#[test]
fn a_write_that_was_not_allowed_is_refused() {
    let (mut sink, _) = sink(GuestStream::Stdout);
    let refused = OutputStream::write(&mut sink, Bytes::from(vec![b'x'; WRITE_BYTES + 1]));
    assert!(matches!(refused, Err(StreamError::Trap(_))));
}

#[tokio::test]
async fn a_writer_without_room_waits_and_goes_on_when_something_was_taken() {
    let (mut sink, unread) = sink(GuestStream::Stdout);
    fill(&mut sink, b"0123456789abcde\n");
    assert_eq!(sink.check_write().unwrap(), 0);
    let mut waiting = tokio_test_poll(sink.blocking_write_and_flush(Bytes::from_static(b"last\n")));
    assert!(waiting.is_pending());
    unread.lock().unwrap().clear();
    waiting.finish().await.unwrap();
    assert_eq!(text(&unread), "last\n");
}

#[tokio::test]
async fn all_who_wait_for_room_write_though_the_first_may_fill_it_again() {
    let (output, unread) = output(1 << 40);
    let mut sinks: Vec<LineSink> = (0..100).map(|_| LineSink::new(GuestStream::Stdout, output.clone())).collect();
    fill(sinks.first_mut().unwrap(), b"0123456789abcde\n");
    let line = Bytes::from(vec![b'\n'; 4096]);
    let mut writes = Vec::new();
    for sink in &mut sinks {
        let mut write = tokio_test_poll(sink.blocking_write_and_flush(line.clone()));
        assert!(write.is_pending());
        writes.push(write);
    }
    let reader = tokio::spawn({
        let unread = unread.clone();
        async move {
            while Arc::strong_count(&unread) > 1 {
                unread.lock().unwrap().pop();
                tokio::task::yield_now().await;
            }
        }
    });
    for write in writes {
        write.finish().await.unwrap();
    }
    drop((unread, sinks, output));
    reader.abort();
}

#[tokio::test]
async fn a_stream_of_wasi_0_3_waits_for_room_too() {
    let (mut sink, unread) = sink(GuestStream::Stdout);
    fill(&mut sink, b"0123456789abcde\n");
    let mut stream = Box::into_pin(sink.async_stream());
    let mut waiting = tokio_test_poll(stream.write_all(b"last\n"));
    assert!(waiting.is_pending());
    unread.lock().unwrap().clear();
    waiting.finish().await.unwrap();
    assert_eq!(text(&unread), "last\n");
}

#[tokio::test]
async fn a_module_over_its_rate_waits_though_there_is_room() {
    let (output, unread) = output(1000);
    let mut sink = LineSink::new(GuestStream::Stdout, output);
    let started = std::time::Instant::now();
    // A second's worth passes at once; what was allowed beyond it is paid back before the next write.
    for _ in 0..2 {
        sink.blocking_write_and_flush(Bytes::from(vec![b'\n'; 1000])).await.unwrap();
        sink.with(|lines| lines.allowed_bytes = 0);
    }
    assert_eq!(sink.check_write().unwrap(), 0);
    sink.ready().await;
    assert!(started.elapsed() >= std::time::Duration::from_secs(1));
    assert_eq!(text(&unread).len(), 2000);
}

/// A future that was polled once.
struct Polled<F: Future> {
    future: Pin<Box<F>>,
    output: Option<F::Output>,
}

fn tokio_test_poll<F: Future>(future: F) -> Polled<F> {
    let mut future = Box::pin(future);
    let output = match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    };
    Polled { future, output }
}

impl<F: Future> Polled<F> {
    fn is_pending(&mut self) -> bool {
        self.output.is_none()
    }

    async fn finish(self) -> F::Output {
        match self.output {
            Some(output) => output,
            None => self.future.await,
        }
    }
}
