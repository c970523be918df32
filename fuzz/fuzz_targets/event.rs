//! Any bytes as an audit event.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whodid_fuzz::event(bytes);
});
