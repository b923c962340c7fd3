//! What this machine has, as its operating system tells: processor, memory, disks, drivers.
//!
//! Nothing here is remembered: memory and limits change while a program runs. What a system does not
//! tell is `None`. Linux tells all of it, other systems a part.

pub mod cpu;
pub mod disk;
pub mod memory;
pub mod system;
