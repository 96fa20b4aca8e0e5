//! The order of queries.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, Order, Query};

use super::connection::{Result, failure};
use crate::apps::{self, Model};

/// The order of a query without one (Django's `Meta.ordering`), or by the key.
pub fn default_order(model: &'static Model) -> Vec<(Expr, Order)> {
    let names: &[&str] = match model.name {
        "Permission" => &["content_type__app_label", "content_type__model", "codename"],
        "LogEntry" => &["-action_time"],
        _ => &["pk"],
    };
    let key = |name: &&str| {
        let (name, order) = match name.strip_prefix('-') {
            Some(name) => (name, Order::Desc),
            None => (*name, Order::Asc),
        };
        let key = sort_key(model, name).expect("the models have these fields");
        (key, order)
    };
    names.iter().map(key).collect()
}

/// The value by which rows are ordered for a field, or for one of a related object.
///
/// # Errors
/// When there is no such field.
pub fn sort_key(model: &'static Model, name: &str) -> Result<Expr> {
    let unknown = |name: &str| failure(format!("{} has no field {name}", model.name));
    let table = Alias::new(&model.table);
    if name == "pk" || name == model.key.name {
        return Ok(Expr::col((table, Alias::new(model.key.column()))));
    }
    let (name, rest) = match name.split_once("__") {
        Some((name, rest)) => (name, Some(rest)),
        None => (name, None),
    };
    let field = model.columns().find(|field| field.name == name);
    let field = field.ok_or_else(|| unknown(name))?;
    let column = Expr::col((table, Alias::new(field.column())));
    let Some(rest) = rest else {
        return Ok(column);
    };
    let related = apps::related(field).ok_or_else(|| unknown(&format!("{name}__{rest}")))?;
    let key = Expr::col((Alias::new(&related.table), Alias::new(related.key.column())));
    let of_related = Query::select()
        .expr(sort_key(related, rest)?)
        .from(Alias::new(&related.table))
        .and_where(key.eq(column))
        .take();
    Ok(of_related.into())
}
