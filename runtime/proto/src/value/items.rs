//! The items of a stream whose type is known at run time: from values in any encoding to chunks of the mesh, and back.
//!
//! Invariant: what is encoded is an item of the stream's type, and what is decoded was checked by that type on the way,
//! since it comes from another machine.

use bytes::Bytes;

use super::{Channel, Encoded, Encoding, Limits, UNIT_ITEM, ValueError, first_args};
use crate::signature::{Def, DefKind, Field, Signature, Type};
use crate::stream::Chunk;

/// Most bytes of the length of a list.
const MAX_LENGTH_BYTES: usize = 5;

/// Most characters of a byte in a list as text: `255, `.
const MAX_TEXT_OF_BYTE: usize = 5;

/// What the items of one stream are.
#[derive(Debug)]
pub struct Items {
    kind: Kind,
    limits: Limits,
}

#[derive(Debug)]
enum Kind {
    /// Values of one type: it is the only parameter, and the result, of a function that does not exist.
    Values(Signature),
    /// The arguments of this function, one call an item.
    Arguments(Signature),
    /// Pieces of a stream of bytes: each is a `list<u8>`, the parameter and result of a function that does not exist.
    Pieces(Signature),
    /// Nothing: an item says only that it is there.
    Units,
}

impl Items {
    /// Those of a stream or future in a value of this signature.
    pub fn of_channel(signature: &Signature, channel: &Channel, limits: Limits) -> Self {
        let kind = match channel {
            Channel::Stream(Some(Type::U8)) => Kind::Pieces(bytes()),
            Channel::Stream(Some(item)) | Channel::Future(Some(item)) => Kind::Values(only(signature, *item)),
            Channel::Stream(None) | Channel::Future(None) => Kind::Units,
        };
        Self { kind, limits }
    }

    /// Those that a callback which is called once an item takes.
    pub fn of_calls(signature: &Signature, limits: Limits) -> Self {
        let kind = match signature.params.as_slice() {
            [] => Kind::Units,
            [only_one] => Kind::Values(only(signature, only_one.ty)),
            _ => Kind::Arguments(signature.clone()),
        };
        Self { kind, limits }
    }

    /// Those that a callback which is called once an item gives.
    pub fn of_results(signature: &Signature, limits: Limits) -> Self {
        let kind = signature.result.map_or(Kind::Units, |item| Kind::Values(only(signature, item)));
        Self { kind, limits }
    }

    /// An item, or a piece of bytes, as the mesh has it.
    ///
    /// # Errors
    /// It is not of the stream's type, or too large.
    pub fn encode(&self, item: Encoded) -> Result<Bytes, ValueError> {
        match &self.kind {
            Kind::Values(signature) => item.into_result(signature, &self.limits),
            Kind::Arguments(signature) => item.into_args(signature, &self.limits),
            Kind::Pieces(signature) => Ok(without_length(item.into_result(signature, &self.limits)?)),
            Kind::Units => item.into_unit(),
        }
    }

    /// Whether they have no value, so that each says only that it is there.
    pub fn are_units(&self) -> bool {
        matches!(self.kind, Kind::Units)
    }

    /// Takes so many items at most off a chunk, in this encoding.
    ///
    /// # Errors
    /// What comes next is no item of the stream's type.
    pub fn decode(&self, chunk: &mut Chunk, most: u32, encoding: Encoding) -> Result<Vec<Encoded>, ValueError> {
        let most = most.clamp(1, chunk.count);
        match &self.kind {
            Kind::Pieces(signature) => {
                // A piece is a value, and has room for its length, or is a text.
                let Limits { max_bytes, max_text_bytes, .. } = self.limits;
                let most = max_bytes.saturating_sub(MAX_LENGTH_BYTES).min(max_text_bytes / MAX_TEXT_OF_BYTE).max(1);
                let piece = chunk.bytes.split_to(most.min(chunk.bytes.len()));
                chunk.count = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
                let piece = with_length(&piece);
                Ok(vec![Encoded::of_result(signature, piece, encoding, &self.limits)?])
            }
            Kind::Values(signature) | Kind::Arguments(signature) => (0..most)
                .map(|_| {
                    let length = first_args(signature, &chunk.bytes, &self.limits)?;
                    chunk.count -= 1;
                    let bytes = chunk.bytes.split_to(length);
                    let item = Encoded::of_result(signature, bytes, encoding, &self.limits)?;
                    left_over(chunk).map(|()| item)
                })
                .collect(),
            Kind::Units => {
                let all = usize::try_from(chunk.count).unwrap_or(usize::MAX);
                if chunk.bytes.len() != all || chunk.bytes.iter().any(|byte| [*byte] != UNIT_ITEM) {
                    return Err(ValueError::new("expected items without a value"));
                }
                chunk.count -= most;
                let taken = usize::try_from(most).unwrap_or(usize::MAX).min(all);
                chunk.bytes = chunk.bytes.slice(taken..);
                Ok((0..most).map(|_| Encoded::nothing(encoding)).collect())
            }
        }
    }
}

/// A function whose only parameter and result are of this type.
fn only(signature: &Signature, item: Type) -> Signature {
    let params = vec![Field { name: "item".to_owned(), ty: item }];
    Signature { defs: signature.defs.clone(), params, result: Some(item), is_async: false }
}

fn bytes() -> Signature {
    let defs = vec![Def { name: None, kind: DefKind::List(Type::U8) }];
    only(&Signature { defs, params: Vec::new(), result: None, is_async: false }, Type::Def(0))
}

/// The bytes of a list of bytes, without the varint of their number.
fn without_length(list: Bytes) -> Bytes {
    let length = list.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    list.slice(length.min(list.len())..)
}

fn with_length(bytes: &[u8]) -> Bytes {
    let mut list = Vec::with_capacity(bytes.len() + MAX_LENGTH_BYTES);
    let mut length = bytes.len();
    while length >= 0x80 {
        list.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    list.push(u8::try_from(length).unwrap_or(0));
    list.extend_from_slice(bytes);
    list.into()
}

/// A chunk is as many items as it says.
fn left_over(chunk: &Chunk) -> Result<(), ValueError> {
    match chunk.count == 0 && !chunk.bytes.is_empty() {
        true => Err(ValueError::new(format!("{} bytes are left over after the last item", chunk.bytes.len()))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SignatureBuilder;

    fn json(text: &str) -> Encoded {
        Encoded::Json(text.to_owned())
    }

    /// A function of two parameters that gives a string.
    fn signature() -> Signature {
        SignatureBuilder::new().function([("n", Type::U8), ("s", Type::String)], Some(Type::String)).unwrap()
    }

    fn texts(items: Vec<Encoded>) -> Vec<String> {
        let text = |item| match item {
            Encoded::Json(text) | Encoded::Wave(text) => text,
            Encoded::Postcard(bytes) => format!("{:?}", bytes.as_ref()),
        };
        items.into_iter().map(text).collect()
    }

    #[test]
    fn items_are_encoded_by_their_type_and_come_back_in_any_encoding_some_at_a_time() {
        let items = Items::of_results(&signature(), Limits::default());
        let three = [json("\"a\""), Encoded::Wave("\"bc\"".to_owned()), Encoded::Postcard(vec![1, b'd'].into())];
        let bytes = three.map(|item| items.encode(item).unwrap()).concat();
        let mut chunk = Chunk { count: 3, bytes: bytes.into() };
        assert_eq!(texts(items.decode(&mut chunk, 2, Encoding::Json).unwrap()), ["\"a\"", "\"bc\""]);
        assert_eq!(texts(items.decode(&mut chunk, 2, Encoding::Postcard).unwrap()), ["[1, 100]"]);
        assert_eq!(chunk, Chunk { count: 0, bytes: Bytes::new() });
        for wrong in [json("5"), Encoded::Postcard(vec![2, b'd'].into()), Encoded::Wave("'d'".to_owned())] {
            assert!(items.encode(wrong).is_err());
        }
    }

    #[test]
    fn an_item_of_several_parameters_is_the_arguments_of_a_call_and_of_none_nothing() {
        let calls = Items::of_calls(&signature(), Limits::default());
        assert_eq!(calls.encode(json(r#"{"s": "x", "n": 7}"#)).unwrap().as_ref(), [7, 1, b'x']);
        assert!(calls.encode(json("[7]")).is_err());
        let units = Items::of_calls(&SignatureBuilder::new().function([], None).unwrap(), Limits::default());
        for unit in [json("null"), Encoded::Wave("()".to_owned()), Encoded::Postcard(Bytes::new())] {
            assert_eq!(units.encode(unit).unwrap(), UNIT_ITEM);
        }
        assert!(units.encode(json("1")).is_err());
        let mut chunk = Chunk { count: 3, bytes: Bytes::from_static(&[0, 0, 0]) };
        assert_eq!(texts(units.decode(&mut chunk, 2, Encoding::Json).unwrap()), ["null", "null"]);
        assert_eq!(chunk, Chunk { count: 1, bytes: Bytes::from_static(&[0]) });
    }

    #[test]
    fn bytes_come_and_go_in_pieces() {
        let channel = Channel::Stream(Some(Type::U8));
        let items = Items::of_channel(&signature(), &channel, Limits::default());
        assert_eq!(items.encode(json("[1, 2, 3]")).unwrap().as_ref(), [1, 2, 3]);
        let long = vec![9; 300];
        let mut chunk = Chunk { count: 300, bytes: long.clone().into() };
        let [Encoded::Postcard(piece)] = &items.decode(&mut chunk, 1, Encoding::Postcard).unwrap()[..] else {
            panic!("one piece")
        };
        assert_eq!(items.encode(Encoded::Postcard(piece.clone())).unwrap(), long);
    }

    #[test]
    fn limits_are_those_of_an_item_and_not_of_a_chunk() {
        let limits = Limits::for_payload(100);
        let values = Items::of_results(&signature(), limits);
        let texts = [60, 70].map(|length| json(&format!("{:?}", "x".repeat(length))));
        let mut chunk = Chunk { count: 2, bytes: texts.map(|text| values.encode(text).unwrap()).concat().into() };
        assert_eq!(values.decode(&mut chunk, 2, Encoding::Json).unwrap().len(), 2);
        let large = [&[100][..], &[b'x'; 100]].concat();
        let error = values.decode(&mut Chunk { count: 1, bytes: large.into() }, 1, Encoding::Json).unwrap_err();
        assert!(error.is_too_large() && error.to_string().contains("101 bytes"), "{error}");

        let bytes = Items::of_channel(&signature(), &Channel::Stream(Some(Type::U8)), limits);
        let mut chunk = Chunk { count: 250, bytes: vec![9; 250].into() };
        let mut pieces = Vec::new();
        while chunk.count > 0 {
            let items = bytes.decode(&mut chunk, 1, Encoding::Postcard).unwrap();
            pieces.extend(items.into_iter().map(|piece| bytes.encode(piece).unwrap().len()));
        }
        assert_eq!(pieces, [80, 80, 80, 10]);
        for encoding in [Encoding::Json, Encoding::Wave] {
            let mut chunk = Chunk { count: 100, bytes: vec![255; 100].into() };
            assert_eq!(bytes.decode(&mut chunk, 1, encoding).unwrap().len(), 1);
            assert_eq!(chunk.count, 20);
        }
    }

    #[test]
    fn chunks_that_are_not_what_they_say_are_refused() {
        let items = Items::of_results(&signature(), Limits::default());
        for (count, bytes) in [(2, &[1, b'a'][..]), (1, &[1, b'a', 1, b'b']), (1, &[1, 0xff])] {
            let mut chunk = Chunk { count, bytes: Bytes::copy_from_slice(bytes) };
            assert!(items.decode(&mut chunk, 9, Encoding::Wave).is_err(), "{count} in {bytes:?}");
        }
    }
}
