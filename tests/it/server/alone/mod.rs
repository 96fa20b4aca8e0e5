//! Tests under load. `scripts/test` runs these before all
//! others.

mod ballots;
mod failover;
mod faults;
mod full_disk;
mod memory;
mod rolling;
