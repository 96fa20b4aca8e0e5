//! Content types lose their name: it is the model's.

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
            // Django writes the class's name where it finds the class, and the model's name where it does not.
            backwards: &["UPDATE \"django_content_type\" SET \"name\" = \"model\";"],
        },
        Operation::RemoveField {
            model: "contenttype",
            name: "name",
        },
    ],
};
