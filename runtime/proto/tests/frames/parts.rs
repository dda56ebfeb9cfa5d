//! Large frames, which go in parts with others between them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use daffi_proto::frame::{Decoder, Frame, FrameError, Header, MIN_PAYLOAD_LIMIT_BYTES, PART_BYTES, Parts};
use daffi_proto::id::CallId;
use proptest::prelude::*;

const LIMIT: usize = MIN_PAYLOAD_LIMIT_BYTES;

fn reply(id: u64, payload: Bytes) -> Frame {
    Frame::with_payload(Header::Reply { id: CallId(id), process: None, open: false, channels: [].into() }, payload)
}

/// A decoder that has read the first frame.
fn decoder() -> Decoder {
    let (mut decoder, mut buffer) = (Decoder::new(LIMIT), BytesMut::new());
    Frame::new(Header::Ping).encode_into(&mut buffer).unwrap();
    decoder.next(&mut buffer).unwrap().unwrap();
    decoder
}

/// The parts, each as it goes over the link.
fn parts(frame: &Frame) -> Vec<Bytes> {
    let mut parts = Parts::of(frame).unwrap();
    let next = || {
        let mut head = BytesMut::new();
        parts.next_into(&mut head).map(|rest| [&head[..], &rest[..]].concat().into())
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn parts_have_their_golden_bytes() {
    let frame = reply(300, vec![7; PART_BYTES + 3].into());
    let parts = parts(&frame);
    assert_eq!(parts.len(), 2);
    // The mark and the length, the length of all, the header, and the payload begins.
    assert_eq!(parts[0][..15], [0x0a, 0, 4, 0x80, 0x09, 0, 4, 0, 0x0e, 0xac, 0x02, 0, 0, 0, 7]);
    assert_eq!(parts[0].len(), 14 + PART_BYTES);
    assert_eq!(parts[1][..], [3, 0, 0, 0x80, 7, 7, 7]);
}

#[test]
fn other_frames_arrive_between_the_parts_and_the_large_one_with_its_last_byte() {
    let large = reply(1, vec![1; 3 * PART_BYTES].into());
    let (mut decoder, mut buffer, mut heard) = (decoder(), BytesMut::new(), Vec::new());
    for (id, part) in parts(&large).into_iter().enumerate() {
        buffer.extend_from_slice(&part[..part.len() - 1]);
        assert_eq!(decoder.next(&mut buffer).unwrap(), None);
        assert_ne!(decoder.unfinished_bytes(&buffer), 0);
        buffer.extend_from_slice(&part[part.len() - 1..]);
        reply(id as u64 + 10, Bytes::from_static(b"small")).encode_into(&mut buffer).unwrap();
        while let Some(frame) = decoder.next(&mut buffer).unwrap() {
            heard.push(frame);
        }
    }
    let small = |id| reply(id, Bytes::from_static(b"small"));
    assert_eq!(heard, [small(10), small(11), large, small(12)]);
    assert_eq!(decoder.unfinished_bytes(&buffer), 0);
}

#[test]
fn what_is_read_of_a_part_goes_to_its_place_at_once() {
    let large = reply(1, vec![1; PART_BYTES + 1000].into());
    let (mut decoder, mut buffer) = (decoder(), BytesMut::new());
    let mut bytes: Bytes = parts(&large).concat().into();
    buffer.extend_from_slice(&bytes.split_to(100));
    assert_eq!(decoder.next(&mut buffer).unwrap(), None);
    let mut read_at_once = 0;
    let frame = loop {
        let mut place = decoder.place(&mut buffer);
        let here = place.remaining_mut().min(bytes.len());
        place.put(bytes.split_to(here.min(5000)));
        read_at_once += usize::from(buffer.is_empty());
        if let Some(frame) = decoder.next(&mut buffer).unwrap() {
            break frame;
        }
    };
    assert_eq!(frame, large);
    assert!(buffer.is_empty() && bytes.is_empty());
    assert!(read_at_once > 50, "{read_at_once}");
}

#[test]
fn parts_that_no_honest_peer_sends_end_the_link() {
    let part = |bytes: u32| ((1 << 31) | bytes).to_le_bytes();
    let first = |bytes: u32, total: u32| [&part(bytes)[..], &total.to_le_bytes()].concat();
    let cases = [
        (first(4, 10), "no bytes"),
        (first(3, 10), "no bytes"),
        (first(15, 10), "more than are left"),
        (first(4, 0), "no bytes"),
        ([&first(6, 10)[..], b"ab", &part(0)].concat(), "no bytes"),
        ([&first(6, 10)[..], b"ab", &part(9)].concat(), "more than are left"),
        (first(PART_BYTES as u32 * 2, u32::MAX), "was announced, the limit is"),
        (first(100, LIMIT as u32 * 2), "was announced, the limit is"),
    ];
    for (bytes, why) in cases {
        let error = decoder().next(&mut BytesMut::from(&bytes[..])).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
    // A link does not begin so.
    let error = Decoder::new(LIMIT).next(&mut BytesMut::from(&first(5, 10)[..])).unwrap_err();
    assert!(matches!(error, FrameError::TooLong { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_frames_come_back_however_they_are_mixed_and_split(
        large in proptest::collection::vec(1usize..800_000, 1..3),
        between in proptest::collection::vec(0usize..4, 1..6),
        pieces in proptest::collection::vec(1usize..200_000, 1..20),
    ) {
        let (mut bytes, mut sent, mut id) = (BytesMut::new(), Vec::new(), 0);
        let mut between = between.into_iter().cycle();
        for (number, size) in large.into_iter().enumerate() {
            let frame = reply(1000 + number as u64, vec![number as u8; size].into());
            let parts = parts(&frame);
            let last = parts.len() - 1;
            for (place, part) in parts.into_iter().enumerate() {
                bytes.extend_from_slice(&part);
                if place == last {
                    sent.push(frame.clone());
                }
                for _ in 0..between.next().unwrap() {
                    id += 1;
                    let small = reply(id, vec![9; id as usize * 100].into());
                    small.encode_into(&mut bytes).unwrap();
                    sent.push(small);
                }
            }
        }
        let (mut decoder, mut buffer, mut back) = (decoder(), BytesMut::new(), Vec::new());
        let mut pieces = pieces.into_iter().cycle();
        while !bytes.is_empty() {
            let mut piece = bytes.split_to(pieces.next().unwrap().min(bytes.len()));
            while !piece.is_empty() {
                let mut place = decoder.place(&mut buffer);
                let here = place.remaining_mut().min(piece.len());
                place.put(piece.copy_to_bytes(here));
                while let Some(frame) = decoder.next(&mut buffer).unwrap() {
                    back.push(frame);
                }
            }
        }
        prop_assert_eq!(back, sent);
        prop_assert_eq!(decoder.unfinished_bytes(&buffer), 0);
    }
}
