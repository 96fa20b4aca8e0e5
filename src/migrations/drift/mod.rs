//! The differences between the entities and the schema that the migrations produce, and the migration that resolves them.

mod describe;
mod file;
mod table;

use migration::State;

use self::{
    describe::{entities, migrated},
    table::Table,
};
pub use self::{
    file::{MigrationFile, migration_file},
    table::{AddedColumn, Change},
};

/// The differences of one app; empty when its entities match its migrations.
pub fn of_app(app: &str) -> Vec<Change> {
    compare(&migrated(&State::latest(), app), &entities(app))
}

/// The changes that turn the migrated tables into those of the entities.
fn compare(migrated: &[Table], entities: &[Table]) -> Vec<Change> {
    let mut changes = Vec::new();
    for entity in entities {
        match migrated.iter().find(|table| table.name == entity.name) {
            None => changes.push(Change::CreateTable(entity.clone())),
            Some(table) => {
                compare_columns(table, entity, &mut changes);
                if table.unique_together != entity.unique_together {
                    changes.push(Change::AlterUniqueTogether(entity.clone()));
                }
            }
        }
    }
    let removed = migrated
        .iter()
        .filter(|table| entities.iter().all(|entity| entity.name != table.name));
    changes.extend(removed.map(|table| Change::DeleteTable(table.name.clone())));
    changes
}

fn compare_columns(migrated: &Table, entity: &Table, changes: &mut Vec<Change>) {
    for column in &entity.columns {
        let added = || AddedColumn(column.clone());
        match migrated
            .columns
            .iter()
            .find(|other| other.name == column.name)
        {
            None => changes.push(Change::AddColumn(entity.name.clone(), added())),
            Some(other) if other != column => {
                changes.push(Change::AlterColumn(entity.name.clone(), added()))
            }
            Some(_) => {}
        }
    }
    let removed = migrated
        .columns
        .iter()
        .filter(|column| entity.columns.iter().all(|other| other.name != column.name));
    changes.extend(
        removed.map(|column| Change::RemoveColumn(entity.name.clone(), column.name.clone())),
    );
}

#[cfg(test)]
mod tests {
    use super::{describe::*, file::operation, *};

    fn before(app: &'static str, name: &'static str) -> Vec<Table> {
        migrated(
            &State::after(|migration| migration.app != app || migration.name < name),
            app,
        )
    }

    #[test]
    fn entities_match_migrations() {
        for app in migration::APPS {
            assert_eq!(of_app(app), [], "{app}");
            // The app `polls`, which Django does not have, has no models.
            assert_eq!(entities(app).is_empty(), app == "polls", "{app}");
        }
    }

    #[test]
    fn each_kind_of_change_is_described() {
        let changes = compare(&before("auth", "0012"), &entities("auth"));
        assert_eq!(
            changes.iter().map(Change::to_string).collect::<Vec<_>>(),
            ["~ Alter column first_name on auth_user"]
        );

        let changes = compare(&before("contenttypes", "0002"), &entities("contenttypes"));
        let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
        assert_eq!(texts, ["- Remove column name from django_content_type"]);

        let changes = compare(&[], &entities("polls_app"));
        let texts: Vec<_> = changes.iter().map(Change::to_string).collect();
        assert_eq!(
            texts,
            [
                "+ Create table polls_app_choice",
                "+ Create table polls_app_question"
            ]
        );

        let mut without = entities("polls_app");
        without[0]
            .columns
            .retain(|column| column.name != "question_id");
        let changes = compare(&without, &entities("polls_app"));
        assert_eq!(
            changes[0].to_string(),
            "+ Add column question_id to polls_app_choice"
        );
        assert_eq!(
            compare(&entities("sessions"), &[])[0].to_string(),
            "- Delete table django_session"
        );
    }

    #[test]
    fn indexes_and_unique_groups_are_compared() {
        let mut without = entities("sessions");
        without[0]
            .columns
            .iter_mut()
            .for_each(|column| column.index = false);
        let changes = compare(&without, &entities("sessions"));
        assert_eq!(
            changes[0].to_string(),
            "~ Alter column expire_date on django_session"
        );
        assert!(
            operation("sessions", &changes[0])
                .contains(r#"Field::new("expire_date", Kind::DateTime).index()"#)
        );

        let mut without = entities("auth");
        without[0].unique_together.clear();
        let changes = compare(&without, &entities("auth"));
        assert_eq!(
            changes[0].to_string(),
            "~ Alter unique_together for auth_permission"
        );
        let text = operation("auth", &changes[0]);
        assert!(
            text.contains(r#"unique_together: &[&["content_type", "codename"]]"#),
            "{text}"
        );
    }

    #[test]
    fn a_migration_file_is_created_in_the_source_tree_and_never_overwritten() {
        let file = migration_file("auth", &compare(&before("auth", "0012"), &entities("auth")));
        let root = tempfile::tempdir().unwrap();
        let error = file.write(root.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("is not here: run this in the source tree"),
            "{error}"
        );
        std::fs::create_dir_all(root.path().join("migration/src/auth")).unwrap();
        file.write(root.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(root.path().join(&file.path)).unwrap(),
            file.source
        );
        assert!(
            file.write(root.path())
                .unwrap_err()
                .to_string()
                .ends_with("cannot be created")
        );
    }

    #[test]
    fn a_migration_file_contains_the_operations() {
        let file = migration_file("auth", &compare(&before("auth", "0012"), &entities("auth")));
        assert_eq!(
            file.path,
            "migration/src/auth/m0013_alter_user_first_name.rs"
        );
        assert!(
            file.source
                .contains(r#"dependencies: &[("auth", "0012_alter_user_first_name_max_length")],"#)
        );
        assert!(file.source.contains(
            r#"Operation::AlterField { model: "user", field: Field::char("first_name", 150) },"#
        ));

        let file = migration_file("polls_app", &compare(&[], &entities("polls_app")));
        assert_eq!(
            file.path,
            "migration/src/polls_app/m0002_choice_and_more.rs"
        );
        assert!(
            file.source
                .contains(r#"Field::foreign_key("question", "polls_app.Question")"#),
            "{}",
            file.source
        );
    }
}
