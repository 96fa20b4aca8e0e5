//! The addresses of the admin that belong to no model.

/// The index of the admin.
pub const INDEX: &str = "/admin/";
/// Where one logs in.
pub const LOGIN: &str = "/admin/login/";
/// Where one logs out.
pub const LOGOUT: &str = "/admin/logout/";
