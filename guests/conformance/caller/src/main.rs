//! Calls every function of `values` with edge values and compares: through typed imports, then through those whose
//! failures are values, then by name in each of the three encodings.

#[path = "../../check.rs"]
mod check;
#[path = "../../inputs.rs"]
mod inputs;
#[path = "../../samples.rs"]
mod samples;

wit_bindgen::generate!({
    world: "caller",
    path: "../wit",
    with: { "daffi:runtime/types@0.1.0": daffi::types },
    additional_derives: [PartialEq],
});

mod by_name;

use std::time::Duration;

use check::Checks;
use test::conformance::types::*;
use test::conformance::{values, values_checked};

same! {
    Vec<Item>, Mixed, Color, ManyCases, Shape, OneFlag, EightFlags, NineFlags, SeventeenFlags, ThirtyTwoFlags, Nested, Params,
}

/// One check: the function gives back each of the inputs.
macro_rules! echoes {
    ($checks:ident: $($function:ident($inputs:expr) by $how:expr;)*) => {$(
        $checks.echoed(
            &stringify!($function).replace('_', "-"),
            $inputs.into_iter().map(|sent| {
                let got = ($how)(&sent);
                (sent, got)
            }),
        );
    )*};
}

fn main() {
    // A callee in a language with a large runtime is compiled for a long time before it comes.
    if let Err(error) = daffi::mesh::wait_callback("make", Duration::from_secs(180)) {
        println!("WRONG: {error}");
        std::process::exit(1);
    }
    let mut checks = Checks::default();
    without_values(&mut checks);
    primitives(&mut checks);
    lists(&mut checks);
    compounds(&mut checks);
    flags(&mut checks);
    many_params(&mut checks);
    what_the_callee_sees(&mut checks);
    checked(&mut checks);
    by_name::check(&mut checks);
    if !checks.end() {
        std::process::exit(1);
    }
}

fn without_values(checks: &mut Checks) {
    checks.echoed("nothing", [((), values::nothing())]);
    checks.echoed("no-result", [((), values::no_result("text"))]);
    checks.echoed("no-params", [(inputs::u64(u64::MAX), values::no_params())]);
}

fn primitives(checks: &mut Checks) {
    echoes! { checks:
        echo_bool([false, true]) by |v: &_| values::echo_bool(*v);
        echo_s8([0, 1, -1, i8::MIN, i8::MAX]) by |v: &_| values::echo_s8(*v);
        echo_u8([0, 127, 128, u8::MAX]) by |v: &_| values::echo_u8(*v);
        echo_s16([0, -1, 63, 64, i16::MIN, i16::MAX]) by |v: &_| values::echo_s16(*v);
        echo_u16([0, 127, 128, u16::MAX]) by |v: &_| values::echo_u16(*v);
        echo_s32([0, -1, i32::MIN, i32::MAX]) by |v: &_| values::echo_s32(*v);
        echo_u32([0, 1 << 31, u32::MAX]) by |v: &_| values::echo_u32(*v);
        echo_s64(inputs::longs()) by |v: &_| values::echo_s64(*v);
        echo_u64([0, 1 << 53, (1 << 53) + 1, 1 << 63, u64::MAX].map(inputs::u64)) by |v: &_| values::echo_u64(*v);
        echo_f32([0.0, -0.0, 0.1, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, f32::NAN]) by |v: &_| values::echo_f32(*v);
        echo_f64(inputs::F64) by |v: &_| values::echo_f64(*v);
        echo_char(['\0', 'a', 'ß', '\u{d7ff}', '\u{e000}', '🦀', char::MAX]) by |v: &_| values::echo_char(*v);
        echo_string(inputs::strings()) by |v: &String| values::echo_string(v);
    }
}

fn lists(checks: &mut Checks) {
    echoes! { checks:
        echo_bytes(inputs::bytes()) by |v: &Vec<_>| values::echo_bytes(v);
        echo_strings([vec![], inputs::strings()]) by |v: &Vec<_>| values::echo_strings(v);
        echo_doubles([vec![], inputs::F64.to_vec(), vec![0.1; 1000]]) by |v: &Vec<_>| values::echo_doubles(v);
        echo_longs([vec![], inputs::longs()]) by |v: &Vec<_>| values::echo_longs(v);
        echo_bools([vec![], vec![true, false, true]]) by |v: &Vec<_>| values::echo_bools(v);
        echo_options([vec![], vec![None, Some(0), Some(255), None]]) by |v: &Vec<_>| values::echo_options(v);
        echo_results([vec![], vec![Ok(1), Err("bad".into()), Ok(255)]]) by |v: &Vec<_>| values::echo_results(v);
        echo_lists([vec![], vec![vec![]], vec![vec![1, -1], vec![], vec![i16::MIN; 200]]]) by |v: &Vec<_>| values::echo_lists(v);
        echo_items(inputs::items()) by |v: &Vec<_>| values::echo_items(v);
    }
}

fn compounds(checks: &mut Checks) {
    let cases = [ManyCases::C0, ManyCases::C127, ManyCases::C128, ManyCases::C255, ManyCases::C256, ManyCases::C299];
    echoes! { checks:
        echo_tuple([(0, String::new(), 0.0), (255, "text".into(), -1.5)]) by |v: &(u8, String, f64)| values::echo_tuple((v.0, &v.1, v.2));
        echo_mixed(inputs::mixeds()) by |v: &_| values::echo_mixed(v);
        echo_color([Color::Red, Color::Green, Color::Blue]) by |v: &_| values::echo_color(*v);
        echo_many_cases(cases) by |v: &_| values::echo_many_cases(*v);
        echo_shape(inputs::shapes()) by |v: &_| values::echo_shape(v);
        echo_option([None, Some(0), Some(u32::MAX)]) by |v: &_| values::echo_option(*v);
        echo_text_option([None, Some(String::new()), Some("text".into())]) by |v: &Option<String>| values::echo_text_option(v.as_deref());
        echo_nested_option([None, Some(None), Some(Some(0)), Some(Some(7))]) by |v: &_| values::echo_nested_option(*v);
        echo_result(inputs::results()) by |v: &Result<String, u32>| values::echo_result(v.as_deref().map_err(|e| *e));
        echo_result_ok([Ok(0), Ok(255), Err(())]) by |v: &_| values::echo_result_ok(*v);
        echo_result_err([Ok(()), Err(String::new()), Err("bad".into())]) by |v: &Result<(), String>| values::echo_result_err(v.as_ref().map(|_| ()).map_err(|e| e.as_str()));
        echo_result_none([Ok(()), Err(())]) by |v: &_| values::echo_result_none(*v);
        echo_nested(inputs::nesteds()) by |v: &_| values::echo_nested(v);
    }
}

fn flags(checks: &mut Checks) {
    let eight = (0..=255).map(EightFlags::from_bits_retain);
    let nine = (0..9).map(|bit| NineFlags::from_bits_retain(1 << bit));
    let thirty_two = (0..32).map(|bit| ThirtyTwoFlags::from_bits_retain(1 << bit));
    echoes! { checks:
        echo_one_flag([OneFlag::empty(), OneFlag::F0]) by |v: &_| values::echo_one_flag(*v);
        echo_eight_flags(eight) by |v: &_| values::echo_eight_flags(*v);
        echo_nine_flags(nine.chain([NineFlags::empty(), NineFlags::all()])) by |v: &_| values::echo_nine_flags(*v);
        echo_seventeen_flags(inputs::seventeen_flags()) by |v: &_| values::echo_seventeen_flags(*v);
        echo_thirty_two_flags(thirty_two.chain([ThirtyTwoFlags::empty(), ThirtyTwoFlags::all()])) by |v: &_| values::echo_thirty_two_flags(*v);
    }
}

fn many_params(checks: &mut Checks) {
    let sent = inputs::params();
    let Params { a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t } = &sent;
    let got = values::many_params(*a, *b, *c, d, *e, *f, *g, *h, i, *j, *k, *l, *m, *n, *o, p, q, *r, *s, *t);
    checks.echoed("many-params", [(sent, got)]);
}

fn what_the_callee_sees(checks: &mut Checks) {
    let described = |v| (samples::described(&v), values::describe(&v));
    checks.echoed("describe", inputs::mixeds().into_iter().map(described));
    checks.echoed("make", [(samples::made(), values::make())]);
}

/// The same functions where the import says `result<T, call-error>`.
fn checked(checks: &mut Checks) {
    checks.echoed("checked nothing", [(Ok(()), values_checked::nothing())]);
    checks.echoed("checked echo-s64", inputs::longs().into_iter().map(|v| (Ok(v), values_checked::echo_s64(v))));
    checks.echoed(
        "checked echo-string",
        inputs::strings().into_iter().map(|v| {
            let got = values_checked::echo_string(&v);
            (Ok(v), got)
        }),
    );
    checks.echoed(
        "checked echo-mixed",
        inputs::mixeds().into_iter().map(|v| {
            let got = values_checked::echo_mixed(&v);
            (Ok(v), got)
        }),
    );
    checks.echoed(
        "checked echo-result",
        inputs::results().into_iter().map(|v| {
            let got = values_checked::echo_result(v.as_deref().map_err(|e| *e));
            (Ok(v), got)
        }),
    );
}

impl<T: PartialEq> check::Same for Result<T, daffi::CallError> {
    fn same(&self, other: &Self) -> bool {
        self == other
    }
}
