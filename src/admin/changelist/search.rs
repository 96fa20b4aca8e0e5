//! The search: each word must occur in one of the fields. A quoted phrase is one word.

use sea_orm::{
    DbBackend,
    sea_query::{Alias, Condition, Expr, ExprTrait, Query},
};

use super::lookups::{escaped, like};
use crate::admin::{
    AdminSite,
    entity::KEY,
    field::{Field, Kind},
    model::Model,
};

/// The maximum number of words.
const MAX_TERMS: usize = 20;

/// A resolved path of `search_fields`.
enum Target<'a> {
    Own(&'a Field),
    /// A related table: its column, the column of the model to which it is equal, and the field to search.
    Other {
        table: &'static str,
        far: String,
        near: String,
        field: &'a Field,
    },
}

/// Whether a path can be resolved.
pub fn is_searchable(site: &AdminSite, model: &Model, path: &str) -> bool {
    target(site, model, path).is_some()
}

/// The condition of a search.
pub fn condition(site: &AdminSite, model: &Model, search: &str, backend: DbBackend) -> Condition {
    let mut all = Condition::all();
    for term in terms(search) {
        let pattern = format!("%{}%", escaped(&term));
        let mut any = Condition::any();
        for target in model
            .options
            .search_fields
            .iter()
            .filter_map(|path| target(site, model, path))
        {
            any = any.add(match target {
                Target::Own(field) => like(model.column(field.column), &pattern, true, backend),
                Target::Other {
                    table,
                    far,
                    near,
                    field,
                } => {
                    let name = Alias::new(table);
                    let column = |column: &str| Expr::col((name.clone(), Alias::new(column)));
                    let rows = Query::select()
                        .expr(Expr::val(1))
                        .from(name.clone())
                        .and_where(column(&far).eq(model.column(&near)))
                        .and_where(like(column(field.column), &pattern, true, backend))
                        .take();
                    Expr::exists(rows)
                }
            });
        }
        all = all.add(any);
    }
    all
}

fn target<'a>(site: &'a AdminSite, model: &'a Model, path: &str) -> Option<Target<'a>> {
    let text = |model: &'a Model, name: &str| {
        model
            .field(name)
            .filter(|field| matches!(field.kind, Kind::Char(_) | Kind::Text))
    };
    let Some((relation, far)) = path.split_once("__") else {
        return text(model, path).map(Target::Own);
    };
    if let Some(inline) = model
        .options
        .inlines
        .iter()
        .find(|inline| inline.model.options.name == relation)
    {
        let key = inline.model.field(inline.key)?;
        return Some(Target::Other {
            table: inline.model.table(),
            far: key.column.to_owned(),
            near: KEY.to_owned(),
            field: text(&inline.model, far)?,
        });
    }
    let key = model.field(relation)?;
    let Kind::ForeignKey(table) = &key.kind else {
        return None;
    };
    let other = site.of_table(table)?;
    Some(Target::Other {
        table: other.table(),
        far: KEY.to_owned(),
        near: key.column.to_owned(),
        field: text(other, far)?,
    })
}

/// The words of a search. An unclosed quote is part of its word.
fn terms(search: &str) -> Vec<String> {
    let mut terms = Vec::new();
    let mut rest = search.trim_start();
    while !rest.is_empty() && terms.len() < MAX_TERMS {
        let quote = rest.chars().next().filter(|c| ['"', '\''].contains(c));
        let closed = quote.and_then(|quote| rest[1..].split_once(quote));
        let (term, after) = match closed {
            Some((term, after)) if after.is_empty() || after.starts_with(char::is_whitespace) => {
                (term, after)
            }
            _ => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        if !term.is_empty() {
            terms.push(term.to_owned());
        }
        rest = after.trim_start();
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::terms;

    #[test]
    fn quoted_words_are_one() {
        for (search, expected) in [
            ("", vec![]),
            (" a  b ", vec!["a", "b"]),
            (r#""two words" three"#, vec!["two words", "three"]),
            ("'two words'", vec!["two words"]),
            (r#"it's "open"#, vec!["it's", "\"open"]),
            (r#"""#, vec!["\""]),
            (r#""" x"#, vec!["x"]),
        ] {
            assert_eq!(terms(search), expected, "{search}");
        }
    }
}
