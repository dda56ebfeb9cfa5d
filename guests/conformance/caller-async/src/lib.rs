//! Calls every function of `values-async` with edge values and compares: one by one, then all at once.

#[path = "../../check.rs"]
mod check;
#[path = "../../inputs.rs"]
mod inputs;
#[path = "../../samples.rs"]
mod samples;

wit_bindgen::generate!({
    world: "caller-async",
    path: "../wit",
    generate_all,
    additional_derives: [PartialEq],
});

use std::time::Duration;

use check::Checks;
use test::conformance::types::*;
use test::conformance::values_async as values;

same! { Vec<Item>, Mixed, Shape, SeventeenFlags, Nested, Params }

struct Caller;

/// One check: the function gives back each of the inputs.
macro_rules! echoes {
    ($checks:ident: $($function:ident($inputs:expr);)*) => {$(
        let mut pairs = Vec::new();
        for sent in $inputs {
            let got = values::$function(sent.clone()).await;
            pairs.push((sent, got));
        }
        $checks.echoed(&stringify!($function).replace('_', "-"), pairs);
    )*};
}

impl exports::wasi::cli::run::Guest for Caller {
    async fn run() -> Result<(), ()> {
        // A callee in a language with a large runtime is compiled for a long time before it comes.
        if let Err(error) = daffi::mesh::wait_callback("make", Duration::from_secs(180)) {
            println!("WRONG: {error}");
            return Err(());
        }
        let mut checks = Checks::default();
        checks.echoed("nothing", [((), values::nothing().await)]);
        checks.echoed("no-result", [((), values::no_result("text".into()).await)]);
        checks.echoed("no-params", [(inputs::u64(u64::MAX), values::no_params().await)]);
        echoes! { checks:
            echo_bool([false, true]);
            echo_s64(inputs::longs());
            echo_f64(inputs::F64);
            echo_string(inputs::strings());
            echo_bytes(inputs::bytes());
            echo_items(inputs::items());
            echo_mixed(inputs::mixeds());
            echo_shape(inputs::shapes());
            echo_result(inputs::results());
            echo_seventeen_flags(inputs::seventeen_flags());
            echo_nested(inputs::nesteds());
        }
        many_params(&mut checks).await;
        what_the_callee_sees(&mut checks).await;
        at_once(&mut checks).await;
        if checks.end() { Ok(()) } else { Err(()) }
    }
}

export!(Caller);

async fn many_params(checks: &mut Checks) {
    let sent = inputs::params();
    let Params { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t } = sent.clone();
    let got = values::many_params(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t).await;
    checks.echoed("many-params", [(sent, got)]);
}

async fn what_the_callee_sees(checks: &mut Checks) {
    let mut pairs = Vec::new();
    for v in inputs::mixeds() {
        pairs.push((samples::described(&v), values::describe(v).await));
    }
    checks.echoed("describe", pairs);
    checks.echoed("make", [(samples::made(), values::make().await)]);
}

/// Many calls on the way at a time: no answer goes to the wrong one.
async fn at_once(checks: &mut Checks) {
    let sent: Vec<i64> = (0..200).collect();
    let got = futures::future::join_all(sent.iter().map(|v| values::echo_s64(*v))).await;
    checks.echoed("two hundred calls at once", sent.into_iter().zip(got));
}
