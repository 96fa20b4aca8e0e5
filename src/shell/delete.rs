//! Deleting objects with those that refer to them (Django's `Collector`).

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbErr, Value,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};

use super::connection::{Connection, Result, error};
use crate::{
    apps::{self, Model},
    db::Transaction,
    fixtures,
};

/// Keys per statement.
const KEYS_PER_STATEMENT: usize = 1000;

/// The numbers of deleted rows by the labels of their models.
pub type Deleted = BTreeMap<String, i64>;

/// Deletes the objects of a model that a query selects; its column is set here.
///
/// # Errors
/// When rows of another application refer to one of them, or the database cannot be reached or written to.
pub fn delete(
    connection: &Connection,
    model: &'static Model,
    objects: SelectStatement,
) -> Result<Deleted> {
    connection.write(async |tx| {
        let mut deleted = Deleted::new();
        // The keys before anything is deleted: the conditions may be about what is deleted with them.
        let keys = select_keys(tx, model, objects).await.map_err(error)?;
        collect(tx, model, &keys, &mut deleted)
            .await
            .map_err(error)?;
        Ok(deleted)
    })
}

async fn select_keys(
    tx: &Transaction,
    model: &'static Model,
    mut objects: SelectStatement,
) -> std::result::Result<Vec<Value>, DbErr> {
    fixtures::select_object(&mut objects, model);
    let rows = tx.query_all(&objects).await?;
    let key = |row| fixtures::read_object(row, model).map(|object| object.key_value());
    rows.iter().map(key).collect()
}

/// Deletes what refers to the objects with these keys, then the objects.
async fn collect(
    tx: &Transaction,
    model: &'static Model,
    keys: &[Value],
    deleted: &mut Deleted,
) -> std::result::Result<(), DbErr> {
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
        for other in apps::models() {
            for field in &other.fields {
                if apps::related(field).is_some_and(|related| related.table == model.table) {
                    delete_referring(tx, other, field, keys, deleted).await?;
                }
            }
        }
        for field in model.many_to_many() {
            let through = model.through(field);
            let label = format!("{}_{}", model.label(), field.name);
            delete_rows(tx, (&through.table, &through.source), keys, label, deleted).await?;
        }
        let table = (model.table.as_str(), &*model.key.column());
        delete_rows(tx, table, keys, model.label(), deleted).await?;
    }
    Ok(())
}

/// Deletes the objects of `other` whose field refers to one of the keys, or sets the field to NULL if it may be.
async fn delete_referring(
    tx: &Transaction,
    other: &'static Model,
    field: &'static migration::Field,
    keys: &[Value],
    deleted: &mut Deleted,
) -> std::result::Result<(), DbErr> {
    if !field.is_concrete() {
        let through = other.through(field);
        let label = format!("{}_{}", other.label(), field.name);
        return delete_rows(tx, (&through.table, &through.target), keys, label, deleted).await;
    }
    let column = Alias::new(field.column());
    let refers = Expr::col(column.clone()).is_in(keys.to_vec());
    if field.null {
        let update = Query::update()
            .table(Alias::new(&other.table))
            .value(column, Option::<i32>::None)
            .and_where(refers)
            .take();
        return tx.execute(&update).await.map(drop);
    }
    let referring = Query::select()
        .from(Alias::new(&other.table))
        .and_where(refers)
        .take();
    let keys = select_keys(tx, other, referring).await?;
    Box::pin(collect(tx, other, &keys, deleted)).await
}

async fn delete_rows(
    tx: &Transaction,
    (table, column): (&str, &str),
    keys: &[Value],
    label: String,
    deleted: &mut Deleted,
) -> std::result::Result<(), DbErr> {
    let delete = Query::delete()
        .from_table(Alias::new(table))
        .and_where(Expr::col(Alias::new(column)).is_in(keys.to_vec()))
        .take();
    let rows = tx.execute(&delete).await?.rows_affected();
    if rows > 0 {
        *deleted.entry(label).or_default() += i64::try_from(rows).unwrap_or(i64::MAX);
    }
    Ok(())
}
