//! What a catalog says of the types that PostgreSQL itself does not bring.

use tokio_postgres::types::Type;
use tokio_postgres::{GenericClient, Row};

use super::type_name;
use crate::connect::sort;
use crate::error::Result;
use crate::schema::{Attribute, ObjectName, TableRef, TypeDef, TypeKind};

/// SQL for the type of a column `a` of `pg_attribute`, as `format_type` prints it. For `geometry(Point,4326)` that function
/// would load the library of PostGIS into the session, which takes longer than the whole question: bits of the modifier are
/// spelled out here as `postgis_typmod_out` does (PostGIS, `libpgcommon/gserialized_typmod.c`), and what it may say of kinds
/// of geometry that came later is left to it.
macro_rules! printed_type {
    () => {
        "coalesce(case when a.atttypmod between 1 and 268435455 and ( \
                 select t.typmodout::text ~ '(^|[.])geo(metry|graphy)_typmod_out$' from pg_catalog.pg_type t \
                 where t.oid = a.atttypid and t.typelem = 0) \
             then pg_catalog.format_type(a.atttypid, null) || '(' || (array['Geometry', 'Point', 'LineString', 'Polygon', \
                 'MultiPoint', 'MultiLineString', 'MultiPolygon', 'GeometryCollection', 'CircularString', 'CompoundCurve', \
                 'CurvePolygon', 'MultiCurve', 'MultiSurface', 'PolyhedralSurface', 'Triangle', 'Tin' \
             ])[1 + ((a.atttypmod & 252) >> 2)] || case when a.atttypmod & 2 > 0 then 'Z' else '' end \
             || case when a.atttypmod & 1 > 0 then 'M' else '' end \
             || coalesce(',' || nullif((a.atttypmod & 268435200) >> 8, 0), '') || ')' end, \
         pg_catalog.format_type(a.atttypid, a.atttypmod))"
    };
}
pub(crate) use printed_type;

/// Has the session load PostGIS, if the table has a column of its types: printing a modifier does, and 0 stands for none.
const LOAD_POSTGIS: &str = "select pg_catalog.format_type(t.oid, 0) from pg_catalog.pg_attribute a \
     join pg_catalog.pg_type t on t.oid = a.atttypid \
     where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0 and not a.attisdropped \
     and t.typtype = 'b' and t.typname in ('geometry', 'geography') limit 1";

/// From the columns of relations, types by number and types by name, down to all that they are made of; and what the
/// extensions bring. The walk ends at types of PostgreSQL and of extensions. An array leads to its elements, a multirange to
/// its range, and neither is listed. Asked by number, so that no right to use a schema is needed. `to_jsonb`, because
/// `rngmultitypid` is not in every version. The form of `unnest` with two arrays exists only without its schema.
const TYPES: &str = "with recursive member(oid, extension) as ( \
         select d.objid, x.extname::text from pg_catalog.pg_extension x join pg_catalog.pg_depend d on d.refobjid = x.oid \
             and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e' \
             and d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass), \
     reach(oid) as ( \
         select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = any ($1) and a.attnum > 0 and not a.attisdropped \
         union select pg_catalog.unnest($2) \
         union select t.oid from unnest($3, $4) w(schema, name) join pg_catalog.pg_namespace n on n.nspname = w.schema \
             join pg_catalog.pg_type t on t.typnamespace = n.oid and t.typname = w.name \
         union select m.oid from member m \
         union select part.oid from reach join pg_catalog.pg_type t on t.oid = reach.oid \
             cross join lateral ( \
                 select e.oid from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid \
                 union all select t.typbasetype where t.typtype = 'd' \
                 union all select a.atttypid from pg_catalog.pg_attribute a \
                     where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped \
                 union all select g.rngsubtype from pg_catalog.pg_range g where g.rngtypid = t.oid \
                 union all select g.rngtypid from pg_catalog.pg_range g \
                     where t.typtype = 'm' and (pg_catalog.to_jsonb(g) ->> 'rngmultitypid')::pg_catalog.oid = t.oid) part \
             where t.typnamespace not in ('pg_catalog'::pg_catalog.regnamespace, 'information_schema'::pg_catalog.regnamespace) \
             and not exists (select from member m where m.oid = t.oid)) \
     select n.nspname::text, t.typname::text, m.extension, t.typtype::text, \
         array(select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder), \
         case when t.typtype = 'd' then pg_catalog.format_type(t.typbasetype, t.typtypmod) \
             else pg_catalog.format_type(g.rngsubtype, null) end, \
         coalesce(parts.names, '{}'), coalesce(parts.types, '{}'), \
         (select array[o.nspname::text, u.typname::text] from pg_catalog.pg_type u \
             join pg_catalog.pg_namespace o on o.oid = u.typnamespace \
             where u.oid = (pg_catalog.to_jsonb(g) ->> 'rngmultitypid')::pg_catalog.oid), \
         (select array[o.nspname::text, c.collname::text] from pg_catalog.pg_collation c \
             join pg_catalog.pg_namespace o on o.oid = c.collnamespace join pg_catalog.pg_type u on u.oid = g.rngsubtype \
             where c.oid = g.rngcollation and c.oid <> u.typcollation), \
         (select array[o.nspname::text, c.opcname::text] from pg_catalog.pg_opclass c \
             join pg_catalog.pg_namespace o on o.oid = c.opcnamespace where c.oid = g.rngsubopc and not c.opcdefault) \
     from reach join pg_catalog.pg_type t on t.oid = reach.oid join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
     left join member m on m.oid = t.oid left join pg_catalog.pg_range g on g.rngtypid = t.oid \
     left join lateral (select pg_catalog.array_agg(a.attname::text order by a.attnum) as names, \
             pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, a.atttypmod) order by a.attnum) as types \
         from pg_catalog.pg_attribute a where t.typtype = 'c' and m.oid is null \
             and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped) parts on true \
     where n.nspname not in ('pg_catalog', 'information_schema') and (t.typtype <> 'm' or m.oid is not null) \
     and not exists (select from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid) \
     order by 1, 2";

/// The types that extensions bring, as [`TYPES`] lists them: where no other is used, a fresh session plans and answers
/// this in less than half the time.
const OF_EXTENSIONS: &str = "select n.nspname::text, t.typname::text, x.extname::text \
     from pg_catalog.pg_extension x join pg_catalog.pg_depend d on d.refobjid = x.oid \
         and d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass and d.deptype = 'e' \
         and d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass \
     join pg_catalog.pg_type t on t.oid = d.objid join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
     where n.nspname not in ('pg_catalog', 'information_schema') \
     and not exists (select from pg_catalog.pg_type e where e.oid = t.typelem and e.typarray = t.oid) order by 1, 2";

/// What is asked for: the columns of relations, types by number, types by name. What extensions bring is
/// always in the answer.
#[derive(Debug, Default)]
pub(crate) struct TypesOf<'a> {
    pub(crate) relations: &'a [u32],
    pub(crate) numbers: &'a [u32],
    pub(crate) names: &'a [ObjectName],
}

/// The definitions of types and of all that they are made of.
///
/// Types are spelled out in full only under an empty `search_path`, which the caller's session or transaction has.
pub(crate) async fn types(client: &impl GenericClient, wanted: &TypesOf<'_>) -> Result<Vec<TypeDef>> {
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        wanted.names.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip();
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&wanted.relations, Type::OID_ARRAY),
        (&wanted.numbers, Type::OID_ARRAY),
        (&schemas, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
    ];
    client.query_typed(TYPES, &values).await.map_err(sort)?.iter().map(type_def).collect()
}

/// The types that extensions bring.
pub(crate) async fn extension_types(client: &impl GenericClient) -> Result<Vec<TypeDef>> {
    let rows = client.query_typed(OF_EXTENSIONS, &[]).await.map_err(sort)?;
    let def = |row: &Row| TypeDef {
        name: ObjectName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        kind: TypeKind::Extension { extension: row.get(2) },
    };
    Ok(rows.iter().map(def).collect())
}

/// See [`LOAD_POSTGIS`]. It takes 10 ms, which the first rows of a load do not have to wait for then.
pub(crate) async fn load_postgis(client: &impl GenericClient, table: &TableRef) -> Result<()> {
    client.query_typed(LOAD_POSTGIS, &[(&table.sql(), Type::TEXT)]).await.map(drop).map_err(sort)
}

fn type_def(row: &Row) -> Result<TypeDef> {
    let name = ObjectName::new(row.get::<_, String>(0), row.get::<_, String>(1));
    let object = |column: usize| {
        row.get::<_, Option<Vec<String>>>(column).and_then(|two| match <[String; 2]>::try_from(two) {
            Ok([schema, name]) => Some(ObjectName { schema, name }),
            Err(_) => None,
        })
    };
    let part = |text: &str| type_name(text, text).map_err(|error| error.context(format!("type `{name}`")));
    let kind = match (row.get::<_, Option<String>>(2), row.get::<_, &str>(3)) {
        (Some(extension), _) => TypeKind::Extension { extension },
        (None, "e") => TypeKind::Enum { labels: row.get(4) },
        (None, "d") => TypeKind::Domain { base: part(row.get(5))? },
        (None, "c") => {
            let (names, types): (Vec<String>, Vec<String>) = (row.get(6), row.get(7));
            let both = names.into_iter().zip(&types);
            let attributes = both.map(|(name, text)| Ok(Attribute { name, type_name: part(text)? }));
            TypeKind::Composite { attributes: attributes.collect::<Result<_>>()? }
        }
        (None, "r") => TypeKind::Range {
            subtype: part(row.get(5))?,
            multirange: object(8),
            collation: object(9),
            operator_class: object(10),
        },
        (None, _) => TypeKind::Base,
    };
    Ok(TypeDef { name, kind })
}
