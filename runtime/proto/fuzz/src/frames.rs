//! What comes from a socket, in pieces.

use bytes::{Buf, BufMut, BytesMut};
use daffi_proto::frame::{Decoder, Frame, FrameError};

/// Small, so that the fuzzer meets it.
const MAX_PAYLOAD_BYTES: usize = 4096;

/// Reads frames until there is an error or no more of them; each is written and read again. The first byte says how
/// large the pieces are in which the rest comes.
pub fn run(data: &[u8]) {
    let Some((piece, data)) = data.split_first() else { return };
    let mut buffer = BytesMut::new();
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    for mut piece in data.chunks(usize::from(*piece) + 1) {
        while !piece.is_empty() {
            let mut place = decoder.place(&mut buffer);
            let here = place.remaining_mut().min(piece.len());
            place.put(piece.take(here));
            piece.advance(here);
            match frames(&mut decoder, &mut buffer) {
                Ok(frames) => frames.iter().for_each(reads_back),
                Err(error) => return assert!(!error.to_string().is_empty()),
            }
        }
    }
}

fn frames(decoder: &mut Decoder, buffer: &mut BytesMut) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(buffer)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn reads_back(frame: &Frame) {
    let mut bytes = BytesMut::new();
    frame.encode_into(&mut bytes).expect("a frame that was read is within the limits");
    let mut decoder = Decoder::new(MAX_PAYLOAD_BYTES);
    let again = decoder.next(&mut bytes).expect("what was written is a frame");
    assert_eq!(again.as_ref(), Some(frame));
    assert!(bytes.is_empty());
}
