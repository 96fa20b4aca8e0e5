//! What needs the machine to itself: load, and times to keep. `scripts/test` runs these one after the other, before all
//! others.

mod faults;
mod full_disk;
mod memory;
mod rolling;
