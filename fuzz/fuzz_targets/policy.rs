//! Any text as an audit policy.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whodid_fuzz::policy(bytes);
});
