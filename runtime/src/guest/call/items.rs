//! The items of a dynamic stream, as a guest has them.

use bytes::Bytes;
use daffi_proto::signature::Signature;
use daffi_proto::stream::Chunk;
use daffi_proto::value::{self, Channel, Encoded, Encoding, Limits as ValueLimits, ValueError};

use super::types;

/// What the items of one stream are.
pub(super) struct Items(value::Items);

impl Items {
    /// Those of a stream or future in a value of this signature.
    pub fn of_channel(signature: &Signature, channel: &Channel, limits: ValueLimits) -> Self {
        Self(value::Items::of_channel(signature, channel, limits))
    }

    /// Those that a callback which is called once an item takes.
    pub fn of_calls(signature: &Signature, limits: ValueLimits) -> Self {
        Self(value::Items::of_calls(signature, limits))
    }

    /// Those that a callback which is called once an item gives.
    pub fn of_results(signature: &Signature, limits: ValueLimits) -> Self {
        Self(value::Items::of_results(signature, limits))
    }

    /// An item, or a piece of bytes, as the mesh has it.
    ///
    /// # Errors
    /// It is not of the stream's type, or too large.
    pub fn encode(&self, item: types::Value) -> Result<Bytes, ValueError> {
        self.0.encode(item.into())
    }

    /// Takes so many items at most off a chunk, in this encoding.
    ///
    /// # Errors
    /// What comes next is no item of the stream's type.
    pub fn decode(&self, chunk: &mut Chunk, most: u32, encoding: Encoding) -> Result<Vec<types::Value>, ValueError> {
        Ok(self.0.decode(chunk, most, encoding)?.into_iter().map(types::Value::from).collect())
    }
}

/// What stands for no value at all.
pub(super) fn nothing(encoding: Encoding) -> types::Value {
    Encoded::nothing(encoding).into()
}

impl From<types::Value> for Encoded {
    fn from(value: types::Value) -> Self {
        match value {
            types::Value::Postcard(bytes) => Self::Postcard(bytes.into()),
            types::Value::Json(text) => Self::Json(text),
            types::Value::Wave(text) => Self::Wave(text),
        }
    }
}

impl From<Encoded> for types::Value {
    fn from(encoded: Encoded) -> Self {
        match encoded {
            Encoded::Postcard(bytes) => Self::Postcard(bytes.into()),
            Encoded::Json(text) => Self::Json(text),
            Encoded::Wave(text) => Self::Wave(text),
        }
    }
}
