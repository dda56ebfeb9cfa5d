//! What the binary's subcommands do.
//!
//! | module | holds |
//! |---|---|
//! | [`inspect`] | what a component has, needs and lacks |

pub mod inspect;
