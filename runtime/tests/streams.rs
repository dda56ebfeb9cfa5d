//! Streams and futures between a real guest (`guests/fixtures/streams`) and the transcoder, without a mesh: what flows
//! in and out, how it ends, and what an item costs; and with a mesh, whose other side keeps no rules.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as tests do")]

#[path = "streams/ends.rs"]
mod ends;
#[path = "streams/guest.rs"]
mod guest;
#[path = "streams/imports.rs"]
mod imports;
#[path = "streams/items.rs"]
mod items;
#[path = "streams/mesh.rs"]
mod mesh;
#[path = "streams/speed.rs"]
mod speed;
