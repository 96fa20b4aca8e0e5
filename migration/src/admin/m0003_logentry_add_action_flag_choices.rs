//! `action_flag` gets `choices`, which are not in the database. No statements.

use crate::{Field, Kind, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "admin",
    name: "0003_logentry_add_action_flag_choices",
    initial: false,
    dependencies: &[("admin", "0002_logentry_remove_auto_add")],
    operations: &[Operation::AlterField {
        model: "logentry",
        field: Field::new("action_flag", Kind::PositiveSmallInteger),
    }],
};
