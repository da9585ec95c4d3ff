//! The calls of the worker.

pub mod status;
pub mod submit;
pub mod tasks;
