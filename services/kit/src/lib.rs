//! What every service stands on; it knows no service.

pub mod topology;
pub use topology::Topology;
