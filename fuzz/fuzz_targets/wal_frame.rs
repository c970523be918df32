//! Any bytes as a frame of the write-ahead log.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    whodid_fuzz::wal_frame(bytes);
});
