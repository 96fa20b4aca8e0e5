//! The tables of the database as they are, also those that this program does not know.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, Statement,
    sea_query::{
        Alias, Expr, ExprTrait, Func, IntoTableRef, Order, Query, SelectStatement, TableRef,
    },
};

use crate::apps;

/// Rows whose keys a [`Blocker`] names.
const MAX_KEYS: u64 = 10;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as the database names it: `character varying(200)`.
    pub sql_type: String,
    /// Whether it may be NULL.
    pub is_null: bool,
    /// Whether rows without a value get one: by a default, or by a sequence.
    pub has_default: bool,
    /// Whether it is the primary key or a part of it.
    pub is_primary_key: bool,
    /// Whether the database generates the values of the primary key.
    pub is_generated: bool,
    /// The table and the column that it references.
    pub references: Option<(String, String)>,
    /// Whether it is in an SQLite database, whose types have other meanings.
    pub is_sqlite: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
}

/// A foreign key of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The schema of its table, if the search path does not have it.
    pub schema: Option<String>,
    /// Its table.
    pub table: String,
    /// Its column.
    pub column: String,
    /// The table that it references.
    pub related: String,
    /// The column that it references.
    pub related_column: String,
    /// Whether the database itself deletes or changes the rows when the referenced row is deleted.
    pub is_handled: bool,
    /// Whether the role may read its table.
    pub is_readable: bool,
}

/// Rows of a table that this program does not know, which refer to rows that are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The foreign key.
    pub key: ForeignKey,
    /// The number of rows.
    pub count: u64,
    /// The primary keys of the first ones.
    pub keys: Vec<String>,
}

/// The names of the tables, sorted.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn table_names(db: &impl ConnectionTrait) -> Result<Vec<String>, DbErr> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
        }
        _ => {
            "SELECT relname::text AS name FROM pg_class WHERE relkind IN ('r', 'p') AND pg_table_is_visible(oid) \
             AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace) ORDER BY 1"
        }
    };
    let rows = db
        .query_all_raw(Statement::from_string(db.get_database_backend(), sql))
        .await?;
    rows.iter().map(|row| row.try_get("", "name")).collect()
}

/// Whether a table is one of this program's, or Django's record of the migrations.
pub fn is_known(table: &str) -> bool {
    table == "django_migrations" || known_tables().any(|known| known == table)
}

/// The tables of all models.
pub fn known_tables() -> impl Iterator<Item = String> {
    let tables = apps::models().iter().flat_map(apps::tables);
    tables.map(|table| table.into_owned())
}

/// The columns of a table; none if it does not exist.
///
/// # Errors
/// When the database cannot be reached or a query fails.
pub async fn describe(db: &impl ConnectionTrait, table: &str) -> Result<Table, DbErr> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT name, type AS sql_type, \"notnull\" = 0 AND pk = 0 AS is_null, dflt_value IS NOT NULL AS has_default, \
             pk > 0 AS is_primary_key, pk > 0 AND lower(type) = 'integer' AS is_generated FROM pragma_table_xinfo($1) WHERE hidden <> 1 ORDER BY cid"
        }
        _ => {
            "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS sql_type, NOT a.attnotnull AS is_null, \
             a.atthasdef OR a.attidentity <> '' AS has_default, coalesce(a.attnum = ANY(i.indkey), false) AS is_primary_key, \
             a.atthasdef OR a.attidentity <> '' AS is_generated \
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
             WHERE c.relname = $1 AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        }
    };
    let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
    let rows = db.query_all_raw(statement).await?;
    let foreign_keys = foreign_keys(db).await?;
    let column = |row: &QueryResult| {
        let name: String = row.try_get("", "name")?;
        let key = foreign_keys
            .iter()
            .find(|key| key.table == table && key.column == name);
        Ok(Column {
            sql_type: row.try_get("", "sql_type")?,
            is_null: row.try_get("", "is_null")?,
            has_default: row.try_get("", "has_default")?,
            is_primary_key: row.try_get("", "is_primary_key")?,
            is_generated: row.try_get("", "is_generated")?,
            references: key.map(|key| (key.related.clone(), key.related_column.clone())),
            is_sqlite: backend == DbBackend::Sqlite,
            name,
        })
    };
    Ok(Table {
        name: table.to_owned(),
        columns: rows.iter().map(column).collect::<Result<_, DbErr>>()?,
    })
}

/// All foreign keys of one column.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn foreign_keys(db: &impl ConnectionTrait) -> Result<Vec<ForeignKey>, DbErr> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT NULL AS \"schema\", m.name AS \"table\", f.\"from\" AS \"column\", f.\"table\" AS related, \
             coalesce(f.\"to\", 'id') AS related_column, f.on_delete IN ('CASCADE', 'SET NULL', 'SET DEFAULT') AS is_handled, \
             1 AS is_readable FROM sqlite_master m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table' ORDER BY m.name, f.\"from\""
        }
        _ => {
            "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN NULL ELSE c.relnamespace::regnamespace::text END AS schema, \
             c.relname::text AS \"table\", a.attname::text AS \"column\", r.relname::text AS related, \
             ra.attname::text AS related_column, k.confdeltype IN ('c', 'n', 'd') AS is_handled, \
             has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE') AS is_readable \
             FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[1] \
             JOIN pg_attribute ra ON ra.attrelid = r.oid AND ra.attnum = k.confkey[1] \
             WHERE k.contype = 'f' AND cardinality(k.conkey) = 1 AND pg_table_is_visible(r.oid) ORDER BY 2, 3"
        }
    };
    let rows = db
        .query_all_raw(Statement::from_string(backend, sql))
        .await?;
    let key = |row: &QueryResult| {
        Ok(ForeignKey {
            schema: row.try_get("", "schema")?,
            table: row.try_get("", "table")?,
            column: row.try_get("", "column")?,
            related: row.try_get("", "related")?,
            related_column: row.try_get("", "related_column")?,
            is_handled: row.try_get("", "is_handled")?,
            is_readable: row.try_get("", "is_readable")?,
        })
    };
    rows.iter().map(key).collect()
}

/// The foreign keys of unknown tables to known ones.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn foreign_keys_to_known(db: &impl ConnectionTrait) -> Result<Vec<ForeignKey>, DbErr> {
    let mut keys = foreign_keys(db).await?;
    keys.retain(|key| is_known(&key.related) && (key.schema.is_some() || !is_known(&key.table)));
    Ok(keys)
}

/// The rows of unknown tables that refer to rows of `table` and that the database does not handle when these are deleted. `rows`
/// selects from that table; its columns are set here.
///
/// # Errors
/// When the database cannot be reached or a query fails.
pub async fn find_blockers(
    db: &impl ConnectionTrait,
    foreign_keys: &[ForeignKey],
    table: &str,
    rows: &SelectStatement,
) -> Result<Vec<Blocker>, DbErr> {
    let mut blockers = Vec::new();
    for key in foreign_keys
        .iter()
        .filter(|key| key.related == table && !key.is_handled && key.is_readable)
    {
        let mut referenced = rows.clone();
        referenced.column(Alias::new(&key.related_column));
        let referring = Query::select()
            .from(key.table_ref())
            .and_where(Expr::col(Alias::new(&key.column)).in_subquery(referenced))
            .take();
        let count = referring.clone().expr(Func::count(Expr::val(1))).take();
        let row = db.query_one(&count).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
        if count == 0 {
            continue;
        }
        let columns = describe(db, &key.table).await?.columns;
        let mut keys = Vec::new();
        if let Some(primary) = columns.iter().find(|column| column.is_primary_key) {
            let primary = Expr::col(Alias::new(&primary.name));
            let query = referring
                .clone()
                .expr(primary.clone().cast_as("text"))
                .order_by_expr(primary, Order::Asc)
                .limit(MAX_KEYS)
                .take();
            for row in db.query_all(&query).await? {
                // A key that is no text is not named.
                keys.extend(row.try_get_by_index::<String>(0).ok());
            }
        }
        blockers.push(Blocker {
            key: key.clone(),
            count: count.unsigned_abs(),
            keys,
        });
    }
    Ok(blockers)
}

impl ForeignKey {
    fn table_ref(&self) -> TableRef {
        let table = Alias::new(&self.table);
        match &self.schema {
            Some(schema) => (Alias::new(schema), table).into_table_ref(),
            None => table.into_table_ref(),
        }
    }

    /// The name of its table, with the schema if it needs one.
    pub fn table_name(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.table),
            None => self.table.clone(),
        }
    }
}
