//! What the SELECT of a model means now, asked of the server without computing a row, beside what was made of it.

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use crate::catalog;
use crate::connect::sort;
use crate::error::Result;
use crate::plan::ModelPlan;
use crate::schema::{TableRef, ViewDef, quote_ident};

const BEGIN: &str = "savepoint dwh_probe";
const BACK: &str = "rollback to savepoint dwh_probe; release savepoint dwh_probe";

/// A column as a view may keep it: name, type, collation.
const COLUMNS: &str = "select a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attcollation \
     from pg_catalog.pg_attribute a where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped \
     order by a.attnum";

/// Everything that the query of a view or of a materialized view is bound to, by what it is and not by its name.
const READS: &str = "select d.refclassid, d.refobjid, \
         case d.refclassid when 'pg_catalog.pg_class'::pg_catalog.regclass \
             then (select pg_catalog.format('%s.%s', n.nspname, c.relname) from pg_catalog.pg_class c \
                 join pg_catalog.pg_namespace n on n.oid = c.relnamespace where c.oid = d.refobjid) \
             else pg_catalog.pg_describe_object(d.refclassid, d.refobjid, 0) end \
     from pg_catalog.pg_rewrite r join pg_catalog.pg_depend d \
         on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and d.objid = r.oid \
     where r.ev_class = pg_catalog.to_regclass($1) \
         and not (d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = r.ev_class) \
     group by 1, 2 order by 1, 2";

/// A column: its name, its type, its collation.
type Shape = (String, String, u32);

/// Something that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    class: u32,
    oid: u32,
    name: String,
}

/// What would be made, beside what is there.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    new: Vec<Shape>,
    old: Vec<Shape>,
    reads: Vec<Read>,
    read: Vec<Read>,
    /// The views over what is there, each behind those that it is made of.
    pub(super) views: Vec<ViewDef>,
}

impl Probe {
    /// As the role that would build it; nothing of it is left. What is there has the name of the model.
    ///
    /// # Errors
    /// What the server says about the SELECT; the transaction goes on then.
    pub(super) async fn of(client: &impl GenericClient, plan: &ModelPlan<'_>, owner: &str) -> Result<Self> {
        let begin = format!("{BEGIN}; set local role {}", quote_ident(owner));
        client.batch_execute(&begin).await.map_err(sort)?;
        let probe = look(client, plan).await;
        let back = client.batch_execute(BACK).await.map_err(sort);
        let probe = probe?;
        back.map(|()| probe)
    }

    /// Whether a table keeps its columns.
    pub(super) fn same_columns(&self) -> bool {
        self.old == self.new
    }

    /// What the SELECT of a materialized view gives that it was not made of: a `*` in it means other columns than then.
    /// `None` if they are the same.
    pub(super) fn reshaped(&self) -> Option<String> {
        (!self.same_columns()).then(|| "its SELECT gives other columns than it has".to_owned())
    }

    /// Whether `create or replace view` takes it: the columns are as they were, or more at the end.
    pub(super) fn replaces(&self) -> bool {
        self.new.starts_with(&self.old)
    }

    /// What a materialized view goes on reading that its SELECT does not name any more: a table that was put aside, or made
    /// again under the same name. `None` if it reads what it names.
    pub(super) fn left_behind(&self) -> Option<String> {
        let key = |read: &Read| (read.class, read.oid);
        let lacks = |there: &[Read], read: &Read| !there.iter().any(|other| key(other) == key(read));
        let names = |these: &[Read], others: &[Read]| -> Vec<String> {
            these.iter().filter(|read| lacks(others, read)).map(|read| format!("`{}`", read.name)).collect()
        };
        let (gone, come) = (names(&self.read, &self.reads), names(&self.reads, &self.read));
        match (gone.is_empty(), come.is_empty()) {
            (true, true) => None,
            (true, false) => Some(format!("its SELECT means {}, which it did not read", come.join(", "))),
            (false, true) => Some(format!("it read {}, which its SELECT does not mean any more", gone.join(", "))),
            (false, false) => {
                Some(format!("it read {}, and its SELECT means {} now", gone.join(", "), come.join(", ")))
            }
        }
    }
}

async fn look(client: &impl GenericClient, plan: &ModelPlan<'_>) -> Result<Probe> {
    let (there, probe) = (&plan.name, plan.probe());
    let old = shape(client, there).await?;
    let read = reads(client, there).await?;
    let views = catalog::views(client, there).await?;
    client.execute_typed(&plan.create_probe(), &[]).await.map_err(sort)?;
    Ok(Probe { new: shape(client, &probe).await?, reads: reads(client, &probe).await?, old, read, views })
}

async fn shape(client: &impl GenericClient, relation: &TableRef) -> Result<Vec<Shape>> {
    let rows = client.query_typed(COLUMNS, &[(&relation.sql(), Type::TEXT)]).await.map_err(sort)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

async fn reads(client: &impl GenericClient, relation: &TableRef) -> Result<Vec<Read>> {
    let rows = client.query_typed(READS, &[(&relation.sql(), Type::TEXT)]).await.map_err(sort)?;
    let read = |row: &tokio_postgres::Row| Read {
        class: row.get(0),
        oid: row.get(1),
        name: row.get::<_, Option<String>>(2).unwrap_or_default(),
    };
    Ok(rows.iter().map(read).collect())
}
