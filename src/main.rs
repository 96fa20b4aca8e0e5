//! polls
fn main() {}
