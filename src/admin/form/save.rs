//! Saving a form in the caller's transaction, with its log entry.

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbErr, Value,
    sea_query::{Alias, Expr, ExprTrait, OnConflict, Query},
};

use super::{BoundField, Editor, FormContext, ObjectForm, count_of, formset::Formset};
use crate::{
    admin::{
        changes::Changes,
        entity::KEY,
        field::{Field, Kind},
        log::{Action, ChangeMessage, Log},
        model::{Model, Object},
    },
    db::{self, Connection, Transaction},
    entities::Count,
};

/// The validated changes of an object's form and its formsets.
#[derive(Debug)]
pub struct Cleaned {
    /// The changes of the object itself.
    pub main: Changes,
    /// The changes per formset, by the index of the form.
    formsets: Vec<BTreeMap<usize, Changes>>,
}

impl Cleaned {
    /// Validates all forms, except unchanged ones and those marked for deletion.
    pub fn new(editor: &mut Editor<'_>, form_context: FormContext<'_>) -> Self {
        let main = editor.main.clean(form_context.zone);
        let clean = |formset: &mut Formset<'_>| {
            let mut cleaned = BTreeMap::new();
            for (index, row) in formset.forms.iter_mut().enumerate() {
                if !row.is_deleted && row.form.has_changed(form_context.zone) {
                    cleaned.insert(index, row.form.clean(form_context.zone));
                }
            }
            cleaned
        };
        Self {
            main,
            formsets: editor.formsets.iter_mut().map(clean).collect(),
        }
    }

    /// Validates against the database, and adds the errors to the forms.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn check(
        &mut self,
        editor: &mut Editor<'_>,
        tx: &Transaction,
        form_context: FormContext<'_>,
    ) -> Result<(), DbErr> {
        let db = Connection::Transaction(tx);
        editor.main.check(db, &mut self.main).await?;
        let id = editor.main.object.as_ref().map(|object| object.id);
        editor
            .main
            .model
            .options
            .rules
            .validate(tx, form_context.user, id, &mut self.main)
            .await?;
        editor
            .main
            .add_errors(std::mem::take(&mut self.main.errors));
        for (formset, cleaned) in editor.formsets.iter_mut().zip(&mut self.formsets) {
            for (index, changes) in cleaned {
                let form = &mut formset.forms[*index].form;
                form.check(db, changes).await?;
                form.add_errors(std::mem::take(&mut changes.errors));
            }
        }
        Ok(())
    }

    /// Stores all changes and logs them. Returns the stored object.
    ///
    /// # Errors
    /// When the database cannot be reached or written to.
    pub async fn store(
        self,
        editor: &Editor<'_>,
        tx: &Transaction,
        form_context: FormContext<'_>,
    ) -> Result<Object, DbErr> {
        let (main, model) = (&editor.main, editor.main.model);
        let mut message = ChangeMessage::default();
        let (id, action) = match &main.object {
            Some(object) => {
                update(tx, main, &self.main, object, form_context).await?;
                message.changed(&main.changed_labels(form_context.zone));
                (object.id, Action::Change)
            }
            None => {
                let id = insert(tx, model, &self.main, None, form_context).await?;
                message.added();
                (id, Action::Addition)
            }
        };
        for (name, keys) in &self.main.related_keys {
            set_related(tx, model, name, id, keys).await?;
        }
        for (formset, cleaned) in editor.formsets.iter().zip(self.formsets) {
            store_formset(tx, formset, cleaned, id, &mut message, form_context).await?;
        }
        let stored = model
            .find(Connection::Transaction(tx), id, form_context.now)
            .await?;
        let stored =
            stored.ok_or_else(|| DbErr::RecordNotFound(format!("{} {id}", model.options.name)))?;
        let log = Log {
            user_id: form_context.user.row.id,
            model,
            now: form_context.now,
        };
        log.write(tx, action, &[(id, &stored.label)], &message.stored())
            .await?;
        Ok(stored)
    }
}

async fn store_formset(
    tx: &Transaction,
    formset: &Formset<'_>,
    cleaned: BTreeMap<usize, Changes>,
    parent: i32,
    message: &mut ChangeMessage,
    form_context: FormContext<'_>,
) -> Result<(), DbErr> {
    let model = &formset.inline.model;
    let db = Connection::Transaction(tx);
    let mut changed = Vec::new();
    // Django's order in the log: added, changed, deleted objects.
    for (index, changes) in &cleaned {
        let form = &formset.forms[*index].form;
        match &form.object {
            Some(object) if formset.rights.change => {
                update(tx, form, changes, object, form_context).await?;
                changed.push((object.id, form.changed_labels(form_context.zone)));
            }
            None if formset.rights.add => {
                let key = model
                    .field(formset.inline.key)
                    .map(|field| (field.column, parent));
                let id = insert(tx, model, changes, key, form_context).await?;
                let label = model
                    .find(db, id, form_context.now)
                    .await?
                    .map(|object| object.label);
                message.inline_added(model.options.verbose_name, &label.unwrap_or_default());
            }
            _ => {}
        }
    }
    for (id, labels) in changed {
        let label = model
            .find(db, id, form_context.now)
            .await?
            .map(|object| object.label);
        message.inline_changed(
            model.options.verbose_name,
            &label.unwrap_or_default(),
            &labels,
        );
    }
    for row in formset
        .forms
        .iter()
        .filter(|row| row.is_deleted && formset.rights.delete)
    {
        if let Some(object) = &row.form.object {
            let delete = Query::delete()
                .from_table(Alias::new(model.table()))
                .and_where(Expr::col(Alias::new(KEY)).eq(object.id))
                .take();
            tx.execute(&delete).await?;
            message.inline_deleted(model.options.verbose_name, &object.label);
        }
    }
    Ok(())
}

/// Updates the columns of changed fields only.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn update(
    tx: &Transaction,
    form: &ObjectForm<'_>,
    changes: &Changes,
    object: &Object,
    form_context: FormContext<'_>,
) -> Result<(), DbErr> {
    let mut update = Query::update();
    update
        .table(Alias::new(form.model.table()))
        .and_where(Expr::col(Alias::new(KEY)).eq(object.id));
    let mut has_changes = false;
    let mut side = Vec::new();
    for bound in form
        .fields
        .iter()
        .filter(|bound| bound.has_changed(form_context.zone))
    {
        let Some(value) = changes
            .values
            .get(bound.field.name)
            .filter(|_| !bound.field.column.is_empty())
        else {
            continue;
        };
        if bound.field.side_table.is_some() {
            side.push((bound.field, value.clone()));
            continue;
        }
        has_changes = true;
        update.value(
            Alias::new(bound.field.column),
            column_value(form.model, object, bound, value),
        );
    }
    if has_changes {
        tx.execute(&update).await?;
    }
    store_side(tx, form.model, object.id, side, form_context).await
}

/// Stores the values of fields in another table; a new row has the defaults of the others.
async fn store_side(
    tx: &Transaction,
    model: &Model,
    id: i32,
    changed: Vec<(&Field, Value)>,
    form_context: FormContext<'_>,
) -> Result<(), DbErr> {
    let Some(side) = changed.first().and_then(|(field, _)| field.side_table) else {
        return Ok(());
    };
    let value = |field: &Field| {
        let given = changed.iter().find(|(known, _)| known.name == field.name);
        match (given, field.options.default) {
            (Some((_, value)), _) => value.clone(),
            (None, Some(default)) => default(form_context.now),
            (None, None) => default_value(field),
        }
    };
    let mut columns = vec![Alias::new(side.key)];
    let mut values = vec![Expr::val(id)];
    for field in model
        .concrete()
        .filter(|field| field.side_table == Some(side))
    {
        columns.push(Alias::new(field.column));
        values.push(Expr::val(value(field)));
    }
    let updated = changed.iter().map(|(field, _)| Alias::new(field.column));
    let conflict = OnConflict::column(Alias::new(side.key))
        .update_columns(updated)
        .to_owned();
    let insert = Query::insert()
        .into_table(Alias::new(side.table))
        .columns(columns)
        .values_panic(values)
        .on_conflict(conflict)
        .take();
    tx.execute(&insert).await.map(drop)
}

/// The new value of a field. For a counter, the difference is added to the value of the locked row, so that concurrent increments are
/// not lost; it does not become negative.
fn column_value(model: &Model, object: &Object, bound: &BoundField<'_>, value: &Value) -> Value {
    if bound.field.options.counts.is_none() {
        return value.clone();
    }
    let current = match model.value(object, bound.field.name) {
        Some(Value::Int(Some(current))) => i64::from(*current),
        Some(Value::BigInt(Some(current))) => *current,
        _ => return value.clone(),
    };
    match (value, count_of(&bound.initial)) {
        (Value::Int(Some(submitted)), Some(before)) => {
            // Only on SQLite can the stored number have more than 32 bits, and then the new one, too.
            let max = Ord::max(current, i64::from(i32::MAX));
            let sum = i128::from(current) + i128::from(*submitted) - i128::from(before);
            let sum = sum.clamp(0, i128::from(max));
            Count(i64::try_from(sum).expect("clamped to the range")).into()
        }
        _ => value.clone(),
    }
}

/// Inserts an object and returns its key; `key` is the column and the key of the parent object.
async fn insert(
    tx: &Transaction,
    model: &Model,
    changes: &Changes,
    key: Option<(&str, i32)>,
    form_context: FormContext<'_>,
) -> Result<i32, DbErr> {
    let mut columns = Vec::new();
    let mut values: Vec<Expr> = Vec::new();
    let mut side = Vec::new();
    for field in model.concrete() {
        let value = match (key, changes.values.get(field.name), field.options.default) {
            (Some((column, parent)), ..) if column == field.column => Value::Int(Some(parent)),
            (_, Some(value), _) => value.clone(),
            (_, None, Some(default)) => default(form_context.now),
            (_, None, None) => default_value(field),
        };
        if field.side_table.is_some() {
            let default = field
                .options
                .default
                .map(|default| default(form_context.now));
            if value != default.unwrap_or_else(|| default_value(field)) {
                side.push((field, value));
            }
            continue;
        }
        columns.push(Alias::new(field.column));
        values.push(Expr::val(value));
    }
    let mut insert = Query::insert();
    insert
        .into_table(Alias::new(model.table()))
        .columns(columns)
        .values_panic(values)
        .returning_col(Alias::new(KEY));
    let row = tx.query_one(&insert).await?;
    let id = row
        .ok_or_else(|| DbErr::RecordNotInserted)?
        .try_get("", KEY)?;
    store_side(tx, model, id, side, form_context).await?;
    Ok(id)
}

/// The value of a column that is not in the form.
fn default_value(field: &Field) -> Value {
    match field.kind {
        Kind::Boolean => Value::Bool(Some(false)),
        Kind::DateTime => Value::ChronoDateTimeUtc(None),
        Kind::Integer if !field.null => Value::Int(Some(0)),
        Kind::Integer | Kind::ForeignKey(_) => Value::Int(None),
        Kind::SmallInteger => Value::SmallInt((!field.null).then_some(0)),
        _ => Value::String((!field.null).then(String::new)),
    }
}

/// Replaces the related keys of a many-to-many field.
async fn set_related(
    tx: &Transaction,
    model: &Model,
    name: &str,
    id: i32,
    keys: &[i32],
) -> Result<(), DbErr> {
    match model.relation(name) {
        Some(relation) => db::set_related(tx, relation.through, id, keys).await,
        None => Ok(()),
    }
}
