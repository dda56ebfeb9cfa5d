//! Frames on the wire.
//!
//! | module | shows |
//! |---|---|
//! | `golden` | the bytes of every header, and of the payloads that the protocol itself reads |
//! | `decoder` | frames out of streams of bytes, whole, split, malformed, random |
//! | `parts` | large frames in parts, with others between them |

#[cfg(test)]
mod decoder;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod parts;
