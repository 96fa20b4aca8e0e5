//! The app `auth`: users, passwords, permissions, logging in.

pub mod admin;
pub mod hashers;
pub mod hashing;
pub mod login;
pub mod permissions;
pub mod throttle;
pub mod users;
pub mod validators;
