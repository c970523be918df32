//! Any bytes as a file of a transparency log.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whodid_fuzz::tlog(bytes);
});
