//! The calls of the booking service.

pub mod book;
pub mod read;
