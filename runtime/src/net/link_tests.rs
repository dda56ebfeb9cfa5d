//! Tests of links over sockets, and of the pipe in memory beside them: both keep the same promises.

use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use daffi_proto::call::Answer;
use daffi_proto::frame::{Frame, FrameError, Header, LastWord, MAX_FIRST_FRAME_BYTES, Side, StreamRef, Target};
use daffi_proto::id::{CallId, GroupId};
use daffi_proto::stream::Credit;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::mesh::link::{LinkEnd, Mute, NotTaken, recv};
use crate::mesh::pipe;

/// How long a test waits for what must come; only a failing one takes it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A small first frame, as on every link.
fn first() -> Frame {
    Frame::new(Header::Hello { version: 1 })
}

fn reply(id: u64, payload: &[u8]) -> Frame {
    Frame::with_payload(
        Header::Reply { id: CallId(id), process: None, open: false, channels: [].into() },
        Bytes::copy_from_slice(payload),
    )
}

fn call(payload: usize) -> Frame {
    let header = Header::Call {
        id: CallId(1),
        target: Target::Any(GroupId(1)),
        timeout_ms: 1,
        chain: Vec::new().into(),
        answer: Answer::Result,
        mode: daffi_proto::call::Mode::Whole,
        channels: [].into(),
        key: None,
    };
    Frame::with_payload(header, Bytes::from(vec![7; payload]))
}

fn limits(refuse_above_bytes: usize, close_above_bytes: usize) -> LinkLimits {
    LinkLimits { refuse_above_bytes, close_above_bytes, ..LinkLimits::default() }
}

/// A link over a small buffer, and the raw other end.
fn over(buffer_bytes: usize, limits: LinkLimits) -> (Link, tokio::io::DuplexStream, TaskTracker) {
    let tasks = TaskTracker::new();
    let (ours, theirs) = tokio::io::duplex(buffer_bytes);
    let (reader, writer) = tokio::io::split(ours);
    (Connection::new(reader, writer).into_link(limits, &tasks), theirs, tasks)
}

/// Two links over one small buffer.
fn two(buffer_bytes: usize, limits: LinkLimits) -> (Link, Link, TaskTracker) {
    let (near, theirs, tasks) = over(buffer_bytes, limits);
    let (reader, writer) = tokio::io::split(theirs);
    (near, Connection::new(reader, writer).into_link(limits, &tasks), tasks)
}

async fn take(link: &mut Link, count: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.len() < count {
        recv(&mut *link.source, &mut frames).await.unwrap();
    }
    frames
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_whole_and_in_order_through_a_small_socket() {
    let (near, mut far, _tasks) = two(1000, LinkLimits::default());
    let mut sent = vec![first()];
    for (fill, size) in [0, 1, COPY_BELOW_BYTES - 1, COPY_BELOW_BYTES, 300_000, 3, 700_000, 0].into_iter().enumerate() {
        // All of one call: none may pass another.
        sent.push(reply(1, &vec![fill as u8; size]));
    }
    for frame in &sent {
        near.sink.send(frame.clone()).unwrap();
    }
    near.sink.flush().unwrap();
    assert_eq!(take(&mut far, sent.len()).await, sent);
}

#[tokio::test]
async fn small_frames_pass_a_large_one_of_another_call_and_not_one_of_their_own() {
    let (near, mut far, _tasks) = two(1000, LinkLimits::default());
    let (large, larger) = (reply(1, &vec![1; 900_000]), reply(2, &vec![2; 1_800_000]));
    for frame in [&first(), &large, &larger, &reply(1, b"own"), &reply(3, b"other"), &Frame::new(Header::Ping)] {
        near.sink.send(frame.clone()).unwrap();
    }
    near.sink.flush().unwrap();
    let heard = take(&mut far, 6).await;
    assert_eq!(heard, [first(), reply(3, b"other"), Frame::new(Header::Ping), large, larger, reply(1, b"own")]);
    // When all has gone, order is again that of sending.
    let (one, two) = (reply(4, &vec![1; 100_000]), reply(5, b"two"));
    near.sink.send(one.clone()).unwrap();
    near.sink.send(two.clone()).unwrap();
    near.sink.flush().unwrap();
    assert_eq!(take(&mut far, 2).await, [one, two]);
}

#[tokio::test]
async fn many_that_pass_a_large_frame_leave_it_half_of_the_link() {
    let (near, mut far, _tasks) = two(1000, LinkLimits::default());
    near.sink.send(first()).unwrap();
    near.sink.send(reply(1, &vec![1; 1 << 20])).unwrap();
    for id in 0..6000 {
        near.sink.send(reply(id + 10, &[2; 1000])).unwrap();
    }
    near.sink.flush().unwrap();
    let heard = take(&mut far, 6002).await;
    let place = heard.iter().position(|frame| frame.payload.len() == 1 << 20).unwrap();
    assert!((500..2000).contains(&place), "{place}");
}

#[tokio::test]
async fn streams_share_the_link_with_a_large_frame() {
    let (near, mut far, _tasks) = two(1000, LinkLimits::default());
    let has_room = || {
        let waker = futures::task::noop_waker();
        near.sink.poll_room(&mut Context::from_waker(&waker)).is_ready()
    };
    near.sink.send(first()).unwrap();
    near.sink.send(reply(1, &vec![1; 4 << 20])).unwrap();
    near.sink.flush().unwrap();
    assert!(has_room());
    // It waits when much of its own does.
    for id in 0..10 {
        near.sink.send(reply(id + 10, &[2; 100_000])).unwrap();
    }
    assert!(!has_room());
    take(&mut far, 12).await;
    assert!(has_room());
    // Large items wait for one another.
    let item = |id| {
        let stream = StreamRef { call: CallId(id), from: Side::Caller, number: 0 };
        Frame::with_payload(Header::Items { stream, count: 1 }, vec![3; 1 << 20].into())
    };
    near.sink.send(item(100)).unwrap();
    assert!(has_room());
    near.sink.send(item(101)).unwrap();
    assert!(!has_room());
    near.sink.flush().unwrap();
    take(&mut far, 2).await;
    assert!(has_room());
}

#[tokio::test]
async fn what_waited_behind_a_large_frame_and_is_small_goes_with_its_next_turn() {
    let (near, mut far, _tasks) = two(1000, LinkLimits::default());
    near.sink.send(first()).unwrap();
    near.sink.send(reply(1, &vec![1; 300_000])).unwrap();
    for _ in 0..50 {
        near.sink.send(reply(1, b"own")).unwrap();
    }
    for id in 0..3000 {
        near.sink.send(reply(id + 10, &[2; 1000])).unwrap();
    }
    near.sink.flush().unwrap();
    let heard = take(&mut far, 3052).await;
    let own: Vec<usize> = (0..heard.len()).filter(|&place| heard[place].payload[..] == *b"own").collect();
    assert_eq!(own.len(), 50);
    assert!(own[49] - own[0] < 60, "{own:?}");
}

#[tokio::test]
async fn many_small_frames_are_one_read() {
    let (near, mut far, _tasks) = two(64 * 1024, LinkLimits::default());
    tokio::task::yield_now().await; // the writer task goes idle, so that the flush writes itself
    near.sink.send(first()).unwrap();
    for id in 0..100 {
        near.sink.send(reply(id, b"x")).unwrap();
    }
    near.sink.flush().unwrap();
    let mut frames = Vec::new();
    recv(&mut *far.source, &mut frames).await.unwrap();
    assert_eq!(frames.len(), 101);
}

#[tokio::test]
async fn a_pipe_carries_frames_and_tells_when_the_other_end_has_gone() {
    let (mut near, far) = pipe::pair(LinkLimits::default());
    far.sink.send(reply(1, b"one")).unwrap();
    far.sink.flush().unwrap();
    far.sink.close().await;
    assert_eq!(take(&mut near, 1).await, [reply(1, b"one")]);
    assert!(matches!(recv(&mut *near.source, &mut Vec::new()).await, Err(LinkEnd::Closed)));
    drop(far.source);
    assert_eq!(near.sink.flush(), Err(Mute));
}

#[tokio::test]
async fn a_full_link_gives_back_calls_results_and_words_of_streams_and_takes_the_rest_up_to_the_hard_limit() {
    let limits = limits(10_000, 50_000);
    let (socket, _theirs, _tasks) = over(16, limits);
    let (memory, _other) = pipe::pair(limits);
    for link in [socket, memory] {
        link.sink.send(call(21_000)).unwrap();
        link.sink.flush().unwrap();
        let stream = StreamRef { call: CallId(1), from: Side::Caller, number: 0 };
        let words = [
            Header::Items { stream, count: 1 },
            Header::End { stream, last: LastWord::Finished },
            Header::Grant { stream, total: Credit::default() },
            Header::Done { stream },
            Header::Halt { stream },
            Header::Want { stream, bytes: 1 << 20 },
        ];
        for refused in words.into_iter().map(Frame::new).chain([call(1), reply(1, b"")]) {
            assert!(matches!(link.sink.send(refused.clone()), Err(NotTaken(frame)) if *frame == refused));
        }
        let failed =
            |bytes: usize| Frame::with_payload(Header::Fail { id: CallId(1), runs_on: false }, vec![0; bytes].into());
        link.sink.send(failed(40_000)).unwrap();
        assert!(matches!(link.sink.send(failed(0)), Err(NotTaken(_))));
    }
}

#[tokio::test]
async fn what_is_large_leaves_room_for_what_is_smaller() {
    let (large, medium, small) = (200_000, 128 << 10, 1 << 10);
    let refused = |link: &Link, bytes: usize| link.sink.send(reply(1, &vec![0; bytes])).is_err();
    let limits = limits(1_000_000, 10_000_000);
    let (socket, _theirs, _tasks) = over(16, limits);
    let (memory, _other) = pipe::pair(limits);
    for link in [socket, memory] {
        for bytes in [large, medium, small] {
            while !refused(&link, bytes) {}
            // Those that are as large have no room now, and those that are smaller have.
            assert!([large, medium, small].iter().all(|&other| refused(&link, other) == (other >= bytes)));
        }
    }
}

#[tokio::test]
async fn closing_writes_what_waits_first() {
    let (near, mut far, tasks) = two(100, LinkLimits::default());
    near.sink.send(first()).unwrap();
    near.sink.send(reply(1, &[1; 10_000])).unwrap();
    let close = near.sink.close();
    let (frames, ()) = tokio::join!(take(&mut far, 2), close);
    assert_eq!(frames.len(), 2);
    drop(near.source);
    assert!(matches!(recv(&mut *far.source, &mut Vec::new()).await, Err(LinkEnd::Closed)));
    drop(far.sink);
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn closing_towards_a_peer_that_does_not_read_ends_all_the_same() {
    let limits = LinkLimits { close_timeout: Duration::from_millis(10), ..LinkLimits::default() };
    let (near, _theirs, tasks) = over(16, limits);
    near.sink.send(reply(1, &[1; 10_000])).unwrap();
    near.sink.close().await;
    tasks.close();
    tasks.wait().await;
}

#[tokio::test]
async fn a_link_whose_writer_waits_for_a_full_socket_can_be_closed_and_dropped() {
    for close in [true, false] {
        let limits = LinkLimits { close_timeout: Duration::from_millis(10), ..LinkLimits::default() };
        let (near, _theirs, tasks) = over(16, limits);
        near.sink.send(reply(1, &[1; 10_000])).unwrap();
        near.sink.flush().unwrap();
        tokio::task::yield_now().await; // the writer task fills the socket, and only the socket would wake it now
        tasks.close();
        let ends = async {
            if close {
                near.sink.close().await;
            } else {
                drop(near);
            }
            tasks.wait().await;
        };
        tokio::time::timeout(PATIENCE, ends).await.expect("the writer task is still there");
    }
}

#[tokio::test]
async fn a_peer_that_takes_nothing_of_what_waits_for_it_loses_its_link() {
    let times = Duration::from_millis(10);
    let limits = LinkLimits { stall_timeout: times, last_words_timeout: times, ..LinkLimits::default() };
    let (mut link, mut theirs, _tasks) = over(16, limits);
    link.sink.send(reply(1, &[1; 1000])).unwrap();
    link.sink.flush().unwrap();
    theirs.write_all(&[100, 0]).await.unwrap(); // it is there, and speaks
    let ends = async {
        loop {
            // That it was heard is no end.
            if let Err(end) = recv(&mut *link.source, &mut Vec::new()).await {
                return end;
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, ends).await.expect("the link lives on");
    assert!(matches!(&end, LinkEnd::Mute(reason) if reason.contains("does not read")), "{end:?}");
}

#[tokio::test]
async fn a_peer_to_whom_nothing_can_be_written_is_heard_to_his_end_or_for_a_while() {
    for ends in [true, false] {
        let tasks = TaskTracker::new();
        let [(reader, mut theirs), (writer, gone)] = [(); 2].map(|()| tokio::io::duplex(64 * 1024));
        let limits = LinkLimits { last_words_timeout: Duration::from_millis(10), ..LinkLimits::default() };
        let mut link = Connection::new(reader, writer).into_link(limits, &tasks);
        tokio::task::yield_now().await; // the writer task goes idle, so that the flush writes itself
        drop(gone);
        link.sink.send(call(1)).unwrap();
        assert_eq!(link.sink.flush(), Err(Mute));
        assert!(matches!(link.sink.send(call(1)), Err(NotTaken(_))), "this one did not go out for certain");
        link.sink.send(reply(1, b"")).unwrap();
        let mut bytes = bytes::BytesMut::new();
        first().encode_into(&mut bytes).unwrap();
        theirs.write_all(&bytes).await.unwrap();
        assert_eq!(take(&mut link, 1).await, [first()]);
        let theirs = (!ends).then_some(theirs);
        match recv(&mut *link.source, &mut Vec::new()).await {
            Err(LinkEnd::Closed) => assert!(ends),
            Err(LinkEnd::Mute(reason)) => assert!(!ends && reason.contains("broke"), "{reason}"),
            other => panic!("{other:?}"),
        }
        drop(theirs);
    }
}

#[tokio::test]
async fn good_frames_before_garbage_are_received_and_then_the_link_ends() {
    let (mut link, mut theirs, _tasks) = over(64 * 1024, LinkLimits::default());
    let mut bytes = bytes::BytesMut::new();
    first().encode_into(&mut bytes).unwrap();
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    theirs.write_all(&bytes).await.unwrap();
    assert_eq!(take(&mut link, 1).await, [first()]);
    let end = recv(&mut *link.source, &mut Vec::new()).await;
    assert!(matches!(end, Err(LinkEnd::Garbage(FrameError::TooLong { .. }))), "{end:?}");
}

#[tokio::test]
async fn a_stranger_is_told_by_his_first_bytes() {
    let (mut link, mut theirs, _tasks) = over(64 * 1024, LinkLimits::default());
    theirs.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let end = recv(&mut *link.source, &mut Vec::new()).await.unwrap_err().to_string();
    assert!(end.contains("HTTP") && end.contains(&MAX_FIRST_FRAME_BYTES.to_string()), "{end}");
}

#[tokio::test]
async fn half_a_frame_is_told_apart_from_a_close() {
    let (mut link, mut theirs, _tasks) = over(64 * 1024, LinkLimits::default());
    theirs.write_all(&[100, 0, 0, 0, 1]).await.unwrap();
    drop(theirs);
    assert!(matches!(recv(&mut *link.source, &mut Vec::new()).await, Err(LinkEnd::HalfFrame { bytes: 5 })));
}

#[tokio::test]
async fn a_receive_that_is_given_up_loses_nothing() {
    let (mut link, mut theirs, _tasks) = over(64 * 1024, LinkLimits::default());
    let mut bytes = bytes::BytesMut::new();
    first().encode_into(&mut bytes).unwrap();
    let (head, rest) = bytes.split_at(3);
    theirs.write_all(head).await.unwrap();
    let mut frames = Vec::new();
    recv(&mut *link.source, &mut frames).await.unwrap();
    assert_eq!(frames, [], "half a frame is no frame, but told once");
    tokio::select! {
        biased;
        _ = recv(&mut *link.source, &mut frames) => panic!("nothing more has come"),
        () = tokio::task::yield_now() => {}
    }
    theirs.write_all(rest).await.unwrap();
    assert_eq!(take(&mut link, 1).await, [first()]);
}
