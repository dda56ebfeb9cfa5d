//! The macro that declares typed pointers to callbacks of other processes.

/// Declares functions that stand for callbacks of other processes, with their names on the mesh.
///
/// Each becomes an ordinary function, documentation included, that returns a [`Call`](crate::Call); a modifier makes the
/// call. The Rust types are those that serde maps to the callback's WIT types: `s64` is `i64`, `list<T>` is `Vec<T>` or
/// `&[T]`, `record` is a struct with the fields in the same order, `variant` and `enum` an enum with the cases in the
/// same order, `flags` is [`Flags`](crate::flags::Flags). They are compared with nothing, neither when the guest is compiled
/// nor by the host, which sees bytes: another type that is written alike (`i64` for `u64`, `bool` for `u32`) gives another
/// value and no error. Take them from `daffi-runtime ps --wit`, or import the interface with wit-bindgen, which is checked.
///
/// ```no_run
/// use std::time::Duration;
/// use daffi::{FG, Fg, fetchers};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// pub struct Item { pub name: String, pub price: f64 }
///
/// fetchers! {
///     /// What these items cost.
///     pub fn total(items: &[Item]) -> f64 = "shop:prices/tills#total";
///     /// Empties every till.
///     pub fn close() = "shop:prices/tills#close";
/// }
///
/// let items = [Item { name: "tea".into(), price: 2.5 }];
/// let price = (total(&items) & Fg::timeout(Duration::from_secs(2)))?;
/// (close() & FG.receiver("till-1"))?;
/// # Ok::<(), daffi::CallError>(())
/// ```
#[macro_export]
macro_rules! fetchers {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident ( $($parameter:ident : $type:ty),* $(,)? ) $(-> $result:ty)? = $callback:expr;
    )*) => {$(
        $(#[$attribute])*
        $visibility fn $name($($parameter: $type),*) -> $crate::Call<$crate::__result!($($result)?)> {
            $crate::Arguments::new()$(.with(&$parameter))*.call($callback)
        }
    )*};
}

/// The type of a result, `()` where none is written.
#[doc(hidden)]
#[macro_export]
macro_rules! __result {
    () => {
        ()
    };
    ($result:ty) => {
        $result
    };
}
