//! What proves that nothing was lost: a journal of what clients were told, checkers of such histories, the six invariants
//! of a lab, and the faults under which they must hold.
//!
//! [`journal`] and [`history`] are pure apart from one file. [`verify`] asks the stores and the public surfaces of a lab.
//! [`wire`] is a TCP proxy that breaks connections on purpose; [`chaos`] puts it all together. Nothing here draws a screen.

pub mod chaos;
pub mod history;
pub mod journal;
pub mod verify;
pub mod wire;
