//! Deleting objects with those that refer to them (Django's `Collector`).

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Query},
};

use super::connection::{Connection, Result, error};
use crate::{
    apps::{self, Model},
    db::Transaction,
};

/// The numbers of deleted rows by the labels of their models.
pub type Deleted = BTreeMap<String, i64>;

/// Deletes the objects of a model for which the condition holds.
///
/// # Errors
/// When rows of another application refer to one of them, or the database cannot be reached or written to.
pub fn delete(connection: &Connection, model: &'static Model, condition: Expr) -> Result<Deleted> {
    connection.write(async |tx| {
        let mut deleted = Deleted::new();
        collect(tx, model, condition, &mut deleted)
            .await
            .map_err(error)?;
        Ok(deleted)
    })
}

/// Deletes what refers to the objects, then the objects.
async fn collect(
    tx: &Transaction,
    model: &'static Model,
    condition: Expr,
    deleted: &mut Deleted,
) -> std::result::Result<(), DbErr> {
    let key = Alias::new(model.key.column());
    let keys = Query::select()
        .column(key)
        .from(Alias::new(&model.table))
        .and_where(condition.clone())
        .take();
    for other in apps::models() {
        for field in &other.fields {
            if apps::related(field).is_none_or(|related| related.table != model.table) {
                continue;
            }
            if !field.is_concrete() {
                let through = other.through(field);
                delete_related(
                    tx,
                    &through.table,
                    &through.target,
                    &keys,
                    &format!("{}.{}", other.label(), field.name),
                    deleted,
                )
                .await?;
                continue;
            }
            let column = Alias::new(field.column());
            let refers = Expr::col(column.clone()).in_subquery(keys.clone());
            if field.null {
                let update = Query::update()
                    .table(Alias::new(&other.table))
                    .value(column, Option::<i32>::None)
                    .and_where(refers)
                    .take();
                tx.execute(&update).await?;
            } else {
                Box::pin(collect(tx, other, refers, deleted)).await?;
            }
        }
    }
    for field in model.many_to_many() {
        let through = model.through(field);
        let label = format!("{}.{}", model.label(), field.name);
        delete_related(tx, &through.table, &through.source, &keys, &label, deleted).await?;
    }
    let delete = Query::delete()
        .from_table(Alias::new(&model.table))
        .and_where(condition)
        .take();
    let rows = tx.execute(&delete).await?.rows_affected();
    count(deleted, model.label(), rows);
    Ok(())
}

async fn delete_related(
    tx: &Transaction,
    table: &str,
    column: &str,
    keys: &sea_orm::sea_query::SelectStatement,
    label: &str,
    deleted: &mut Deleted,
) -> std::result::Result<(), DbErr> {
    let delete = Query::delete()
        .from_table(Alias::new(table))
        .and_where(Expr::col(Alias::new(column)).in_subquery(keys.clone()))
        .take();
    let rows = tx.execute(&delete).await?.rows_affected();
    count(deleted, label.to_owned(), rows);
    Ok(())
}

fn count(deleted: &mut Deleted, label: String, rows: u64) {
    if rows > 0 {
        *deleted.entry(label).or_default() += i64::try_from(rows).unwrap_or(i64::MAX);
    }
}
