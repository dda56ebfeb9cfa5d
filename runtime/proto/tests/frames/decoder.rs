//! Frames out of streams of bytes.

use bytes::{Bytes, BytesMut};
use daffi_proto::frame::{
    Decoder, Frame, FrameError, Header, MAX_FIRST_FRAME_BYTES, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES,
    MIN_PAYLOAD_LIMIT_BYTES, PREFIX_BYTES,
};
use daffi_proto::id::CallId;
use proptest::prelude::*;

const LIMIT: usize = MIN_PAYLOAD_LIMIT_BYTES;

/// The bytes of these frames after a first small one, and a decoder that has read that one.
fn stream(frames: &[Frame]) -> (BytesMut, Decoder) {
    let mut buffer = BytesMut::new();
    Frame::new(Header::Ping).encode_into(&mut buffer).unwrap();
    for frame in frames {
        frame.encode_into(&mut buffer).unwrap();
    }
    let mut decoder = Decoder::new(LIMIT);
    assert!(decoder.next(&mut buffer).unwrap().is_some());
    (buffer, decoder)
}

fn reply(bytes: usize) -> Frame {
    Frame::with_payload(
        Header::Reply { id: CallId(1), process: None, open: false, channels: [].into() },
        vec![7; bytes].into(),
    )
}

#[test]
fn a_payload_is_cut_out_of_the_buffer_and_not_copied() {
    let (mut buffer, mut decoder) = stream(&[reply(4096)]);
    let range = buffer.as_ptr_range();
    let frame = decoder.next(&mut buffer).unwrap().unwrap();
    assert!(range.contains(&frame.payload.as_ptr()));
    assert_eq!(frame, reply(4096));
    assert!(buffer.is_empty());
}

#[test]
fn a_relay_hands_the_same_bytes_on() {
    let (mut buffer, mut decoder) = stream(&[reply(1000)]);
    let frame = decoder.next(&mut buffer).unwrap().unwrap();
    let payload = frame.payload.clone();
    let relayed = Frame::with_payload(
        Header::Reply { id: CallId(99), process: None, open: false, channels: [].into() },
        frame.payload,
    );
    let mut head = BytesMut::new();
    relayed.encode_head(&mut head).unwrap();
    assert_eq!(relayed.payload.as_ptr(), payload.as_ptr());
    // The head alone, and the payload as it is, are the whole frame.
    let mut whole = BytesMut::new();
    relayed.encode_into(&mut whole).unwrap();
    assert_eq!([&head[..], &payload[..]].concat(), whole);
}

#[test]
fn many_frames_of_one_read_come_one_after_the_other() {
    let frames: Vec<Frame> = (0..50).map(reply).collect();
    let (mut buffer, mut decoder) = stream(&frames);
    for frame in frames {
        assert_eq!(decoder.next(&mut buffer).unwrap(), Some(frame));
    }
    assert_eq!(decoder.next(&mut buffer).unwrap(), None);
}

#[test]
fn a_length_over_the_limit_is_refused_before_anything_is_buffered() {
    let (mut buffer, mut decoder) = stream(&[]);
    buffer.extend_from_slice(&((LIMIT + MAX_HEADER_BYTES + 1) as u32).to_le_bytes());
    let error = decoder.next(&mut buffer).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { limit, .. } if limit == LIMIT + MAX_HEADER_BYTES), "{error}");
    assert!(buffer.capacity() < 4096);
}

#[test]
fn the_first_frame_of_a_link_is_small() {
    let mut buffer = BytesMut::new();
    reply(MAX_FIRST_FRAME_BYTES).encode_into(&mut buffer).unwrap();
    let error = Decoder::new(LIMIT).next(&mut buffer).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { limit: MAX_FIRST_FRAME_BYTES, .. }), "{error}");
}

#[test]
fn strangers_are_told_apart_by_their_first_bytes() {
    let strangers: [(&[u8], &str); 7] = [
        (b"GET / HTTP/1.1\r\n", "this looks like HTTP"),
        (b"PRI * HTTP/2.0\r\n", "this looks like HTTP"),
        (b"\x16\x03\x01\x00\xf4\x01", "this looks like TLS"),
        (b"\x15\x03\x03\x00\x02\x02", "this looks like TLS"),
        (b"\x16\x03\x01\x02\x00\x01", "this looks like TLS"),
        (b"SSH-2.0-OpenSSH", "this looks like SSH"),
        (b"\xff\xff\xff\xff", "does not speak this protocol"),
    ];
    for (bytes, hint) in strangers {
        let error = Decoder::new(LIMIT).next(&mut BytesMut::from(bytes)).unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn a_payload_over_the_limit_is_refused_even_where_the_frame_is_not() {
    let mut buffer = BytesMut::new();
    let (mut rest, mut decoder) = stream(&[]);
    reply(LIMIT + 1).encode_into(&mut buffer).unwrap();
    rest.unsplit(buffer);
    let error = decoder.next(&mut rest).unwrap_err();
    assert_eq!(error, FrameError::PayloadTooLong { bytes: LIMIT + 1, limit: LIMIT });
}

#[test]
fn a_header_over_the_limit_is_neither_sent_nor_taken() {
    let frame = Frame::new(Header::Close { reason: "x".repeat(MAX_HEADER_BYTES) });
    let mut buffer = BytesMut::from(&b"before"[..]);
    assert!(matches!(frame.encode_into(&mut buffer), Err(FrameError::HeaderTooLong { .. })));
    assert_eq!(&buffer[..], b"before");

    let header = postcard::to_stdvec(&frame.header).unwrap();
    let (mut buffer, mut decoder) = stream(&[]);
    buffer.extend_from_slice(&(header.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&header);
    let error = decoder.next(&mut buffer).unwrap_err();
    assert!(matches!(error, FrameError::HeaderTooLong { .. }), "{error}");
}

#[test]
fn bytes_that_are_no_header_are_refused() {
    // No bytes, an unknown variant, half a field, a text that is no UTF-8, a name that is none, an endless number.
    let bodies: [&[u8]; 6] = [b"", b"\x63", b"\x02\x05ab", b"\x03\x01\xff", b"\x0e\x01\x01\x01/", &[0xff; 20]];
    for body in bodies {
        let (mut buffer, mut decoder) = stream(&[]);
        buffer.extend_from_slice(&(body.len() as u32).to_le_bytes());
        buffer.extend_from_slice(body);
        let error = decoder.next(&mut buffer).unwrap_err();
        assert!(matches!(error, FrameError::BadHeader(_)), "{body:?}: {error}");
    }
}

#[test]
fn room_is_made_for_what_is_announced_but_not_without_bounds() {
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    let mut buffer = BytesMut::new();
    Frame::new(Header::Ping).encode_into(&mut buffer).unwrap();
    decoder.next(&mut buffer).unwrap();
    buffer.extend_from_slice(&(MAX_PAYLOAD_BYTES as u32).to_le_bytes());
    assert_eq!(decoder.next(&mut buffer).unwrap(), None);
    assert!(buffer.capacity() >= 1 << 20 && buffer.capacity() < 1 << 22, "{}", buffer.capacity());
}

#[test]
fn who_passes_payloads_on_gets_them_where_they_were_read() {
    for bytes in [1, 1000, 4096] {
        let (mut buffer, decoder) = stream(&[reply(bytes), reply(0)]);
        let (range, mut decoder) = (buffer.as_ptr_range(), decoder.passing_on());
        let frame = decoder.next(&mut buffer).unwrap().unwrap();
        assert_eq!(frame, reply(bytes));
        assert!(range.contains(&frame.payload.as_ptr()), "{bytes}");
        // One that is empty keeps nothing.
        let empty = decoder.next(&mut buffer).unwrap().unwrap();
        assert_eq!(empty, reply(0));
        assert!(!range.contains(&empty.payload.as_ptr()));
    }
}

#[test]
fn a_small_payload_keeps_no_buffer_alive() {
    for bytes in [1, 1000, 4095] {
        let (mut buffer, mut decoder) = stream(&[reply(bytes), reply(60_000)]);
        let range = buffer.as_ptr_range();
        let frame = decoder.next(&mut buffer).unwrap().unwrap();
        assert!(!range.contains(&frame.payload.as_ptr()), "{bytes}");
        assert_eq!(frame, reply(bytes));
        assert_eq!(decoder.next(&mut buffer).unwrap(), Some(reply(60_000)));
    }
}

#[test]
fn an_empty_payload_keeps_no_buffer_alive() {
    let (mut buffer, mut decoder) = stream(&[Frame::new(Header::Drain)]);
    let range = buffer.as_ptr_range();
    let frame = decoder.next(&mut buffer).unwrap().unwrap();
    assert!(!range.contains(&frame.payload.as_ptr()));
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let header = prop_oneof![
        any::<u64>().prop_map(|id| Header::Reply { id: CallId(id), process: None, open: false, channels: [].into() }),
        any::<(u64, bool)>().prop_map(|(id, lost)| Header::Cancel { id: CallId(id), lost }),
        ".{0,40}".prop_map(|reason| Header::Close { reason }),
        Just(Header::Synced),
    ];
    let payload = proptest::collection::vec(any::<u8>(), 0..200);
    (header, payload).prop_map(|(header, payload)| Frame::with_payload(header, payload.into()))
}

proptest! {
    #[test]
    fn frames_come_back_however_the_stream_is_split(
        frames in proptest::collection::vec(any_frame(), 1..12),
        pieces in proptest::collection::vec(1usize..90, 1..40),
    ) {
        let mut bytes = BytesMut::new();
        for frame in &frames {
            frame.encode_into(&mut bytes).unwrap();
        }
        let mut bytes: Bytes = bytes.freeze();
        let (mut decoder, mut buffer, mut back) = (Decoder::new(LIMIT), BytesMut::new(), Vec::new());
        let mut pieces = pieces.into_iter().cycle();
        while !bytes.is_empty() {
            let piece = bytes.split_to(pieces.next().unwrap().min(bytes.len()));
            buffer.extend_from_slice(&piece);
            while let Some(frame) = decoder.next(&mut buffer).unwrap() {
                back.push(frame);
            }
        }
        prop_assert_eq!(back, frames);
        prop_assert!(buffer.is_empty());
    }

    #[test]
    fn random_bytes_never_panic_and_never_take_more_than_they_are(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        length in proptest::option::of(0u32..600),
    ) {
        let mut buffer = BytesMut::new();
        if let Some(length) = length {
            buffer.extend_from_slice(&length.to_le_bytes());
        }
        buffer.extend_from_slice(&bytes);
        let (mut decoder, mut taken) = (Decoder::new(LIMIT), 0);
        let all = buffer.len();
        while let Ok(Some(frame)) = decoder.next(&mut buffer) {
            taken += PREFIX_BYTES + frame.payload.len();
            prop_assert!(taken <= all);
        }
    }
}
