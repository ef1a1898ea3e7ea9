//! What every table has in common, said once: keys, stamps, references inside the organisation, named constraints.
//!
//! Released migrations are made of these helpers, so a helper never changes what it makes; a new need is a new helper.

use sea_orm_migration::{prelude::*, schema};

/// A table in the making, with the indexes that follow it.
pub struct Draft {
    name: &'static str,
    table: TableCreateStatement,
    indexes: Vec<IndexCreateStatement>,
}

impl Draft {
    /// An empty table.
    pub fn bare(name: &'static str) -> Self {
        Self { name, table: Table::create().table(name).take(), indexes: Vec::new() }
    }

    /// A table whose rows belong to no single organisation.
    pub fn global(name: &'static str) -> Self {
        Self::bare(name).column(schema::pk_uuid("id"))
    }

    /// A table whose rows belong to one organisation each.
    pub fn tenant(name: &'static str) -> Self {
        Self::global(name).organization().identity()
    }

    /// Lets references hold the organisation beside the id. Part of the table, because a table may refer to itself;
    /// other unique keys are indexes, which a later migration can drop on SQLite too.
    fn identity(mut self) -> Self {
        let mut key = self.make_index("uq", &["organization_id", "id"]);
        self.table.index(key.unique());
        self
    }

    /// Adds the tenant.
    pub fn organization(mut self) -> Self {
        self.table.col(schema::uuid("organization_id")).foreign_key(
            ForeignKey::create()
                .name(format!("fk_{}_organization_id", self.name))
                .from(self.name, "organization_id")
                .to("organization", "id"),
        );
        self
    }

    /// Adds the stamps of a row that changes: `created_at`, `updated_at`, `version`.
    pub fn stamps(self) -> Self {
        self.column(schema::timestamp_with_time_zone("created_at"))
            .column(schema::timestamp_with_time_zone("updated_at"))
            .column(schema::big_integer("version"))
            .check("version", Expr::col("version").gte(1))
    }

    /// Adds a column.
    pub fn column(mut self, column: ColumnDef) -> Self {
        self.table.col(column);
        self
    }

    /// Adds a column that holds one of these words.
    pub fn one_of(self, column: &'static str, words: &[&'static str]) -> Self {
        let words = words.iter().copied();
        self.column(schema::string_len(column, 32)).check(column, Expr::col(column).is_in(words))
    }

    /// Adds a reference that every row has to a row of the same organisation, and the index that lists by it.
    pub fn reference(self, column: &'static str, parent: &'static str) -> Self {
        self.refer(schema::uuid(column), column, parent, ForeignKeyAction::Restrict)
    }

    /// Adds a reference that a row may have to a row of the same organisation, and the index that lists by it.
    pub fn reference_null(self, column: &'static str, parent: &'static str) -> Self {
        self.refer(schema::uuid_null(column), column, parent, ForeignKeyAction::Restrict)
    }

    /// Adds a reference without which the row means nothing: it goes when the parent goes.
    pub fn part_of(self, column: &'static str, parent: &'static str) -> Self {
        self.refer(schema::uuid(column), column, parent, ForeignKeyAction::Cascade)
    }

    fn refer(
        mut self,
        definition: ColumnDef,
        column: &'static str,
        parent: &'static str,
        on_delete: ForeignKeyAction,
    ) -> Self {
        self.table.col(definition).foreign_key(
            ForeignKey::create()
                .name(format!("fk_{}_{column}", self.name))
                .from(self.name, ("organization_id", column))
                .to(parent, ("organization_id", "id"))
                .on_delete(on_delete),
        );
        self.index(&["organization_id", column, "id"])
    }

    /// Adds a reference to a user, who belongs to no single organisation.
    pub fn user(mut self, definition: ColumnDef) -> Self {
        self.table.col(definition).foreign_key(
            ForeignKey::create()
                .name(format!("fk_{}_user_id", self.name))
                .from(self.name, "user_id")
                .to("user", "id")
                .on_delete(ForeignKeyAction::Restrict),
        );
        self.index(&["user_id"])
    }

    /// Adds a rule about `column`, which names it.
    pub fn check(mut self, column: &str, rule: Expr) -> Self {
        self.table.check(Check::named(format!("ck_{}_{column}", self.name), rule));
        self
    }

    /// No two rows share these columns. Rows with a null among them are not compared.
    pub fn unique(mut self, columns: &[&'static str]) -> Self {
        self.indexes.push(self.make_index("uq", columns).unique().take());
        self
    }

    /// Finds and orders rows by these columns.
    pub fn index(mut self, columns: &[&'static str]) -> Self {
        self.indexes.push(self.make_index("ix", columns));
        self
    }

    fn make_index(&self, prefix: &str, columns: &[&'static str]) -> IndexCreateStatement {
        make_index(self.name, prefix, columns)
    }

    /// Makes the table and its indexes.
    pub async fn create(self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        manager.create_table(self.table).await?;
        for index in self.indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn index_name(table: &str, prefix: &str, columns: &[&'static str]) -> String {
    format!("{prefix}_{table}__{}", columns.join("__"))
}

fn make_index(table: &'static str, prefix: &str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(index_name(table, prefix, columns)).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

/// Adds indexes to tables that are there already: for each its table and its columns.
pub async fn add_indexes(
    manager: &SchemaManager<'_>,
    indexes: &[(&'static str, &[&'static str])],
) -> Result<(), DbErr> {
    for (table, columns) in indexes {
        manager.create_index(make_index(table, "ix", columns)).await?;
    }
    Ok(())
}

/// Drops what [`add_indexes`] added.
pub async fn drop_indexes(
    manager: &SchemaManager<'_>,
    indexes: &[(&'static str, &[&'static str])],
) -> Result<(), DbErr> {
    for (table, columns) in indexes {
        let mut index = Index::drop();
        index.name(index_name(table, "ix", columns)).table(*table);
        manager.drop_index(index).await?;
    }
    Ok(())
}

/// No amount of money is larger than this many minor units, so that a sum of nine thousand of them fits in 64 bits.
pub const LARGEST_AMOUNT: i64 = 1_000_000_000_000_000;

/// Drops tables, children first.
pub async fn drop_tables(manager: &SchemaManager<'_>, names: &[&'static str]) -> Result<(), DbErr> {
    for name in names {
        manager.drop_table(Table::drop().table(*name).take()).await?;
    }
    Ok(())
}
