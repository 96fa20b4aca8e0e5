//! The lookups of filters: `question__question_text__icontains`.

use migration::Field;
use rhai::{Dynamic, Map};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};

use super::{
    comparison::{Condition, LOOKUPS, compare},
    connection::{Connection, Result, failure},
};
use crate::apps::{self, Model};

/// Whether the lookups of one call over the same relation to several objects are about the same object (Django's `filter()`), or
/// about any each (`exclude()`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// About the same object.
    Same,
    /// About any object each.
    Each,
}

/// A part of a lookup's path, and its value.
type Lookup<'a> = (Vec<&'a str>, &'a Dynamic);

/// The conditions that all these lookups hold.
///
/// # Errors
/// When there is no such field or lookup, or a value is invalid.
pub fn conditions(
    connection: &Connection,
    model: &'static Model,
    lookups: &Map,
    scope: Scope,
) -> Result<Vec<Expr>> {
    let lookups = lookups
        .iter()
        .map(|(path, value)| (path.split("__").collect(), value));
    let conditions = resolve(connection, model, lookups.collect(), scope)?;
    Ok(conditions
        .into_iter()
        .map(|condition| condition.expression)
        .collect())
}

fn resolve(
    connection: &Connection,
    model: &'static Model,
    lookups: Vec<Lookup<'_>>,
    scope: Scope,
) -> Result<Vec<Condition>> {
    let mut conditions = Vec::new();
    // By the name of the relation.
    let mut related: Vec<(&str, Relation, Vec<Lookup<'_>>)> = Vec::new();
    for (path, value) in lookups {
        let (name, rest) = path
            .split_first()
            .ok_or_else(|| failure("a lookup has no name"))?;
        match find(model, name, rest)? {
            Step::Column(field) => conditions.push(compare(connection, field, rest, value)?),
            Step::Relation(relation) => {
                let is_lookup = rest.first().is_none_or(|name| LOOKUPS.contains(name));
                let rest = if is_lookup {
                    [&["pk"], rest].concat()
                } else {
                    rest.to_vec()
                };
                let known = related
                    .iter_mut()
                    .find(|(known, ..)| scope == Scope::Same && known == name);
                match known {
                    Some((.., lookups)) => lookups.push((rest, value)),
                    None => related.push((name, relation, vec![(rest, value)])),
                }
            }
        }
    }
    for (_, relation, lookups) in related {
        let of_other = resolve(connection, relation.other, lookups, scope)?;
        conditions.push(relation.condition(of_other));
    }
    Ok(conditions)
}

/// What the name in a path is.
enum Step {
    /// A field that is compared.
    Column(&'static Field),
    /// A relation to other objects, which the rest of the path is about.
    Relation(Relation),
}

fn find(model: &'static Model, name: &str, rest: &[&str]) -> Result<Step> {
    if name == "pk" || name == model.key.name {
        return Ok(Step::Column(&model.key));
    }
    let field = model
        .field(name)
        .or_else(|| model.field(name.strip_suffix("_id")?));
    let is_lookup = rest.first().is_none_or(|name| LOOKUPS.contains(name));
    Ok(match (field, field.and_then(apps::related)) {
        (Some(field), Some(other)) if field.is_concrete() && !is_lookup => {
            Step::Relation(Relation {
                own: Alias::new(field.column()),
                rows: None,
                other,
            })
        }
        (Some(field), _) if field.is_concrete() => Step::Column(field),
        (Some(field), Some(other)) => {
            let through = model.through(field);
            Step::Relation(Relation {
                own: Alias::new(model.key.column()),
                rows: Some(Owners::new(
                    &through.table,
                    &through.source,
                    &through.target,
                )),
                other,
            })
        }
        _ => {
            let (owners, other) = reverse_owners(model, name)?;
            Step::Relation(Relation {
                own: Alias::new(model.key.column()),
                rows: Some(owners),
                other,
            })
        }
    })
}

/// A relation of the rows of a model to other objects.
struct Relation {
    /// The column of the foreign key; the key if the relation has rows.
    own: Alias,
    /// The rows that relate objects to others; none for a foreign key.
    rows: Option<Owners>,
    /// The model of the others.
    other: &'static Model,
}

impl Relation {
    /// The condition that a related object has all of these; if they hold without one, that there is none.
    fn condition(&self, of_other: Vec<Condition>) -> Condition {
        let holds_without_row = of_other.iter().all(|condition| condition.holds_without_row);
        let others = of_other
            .into_iter()
            .map(|condition| condition.expression)
            .reduce(ExprTrait::and)
            .map(|all| select_keys(self.other, all))
            .expect("a relation has a lookup");
        let column = || Expr::col(self.own.clone());
        let (keys, has_none) = match &self.rows {
            None => (others, column().is_null()),
            Some(rows) => (
                rows.select(Some(others)),
                column().not_in_subquery(rows.select(None)),
            ),
        };
        let has_one = column().in_subquery(keys);
        Condition {
            expression: if holds_without_row {
                has_one.or(has_none)
            } else {
                has_one
            },
            holds_without_row,
        }
    }
}

/// The table whose rows relate objects to others.
struct Owners {
    table: Alias,
    /// The column with the key of the object.
    own: Alias,
    /// The column with the key of the other object.
    other: Alias,
}

impl Owners {
    fn new(table: &str, own: &str, other: &str) -> Self {
        Self {
            table: Alias::new(table),
            own: Alias::new(own),
            other: Alias::new(other),
        }
    }

    /// The keys of the objects that are related to one of the others with these keys, or to any.
    fn select(&self, others: Option<SelectStatement>) -> SelectStatement {
        let mut query = Query::select();
        query
            .column(self.own.clone())
            .from(self.table.clone())
            .and_where(Expr::col(self.own.clone()).is_not_null());
        if let Some(others) = others {
            query.and_where(Expr::col(self.other.clone()).in_subquery(others));
        }
        query
    }
}

/// The rows that relate objects of a model by a reverse relation, and the model of the others.
fn reverse_owners(model: &Model, name: &str) -> Result<(Owners, &'static Model)> {
    if let Some((other, field)) = apps::reverse_many_to_many(model, name) {
        let through = other.through(field);
        let owners = Owners::new(&through.table, &through.target, &through.source);
        return Ok((owners, other));
    }
    match apps::reverse_relation(model, name) {
        Some((other, field)) => {
            let owners = Owners::new(&other.table, &field.column(), &other.key.column());
            Ok((owners, other))
        }
        None => Err(failure(format!("{} has no field {name}", model.name))),
    }
}

fn select_keys(model: &Model, condition: Expr) -> SelectStatement {
    Query::select()
        .column(Alias::new(model.key.column()))
        .from(Alias::new(&model.table))
        .and_where(condition)
        .take()
}
