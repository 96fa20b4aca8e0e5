//! The names of indexes and constraints: `TABLE_COLUMNS_DIGESTSUFFIX`, as in Django's `_create_index_name`.

use md5::{Digest, Md5};
use sea_orm_migration::sea_orm::DbBackend;

/// The name of an index or constraint on `columns` of `table`, truncated to 63 bytes on PostgreSQL and 200 on SQLite.
pub fn index_name(backend: DbBackend, table: &str, columns: &[String], suffix: &str) -> String {
    let limit = if backend == DbBackend::Postgres {
        63
    } else {
        200
    };
    let joined = columns.join("_");
    let mut tail = digest(table, columns) + suffix;
    let name = format!("{table}_{joined}_{tail}");
    if name.len() <= limit {
        return name;
    }
    if tail.len() > limit / 3 {
        tail.truncate(limit / 3);
    }
    let rest = (limit - tail.len()) / 2 - 1;
    format!("{table:.rest$}_{joined:.rest$}_{tail}")
}

/// The first 8 hexadecimal digits of the MD5 of the table's and the columns' names.
fn digest(table: &str, columns: &[String]) -> String {
    let mut hash = Md5::new_with_prefix(table);
    columns.iter().for_each(|column| hash.update(column));
    hash.finalize()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
