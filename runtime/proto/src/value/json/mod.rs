//! JSON from and to postcard, led by the type.
//!
//! | WIT | JSON |
//! |---|---|
//! | arguments | an array, or an object by parameter name |
//! | integers | numbers; `u64` and `s64` beyond ±2^53 as decimal strings, which are taken for every integer |
//! | floats | numbers, `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | `char`, `string` | strings |
//! | `list<u8>` | base64; an array is taken, too |
//! | `list`, `tuple`, `flags` (those that are set) | arrays |
//! | `record` | an object; what is `none` may be left out |
//! | `option` | `null` or the value; an option of an option is `null` or `{"some": …}` |
//! | `enum` | its case, a string |
//! | `variant` | `"case"` or `{"case": value}` |
//! | `result` | `{"ok": value}` or `{"err": value}`, with `null` where there is no payload |
//! | no result | `null` |

mod names;
mod read;
mod visit;
mod write;

pub use self::read::{args_from_json, result_from_json};
pub use self::write::{args_to_json, result_to_json};
