//! The calls of the exercise service.

pub mod data;
pub mod process;
