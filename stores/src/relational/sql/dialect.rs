//! Everything that differs between SQLite and PostgreSQL: connections, lists of keys, pages per parent, and how the
//! database says which constraint stood in the way. The rest of the adapter is written once.

use super::{STORE, fault, postgres, session::Session, table::Table};
use crate::{
    Result,
    error::{ErrorKind, StoreError},
};
use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{
    Condition, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, SqlxError,
    SqlxSqliteError, Statement, TransactionOptions, Value as SqlValue,
    sea_query::{Expr, ExprTrait, Func, JoinType, Query, SelectStatement},
    sqlx::{
        error::{DatabaseError, ErrorKind as SqlxKind},
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
    },
};
use serde_json::Value as Json;
use std::{path::Path, time::Duration};
use uuid::Uuid;

/// What a list of keys or a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Int,
    Uuid,
    Time,
}

/// The column of a list of keys that holds the key's place in the batch.
pub(super) const ORDINAL: &str = "ordinal";
/// The column of a list of keys that holds the key.
pub(super) const KEY: &str = "key";

/// The name of the adapter in the compatibility table.
pub(super) fn adapter_name(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "postgres",
        _ => "sqlite",
    }
}

/// How an id is written in a list.
pub(super) fn id_text(id: Uuid) -> String {
    id.simple().to_string()
}

/// How a time is written in a list: on SQLite the text that is stored, for it is compared as text.
pub(super) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// A list of values as a subquery of one column, made of one parameter.
pub(super) fn list(backend: DbBackend, of: Type, values: Vec<Json>) -> SelectStatement {
    let mut select = Query::select();
    match backend {
        DbBackend::Postgres => select.expr_as(unnest(of, &values), KEY),
        _ => select
            .expr_as(sqlite_value(of, Expr::col(("list", "value"))), KEY)
            .from_function(Func::cust("json_each").arg(Json::from(values).to_string()), "list"),
    };
    select
}

/// The same with the place of each value in the list as [`ORDINAL`].
pub(super) fn keys(backend: DbBackend, of: Type, values: Vec<Json>) -> SelectStatement {
    let places = (0..values.len()).map(Json::from).collect::<Vec<_>>();
    let mut select = list(backend, of, values);
    match backend {
        DbBackend::Postgres => select.expr_as(unnest(Type::Int, &places), ORDINAL),
        _ => select.expr_as(Expr::col(("list", "key")), ORDINAL),
    };
    select
}

/// A list of tuples, each a JSON array, as a subquery with named columns: one parameter, or on PostgreSQL one a column.
pub(super) fn tuples(backend: DbBackend, columns: &[(&'static str, Type)], rows: Vec<Json>) -> SelectStatement {
    let mut select = Query::select();
    if backend == DbBackend::Postgres {
        for (index, (name, of)) in columns.iter().enumerate() {
            let values: Vec<Json> = rows.iter().map(|row| row.get(index).cloned().unwrap_or_default()).collect();
            select.expr_as(unnest(*of, &values), *name);
        }
        return select;
    }
    select.from_function(Func::cust("json_each").arg(Json::from(rows).to_string()), "list");
    for (index, (name, of)) in (0_i32..).zip(columns) {
        let field = Func::cust("json_extract").arg(Expr::col(("list", "value"))).arg(format!("$[{index}]"));
        select.expr_as(sqlite_value(*of, field), *name);
    }
    select
}

/// The rows of an array of PostgreSQL, made of one parameter. Arrays that stand side by side in a select list advance
/// together.
///
/// Of an array whose length it does not know the planner expects ten rows, and of JSON a hundred: enough to make it read
/// a whole table rather than look up keys, the more so in a generic plan.
fn unnest(of: Type, values: &[Json]) -> Expr {
    Func::cust("unnest").arg(array(of, values)).into()
}

fn array(of: Type, values: &[Json]) -> Expr {
    Expr::val(array_text(values)).cast_as(format!("{}[]", postgres_type(of)))
}

/// An array as PostgreSQL reads it: quoted, so that no sign in it means anything but itself.
fn array_text(values: &[Json]) -> String {
    let element = |value: &Json| match value {
        Json::Null => "NULL".to_owned(),
        Json::String(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        other => other.to_string(),
    };
    format!("{{{}}}", values.iter().map(element).collect::<Vec<_>>().join(","))
}

/// Whether `column` is one of these.
pub(super) fn one_of(backend: DbBackend, of: Type, column: Expr, values: Vec<Json>) -> Expr {
    match backend {
        DbBackend::Postgres => column.eq(Func::cust("ANY").arg(array(of, &values))),
        _ => column.in_subquery(list(backend, of, values)),
    }
}

/// The statement with its one `LIMIT` spelt out, which stands behind every other parameter. PostgreSQL takes a limit that
/// it does not know for a tenth of all rows, and its generic plan would then sort them all.
pub(super) fn limited(backend: DbBackend, select: &SelectStatement) -> Statement {
    let mut statement = backend.build(select);
    if backend == DbBackend::Postgres
        && let Some(values) = &mut statement.values
        && let Some(SqlValue::BigUnsigned(Some(limit))) = values.0.last()
    {
        let parameter = format!("LIMIT ${}", values.0.len());
        statement.sql = statement.sql.replacen(&parameter, &format!("LIMIT {limit}"), 1);
        values.0.pop();
    }
    statement
}

fn sqlite_value(of: Type, value: impl Into<Expr>) -> Expr {
    match of {
        Type::Uuid => Func::cust("unhex").arg(value.into()).into(),
        _ => value.into(),
    }
}

fn postgres_type(of: Type) -> &'static str {
    match of {
        Type::Text => "text",
        Type::Int => "bigint",
        Type::Uuid => "uuid",
        Type::Time => "timestamptz",
    }
}

/// Joins to every row of `outer` the rows of `E` that `inner` selects for it, as `alias`. `inner` calls its rows
/// `inner_alias`, has an order and a limit, selects nothing yet, and may name columns of `outer`.
///
/// SQLite has no `LATERAL`, but runs a correlated list with a limit of its own for each outer row, which walks an index
/// just as far as the limit.
pub(super) fn join_each<E: Table>(
    backend: DbBackend,
    outer: &mut SelectStatement,
    mut inner: SelectStatement,
    inner_alias: &'static str,
    alias: &'static str,
) {
    match backend {
        DbBackend::Postgres => {
            inner.columns(E::columns(inner_alias));
            outer.join_lateral(JoinType::InnerJoin, inner, alias, Expr::cust("TRUE"))
        }
        _ => {
            inner.column((inner_alias, "id"));
            outer
                .join_as(JoinType::CrossJoin, E::name(), alias, Condition::all())
                .and_where(Expr::col((alias, "id")).in_subquery(inner))
        }
    };
}

/// For each of `keys` (called by their alias) what `sums` says of the rows of `table`, with the columns `carried` over from
/// the key. `sums` selects `columns` and is grouped; it has no `FROM` yet and may name columns of the keys.
///
/// PostgreSQL sums for one key after the other, so that it knows a range when it sees its two bounds. As a join it takes
/// them for two conditions that a third of all rows satisfies each, and reads the whole table.
pub(super) fn sum_each(
    backend: DbBackend,
    (keys, key): (SelectStatement, &'static str),
    carried: &[&'static str],
    mut sums: SelectStatement,
    (table, row): (&'static str, &'static str),
    columns: &[&'static str],
) -> SelectStatement {
    let of_key = || carried.iter().map(|column| (key, *column));
    if backend == DbBackend::Postgres {
        sums.from_as(table, row);
        return Query::select()
            .columns(of_key())
            .columns(columns.iter().map(|column| ("sums", *column)))
            .from_subquery(keys, key)
            .join_lateral(JoinType::InnerJoin, sums, "sums", Expr::cust("TRUE"))
            .take();
    }
    sums.columns(of_key())
        .from_subquery(keys, key)
        // Taken as an order: keys first.
        .join_as(JoinType::CrossJoin, table, row, Condition::all())
        .group_by_columns(of_key())
        .take()
}

/// Whether `text` contains `needle`, ignoring the case of ASCII letters. `lower` knows only ASCII on SQLite, and on
/// PostgreSQL under the `C` collation; `LIKE` is avoided for its limit on patterns.
pub(super) fn contains(backend: DbBackend, text: Expr, needle: &str) -> Expr {
    let position = match backend {
        DbBackend::Postgres => "strpos",
        _ => "instr",
    };
    Expr::from(Func::cust(position).arg(Func::lower(text)).arg(needle.to_ascii_lowercase())).gt(0)
}

/// The first characters of the date of a time in UTC, such as `2026-01-31`; `length` says how many. Years have four
/// digits: others are not stored.
pub(super) fn date_text(backend: DbBackend, time: Expr, length: Expr) -> Expr {
    let (date, length) = match backend {
        DbBackend::Postgres => {
            let local = Func::cust("timezone").arg("UTC").arg(time);
            (Func::cust("to_char").arg(local).arg("YYYY-MM-DD").into(), length.cast_as("integer"))
        }
        _ => (time, length),
    };
    Func::cust("substr").arg(date).arg(1_i32).arg(length).into()
}

/// Takes the write lock at once: a transaction that reads first and asks for it later would fail when another process
/// wrote in between.
pub(super) fn write_options() -> TransactionOptions {
    TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    }
}

/// How long SQLite waits for the lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Waiting for a connection longer than this means that the store is overloaded.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading connections; each is a thread with a page cache.
const READERS: u32 = 4;
/// Prepared statements kept by a connection: some twenty shapes for each of the fourteen kinds.
const STATEMENTS: usize = 512;
/// Marks a SQLite file as ours: `CHIM`.
const APPLICATION_ID: i32 = 0x4348_494d;

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode `NORMAL` would lose acknowledged commits when the machine loses power.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS)
}

fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        // The database is in this process: there is no connection that could have gone away.
        .test_before_acquire(false)
}

/// The one connection that writes; makes the file when there is none.
pub(super) async fn connect_sqlite_writer(path: &Path) -> Result<DatabaseConnection, SqlxError> {
    let pool = sqlite_pool(1).connect_with(sqlite_options(path).create_if_missing(true)).await?;
    Ok(pool.into())
}

/// The connections that read.
pub(super) async fn connect_sqlite_reader(path: &Path) -> Result<DatabaseConnection, SqlxError> {
    let pool = sqlite_pool(READERS).connect_with(sqlite_options(path).pragma("query_only", "ON")).await?;
    Ok(pool.into())
}

/// Refuses a file that is damaged or belongs to another program, and marks a new one as ours.
pub(super) async fn check_sqlite_file(writer: &DatabaseConnection, place: &str) -> Result<()> {
    let failed = |error: DbErr| fault::opening_database(place, error);
    let rows = writer.query_all_raw(sqlite("PRAGMA quick_check(1)")).await.map_err(failed)?;
    let mut problems = Vec::new();
    for row in rows {
        problems.push(row.try_get_by_index::<String>(0).map_err(failed)?);
    }
    if problems != ["ok"] {
        return Err(StoreError::with_source(STORE, ErrorKind::Corrupt, fault::damaged(place), problems.join("; ")));
    }
    let number = async |sql: &str| -> Result<i64> {
        let row = writer.query_one_raw(sqlite(sql)).await.map_err(failed)?;
        row.map_or(Ok(0), |row| row.try_get_by_index::<i64>(0).map_err(failed))
    };
    if number("SELECT COUNT(*) FROM sqlite_schema").await? == 0 {
        let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
        writer.execute_unprepared(&mark).await.map_err(failed)?;
    } else if number("PRAGMA application_id").await? != i64::from(APPLICATION_ID) {
        return Err(StoreError::new(STORE, ErrorKind::Corrupt, fault::damaged(place)));
    }
    Ok(())
}

fn sqlite(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

/// A constraint that stood in the way, with the columns it is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// Another row has the same values in these columns.
    Unique(Vec<String>),
    /// A referenced row is missing, or a row is still referred to; the column when the database names it.
    Reference(Option<String>),
    /// The rule about this column does not hold.
    Check(String),
    /// The row's period overlaps with that of another row.
    Overlap,
}

/// The constraint of `table` that made a statement fail, if that is what happened.
pub(super) fn violation(error: &dyn DatabaseError, table: &str) -> Option<Violation> {
    let name = error.constraint();
    let column = |prefix: &str, name: &str| name.strip_prefix(&format!("{prefix}_{table}_")).unwrap_or(name).to_owned();
    match error.kind() {
        SqlxKind::UniqueViolation => Some(Violation::Unique(match name {
            Some(name) if name.ends_with("_pkey") => vec!["id".to_owned()],
            Some(name) => columns(column("uq", name).trim_start_matches('_').split("__")),
            // `UNIQUE constraint failed: persona.organization_id, persona.handle`
            None => columns(
                after_colon(error.message())
                    .split(", ")
                    .map(|column| column.rsplit_once('.').map_or(column, |(_, column)| column)),
            ),
        })),
        SqlxKind::ForeignKeyViolation => Some(Violation::Reference(name.map(|name| column("fk", name)))),
        // `CHECK constraint failed: ck_campaign_ends_at`
        SqlxKind::CheckViolation => {
            Some(Violation::Check(column("ck", name.unwrap_or_else(|| after_colon(error.message())))))
        }
        SqlxKind::ExclusionViolation => Some(Violation::Overlap),
        // What a trigger says that stands in for a constraint SQLite does not have.
        _ if is_sqlite(error) && error.message().starts_with("EXCLUDE constraint failed") => Some(Violation::Overlap),
        // RESTRICT is done by SQLite's own triggers, so a delete that it refuses has another code.
        _ if is_sqlite(error) && error.code().as_deref() == Some("1811") => Some(Violation::Reference(None)),
        _ => None,
    }
}

/// Without the organisation, which goes without saying.
fn columns<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.filter(|name| *name != "organization_id").map(str::to_owned).collect()
}

fn after_colon(message: &str) -> &str {
    message.rsplit_once(": ").map_or(message, |(_, rest)| rest)
}

fn is_sqlite(error: &dyn DatabaseError) -> bool {
    error.try_downcast_ref::<SqlxSqliteError>().is_some()
}

/// The kind of a failure that is not about a constraint.
pub(super) fn failure(error: &dyn DatabaseError) -> (ErrorKind, &'static str) {
    if !is_sqlite(error) {
        return postgres::failure(error);
    }
    // The low byte of SQLite's extended result codes is the class: https://www.sqlite.org/rescode.html
    let class = error.code().and_then(|code| code.parse::<u32>().ok());
    match class.map(|code| code & 0xff) {
        Some(5 | 6) => (ErrorKind::Unavailable, "the database is locked by another process"),
        Some(8) => (ErrorKind::Unavailable, "the database cannot be written"),
        Some(13) => (ErrorKind::Unavailable, "the disk is full"),
        Some(3 | 7 | 10 | 14 | 15 | 23) => (ErrorKind::Unavailable, "the database file cannot be used"),
        Some(11 | 26) => (ErrorKind::Corrupt, "the database file is damaged"),
        Some(18) => (ErrorKind::Invalid, "a value is too large for the database"),
        _ => (ErrorKind::Internal, "the database refused a statement"),
    }
}

/// What stands in the way of a migration, and what its operator can do about it.
pub(super) fn migration_advice(error: &dyn DatabaseError) -> Option<(&'static str, &'static str)> {
    if is_sqlite(error) { None } else { postgres::migration_advice(error) }
}

/// The references of `table` to other tables: its column, and the table it refers to. SQLite does not say which foreign
/// key was broken, so the writer asks for them and looks.
pub(super) async fn references(open: &Session, table: &str) -> Result<Vec<(String, String)>, DbErr> {
    if open.get_database_backend() != DbBackend::Sqlite {
        return Ok(Vec::new());
    }
    let sql = r#"SELECT "from", "table" FROM pragma_foreign_key_list(?) WHERE "to" = 'id' ORDER BY "id" DESC"#;
    let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [table.into()]);
    let rows = open.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_in_an_array_means_anything_but_itself() {
        let values = [json!("plain"), json!(r#"a"b\c,{d}"#), json!("NULL"), json!(""), Json::Null, json!(7)];
        assert_eq!(array_text(&values), r#"{"plain","a\"b\\c,{d}","NULL","",NULL,7}"#);
        assert_eq!(array_text(&[]), "{}");
    }

    #[test]
    fn a_limit_is_spelt_out_for_postgres_only() {
        let mut select = Query::select();
        select.column("id").from("persona").and_where(Expr::col("name").eq("LIMIT $2")).limit(21);
        let statement = limited(DbBackend::Postgres, &select);
        assert_eq!(statement.sql, r#"SELECT "id" FROM "persona" WHERE "name" = $1 LIMIT 21"#);
        assert_eq!(statement.values.unwrap().0, ["LIMIT $2".into()]);
        let statement = limited(DbBackend::Sqlite, &select);
        assert_eq!(statement.values.unwrap().0.len(), 2);
    }
}
