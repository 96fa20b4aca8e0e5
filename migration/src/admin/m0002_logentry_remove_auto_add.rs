//! `action_time` has a default instead of `auto_now`, so that it can be set.

use crate::{Default, Field, Kind, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "admin",
    name: "0002_logentry_remove_auto_add",
    initial: false,
    dependencies: &[("admin", "0001_initial")],
    operations: &[Operation::AlterField {
        model: "logentry",
        field: Field::new("action_time", Kind::DateTime).default(Default::Now),
    }],
};
