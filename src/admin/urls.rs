//! The URLs of the admin's pages without a model.

/// The index of the admin.
pub const INDEX: &str = "/admin/";
/// The login page.
pub const LOGIN: &str = "/admin/login/";
/// The logout URL.
pub const LOGOUT: &str = "/admin/logout/";
