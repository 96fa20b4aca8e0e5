//! Removes the column `name`: Django derives the name from the model's class.

use crate::{Field, Migration, Operation};

pub const MIGRATION: Migration = Migration {
    app: "contenttypes",
    name: "0002_remove_content_type_name",
    initial: false,
    dependencies: &[("contenttypes", "0001_initial")],
    operations: &[
        Operation::AlterModelOptions {
            model: "contenttype",
            verbose_name: "content type",
        },
        Operation::AlterField {
            model: "contenttype",
            field: Field::char("name", 100).null(),
        },
        Operation::RunPython {
            doc: "",
            forwards: &[],
            // Django writes the class name (`_meta.object_name`) if it finds the class, else `model`.
            backwards: &["UPDATE \"django_content_type\" SET \"name\" = \"model\";"],
        },
        Operation::RemoveField {
            model: "contenttype",
            name: "name",
        },
    ],
};
