//! Alterations that SQLite's `ALTER TABLE` does not support (Django's `_remake_table`): a new table is created, filled from the
//! old one, and renamed to its name.

use super::editor::SchemaEditor;
use crate::{Field, Model, State};

impl SchemaEditor {
    /// Remakes a table with the columns of `model`. An added or altered column becomes the last one, as in Django. The deferred
    /// statements run at once, since the old table's indexes were dropped with it.
    pub(super) fn remake_table(
        &mut self,
        state: &State,
        model: &Model,
        added: Option<&Field>,
        altered: Option<(&Field, &Field)>,
    ) {
        let null = || "NULL".to_owned();
        let moved = added.or(altered.map(|(_, new)| new));
        let mut remade = model.clone();
        remade
            .fields
            .retain(|field| field.is_concrete() && Some(field) != moved);
        remade.fields.extend(moved.cloned());

        let table = &model.table;
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for field in &remade.fields {
            let column = format!("\"{}\"", field.column());
            values.push(match altered {
                _ if Some(field) == added => self.default_value(field).unwrap_or_else(null),
                Some((old, new)) if new == field && old.null && !new.null => {
                    format!(
                        "coalesce({column}, {})",
                        self.default_value(new).unwrap_or_else(null)
                    )
                }
                _ => column.clone(),
            });
            columns.push(column);
        }
        let (columns, values) = (columns.join(", "), values.join(", "));
        self.execute(self.create_table(state, &remade, &format!("new__{table}")));
        self.execute(format!(
            "INSERT INTO \"new__{table}\" ({columns}) SELECT {values} FROM \"{table}\";"
        ));
        self.execute(format!("DROP TABLE \"{table}\";"));
        self.execute(format!(
            "ALTER TABLE \"new__{table}\" RENAME TO \"{table}\";"
        ));
        self.defer_constraints(state, &remade);
        self.run_deferred();
    }
}
