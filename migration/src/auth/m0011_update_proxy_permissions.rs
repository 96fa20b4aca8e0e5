//! Updates the content types of proxy models' permissions: there are none, so it has no statements.

use crate::{Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "auth",
    name: "0011_update_proxy_permissions",
    initial: false,
    dependencies: &[("auth", "0010_alter_group_name_max_length")],
    operations: &[Operation::RunPython {
        doc: "    Update the content_type of proxy models to use the ContentType of the proxy    model.    ",
        forwards: &[],
        backwards: &[],
    }],
};
