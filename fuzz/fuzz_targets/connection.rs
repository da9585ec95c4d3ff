//! A whole stream of pipelined requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::laws::connection(bytes));
