//! What of a relation must not change between plan and read: its kind, its columns and their types.

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use crate::catalog::{is_hypertable, printed_type, relation_kind, type_name};
use crate::connect::sort;
use crate::error::{Error, ErrorKind, Result};
use crate::identity::Member;
use crate::schema::{Column, RelationKind, TableRef, TableSchema, TypeName};

const COLUMNS: &str = concat!(
    "select c.relkind::text, pg_catalog.to_regclass('_timescaledb_catalog.hypertable') is not null, \
     a.attname::text, ",
    printed_type!(),
    ", a.attgenerated <> '', \
     c.oid, c.relfilenode, n.nspname || '.' || c.relname, c.relhassubclass \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped \
     where n.nspname = $1 and c.relname = $2 order by a.attnum"
);

/// A relation as one question shows it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) shape: Shape,
    /// The relation itself, where all of its rows lie in it; `None`: that is not known.
    pub(super) alone: Option<Member>,
}

/// What must stay as it was planned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    kind: RelationKind,
    /// Name, type and whether it is generated, in their order.
    pub(super) columns: Vec<(String, TypeName, bool)>,
}

impl Shape {
    /// The shape of a description.
    pub(super) fn of(schema: &TableSchema) -> Self {
        let shape = |column: &Column| (column.name.clone(), column.type_name.clone(), column.generated);
        Self { kind: schema.kind, columns: schema.columns.iter().map(shape).collect() }
    }
}

impl Seen {
    /// Asks for it. The second value says whether [`Self::settled`] has to look closer.
    pub(super) async fn ask(client: &Client, relation: &TableRef) -> Result<(Self, bool)> {
        let names: [(&(dyn ToSql + Sync), Type); 2] = [(&relation.schema, Type::TEXT), (&relation.name, Type::TEXT)];
        let rows = client.query_typed(COLUMNS, &names).await.map_err(sort)?;
        let gone = || Error::new(ErrorKind::NotFound, format!("{relation} is not there any more"));
        let first = rows.first().ok_or_else(gone)?;
        let kind = relation_kind(first.get(0), false).ok_or_else(gone)?;
        let mut columns = Vec::new();
        for row in &rows {
            // A relation may have no column.
            let Some(name) = row.get::<_, Option<String>>(2) else { continue };
            let type_name = type_name(&name, row.get(3))?;
            columns.push((name, type_name, row.get(4)));
        }
        let has_rows = matches!(kind, RelationKind::Table | RelationKind::Foreign | RelationKind::MaterializedView);
        let alone = (has_rows && !first.get::<_, bool>(8)).then(|| Member {
            oid: first.get(5),
            file: first.get(6),
            name: first.get(7),
            foreign: kind == RelationKind::Foreign,
        });
        Ok((Self { shape: Shape { kind, columns }, alone }, kind == RelationKind::Table && first.get(1)))
    }

    /// The same with its kind made sure of, where the database has TimescaleDB.
    pub(super) async fn settled(mut self, client: &Client, relation: &TableRef) -> Result<Self> {
        if is_hypertable(client, relation).await? {
            self.shape.kind = RelationKind::Hypertable;
        }
        Ok(self)
    }
}
