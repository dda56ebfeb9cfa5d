//! See [`daffi_proto_fuzz::node`].

#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| daffi_proto_fuzz::node::run(data));
