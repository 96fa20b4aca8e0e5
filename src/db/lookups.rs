//! Field lookups (`django/db/models/lookups.py`), and those of texts with `LIKE`.

use sea_orm::{
    DbBackend,
    sea_query::{BinOper, Expr, ExprTrait, Func, LikeExpr},
};

/// The lookups of fields that the admin has, too.
pub const LOOKUPS: [&str; 14] = [
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "gt",
    "gte",
    "lt",
    "lte",
    "in",
    "isnull",
];

/// The condition of a lookup of a text: `contains`, `startswith`, `endswith`, with an `i` before it without regard to case, or `iexact`.
/// On SQLite it never regards the case of ASCII letters, as in Django.
pub fn text_lookup(text: Expr, lookup: &str, value: &str, backend: DbBackend) -> Expr {
    let (kind, ignores_case) = match lookup.strip_prefix('i') {
        Some(kind) => (kind, true),
        None => (lookup, false),
    };
    let escaped = escape_like(value);
    let pattern = match kind {
        "contains" => format!("%{escaped}%"),
        "startswith" => format!("{escaped}%"),
        "endswith" => format!("%{escaped}"),
        _ => escaped,
    };
    match backend {
        // PostgreSQL's LIKE is case-sensitive; its default escape is the backslash.
        DbBackend::Postgres if ignores_case => {
            Func::upper(text).binary(BinOper::Like, Func::upper(pattern))
        }
        _ => text.like(LikeExpr::new(pattern).escape('\\')),
    }
}

/// Escapes a text for a pattern of `LIKE`, with the backslash.
pub fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
