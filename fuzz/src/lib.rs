//! The codec of `services/proxy` and the laws its tests check, for libFuzzer.

#[path = "../../services/proxy/src/http1/mod.rs"]
pub mod http1;

#[path = "../../services/proxy/src/http1/tests/laws.rs"]
pub mod laws;
