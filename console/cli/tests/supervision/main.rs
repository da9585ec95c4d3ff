//! The lab as processes: it comes up, survives what dies, and leaves nothing behind however it ends.

mod lab;
mod lives;
mod stores;
