//! Guests that return anything at all, and bytes that are no values: errors, never a panic.

use proptest::prelude::*;
use wasmtime::{StoreLimitsBuilder, Trap};

use super::guest::{ENCODINGS, sync_guest};
use super::types::{Ty, any_type};
use super::values::{Random, value};
use super::{Guest, SYNC, compile, run};
use crate::guest::transcode::TranscodeError;

/// Words that are often a pointer, a length or a discriminant, and sometimes anything.
fn image(random: &mut Random) -> Vec<u8> {
    let mut word = || match random.below(8) {
        0 => 0,
        1 => random.next() as u32,
        2 => 1 << random.below(32),
        3 => random.below(70_000) as u32,
        4 => random.below(1024) as u32 & !7,
        _ => random.below(5) as u32,
    };
    (0..256).flat_map(|_| word().to_le_bytes()).collect()
}

fn arguments(image: &[u8], at: u32) -> Vec<u8> {
    postcard::to_stdvec(&(image, at)).unwrap()
}

proptest! {
    #[test]
    fn whatever_a_guest_returns_is_refused_or_taken_as_wasmtime_does(
        ty in any_type(), seed: u64, encoding in 0_usize..3,
    ) {
        run(async {
            let component = compile(&SYNC, &sync_guest(&ty, ENCODINGS[encoding]));
            let mut random = Random::new(seed);
            for _ in 0..12 {
                let at = match random.below(4) {
                    0 => random.next() as u32,
                    1 => 65_536 - random.below(64) as u32,
                    _ => random.below(900) as u32 & !7,
                };
                let args = arguments(&image(&mut random), at);
                let mut guest = Guest::of(&SYNC, &component).await;
                guest.store.set_hostcall_fuel(1 << 20);
                let ours = guest.call("hostile", &args).await;
                if let Err(error) = &ours && is_too_large(error) {
                    continue;
                }
                let mut guest = Guest::of(&SYNC, &component).await;
                guest.store.set_hostcall_fuel(256 << 20);
                let theirs = guest.call_val("hostile", &args).await;
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
                    (Err(_), Err(_)) => {}
                    (ours, theirs) => panic!("ours {ours:?}, wasmtime's {theirs:?}"),
                }
            }
        });
    }

    #[test]
    fn bytes_that_are_no_value_are_refused_by_both_ways(ty in any_type(), seed: u64, encoding in 0_usize..3) {
        run(async {
            let component = compile(&SYNC, &sync_guest(&ty, ENCODINGS[encoding]));
            let mut random = Random::new(seed);
            for _ in 0..12 {
                let mut bytes = value(&ty, &mut random);
                match random.below(4) {
                    0 => bytes.truncate(random.below(bytes.len())),
                    1 => bytes.push(random.next() as u8),
                    _ => {
                        let at = random.below(bytes.len());
                        bytes[at] = random.next() as u8;
                    }
                }
                let ours = Guest::of(&SYNC, &component).await.call("relay", &bytes).await;
                let theirs = Guest::of(&SYNC, &component).await.call_val("relay", &bytes).await;
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
                    (Err(_), Err(_)) => {}
                    (ours, theirs) => panic!("{bytes:x?}: ours {ours:?}, wasmtime's {theirs:?}"),
                }
            }
        });
    }
}

fn is_too_large(error: &wasmtime::Error) -> bool {
    matches!(error.downcast_ref(), Some(TranscodeError::TooLarge { .. }))
}

/// What `hostile` of a type makes of words at 0.
async fn returns(ty: &Ty, words: &[u32]) -> wasmtime::Result<bytes::Bytes> {
    let image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut guest = Guest::new(&SYNC, &sync_guest(ty, "utf8")).await;
    guest.call("hostile", &arguments(&image, 0)).await
}

#[test]
fn a_bad_value_is_an_error_that_names_its_place() {
    run(async {
        let item = Ty::Record(vec![Ty::U32, Ty::Option(Box::new(Ty::Char))]);
        let ty = Ty::Tuple(vec![Ty::U8, Ty::List(Box::new(item))]);
        // The list is at 16 and has two items; the second one's char is a surrogate.
        let words = [0, 16, 2, 0, 7, 1, 0x61, 8, 1, 0xd800];
        let error = returns(&ty, &words).await.unwrap_err();
        let Some(TranscodeError::BadGuestValue { path, problem }) = error.downcast_ref() else { panic!("{error:?}") };
        assert_eq!((&path[..], &problem[..]), ("0.1[1].f1.some", "0xd800 is no char"));
    });
}

#[test]
fn booleans_and_flags_from_a_guest_are_made_clean() {
    run(async {
        let ty = Ty::Record(vec![Ty::Bool, Ty::Flags(3), Ty::Flags(20)]);
        let result = returns(&ty, &[0xff80, u32::MAX]).await.unwrap();
        assert_eq!(result, [1_u8, 0b111, 0xff, 0xff, 0x0f][..]);
    });
}

#[test]
fn a_pointer_that_is_not_aligned_is_refused() {
    run(async {
        let ty = Ty::List(Box::new(Ty::U32));
        assert!(returns(&ty, &[4, 0]).await.is_ok());
        let error = returns(&ty, &[6, 0]).await.unwrap_err();
        assert!(error.to_string().contains("aligned"), "{error:?}");
    });
}

#[test]
fn a_trap_in_the_guests_allocator_keeps_its_trap_code() {
    run(async {
        let mut guest = Guest::new(&SYNC, &sync_guest(&Ty::String, "utf8")).await;
        // Its memory may not grow, which its allocator meets with `unreachable`.
        guest.store.data_mut().limits = StoreLimitsBuilder::new().memory_size(65_536).build();
        guest.store.limiter(|host| &mut host.limits);
        let error = guest.call("relay", &postcard::to_stdvec(&"x".repeat(100_000)).unwrap()).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached), "{error:?}");
    });
}
