//! See [`daffi_proto_fuzz::journal`].

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| daffi_proto_fuzz::journal::run(data));
