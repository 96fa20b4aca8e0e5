//! The app `auth`: users, passwords, permissions.

pub mod hashers;
pub mod permissions;
pub mod users;
pub mod validators;
