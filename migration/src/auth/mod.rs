//! The migrations of Django's `auth` app.

mod m0001_initial;
mod m0002_alter_permission_name_max_length;
mod m0003_alter_user_email_max_length;
mod m0004_alter_user_username_opts;
mod m0005_alter_user_last_login_null;
mod m0006_require_contenttypes_0002;
mod m0007_alter_validators_add_error_messages;
mod m0008_alter_user_username_max_length;
mod m0009_alter_user_last_name_max_length;
mod m0010_alter_group_name_max_length;
mod m0011_update_proxy_permissions;
mod m0012_alter_user_first_name_max_length;

use crate::Migration;

/// In the order of their numbers.
pub const MIGRATIONS: &[Migration] = &[
    m0001_initial::MIGRATION,
    m0002_alter_permission_name_max_length::MIGRATION,
    m0003_alter_user_email_max_length::MIGRATION,
    m0004_alter_user_username_opts::MIGRATION,
    m0005_alter_user_last_login_null::MIGRATION,
    m0006_require_contenttypes_0002::MIGRATION,
    m0007_alter_validators_add_error_messages::MIGRATION,
    m0008_alter_user_username_max_length::MIGRATION,
    m0009_alter_user_last_name_max_length::MIGRATION,
    m0010_alter_group_name_max_length::MIGRATION,
    m0011_update_proxy_permissions::MIGRATION,
    m0012_alter_user_first_name_max_length::MIGRATION,
];
