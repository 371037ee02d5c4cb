//! What is asked of the catalogs, each text run with an empty `search_path`.

pub(super) const SERVER: &str = "select current_user::text as role, r.rolsuper as superuser, \
     pg_catalog.current_database()::text as database, pg_catalog.pg_is_in_recovery() as standby, \
     (select s.reset_val from pg_catalog.pg_settings s where s.name = 'TimeZone') as timezone, \
     (select pg_catalog.to_char(d.stats_reset, 'YYYY-MM-DD') from pg_catalog.pg_stat_database d \
         where d.datname = pg_catalog.current_database()) as counted_since \
     from pg_catalog.pg_roles r where r.rolname = current_user";

/// Schemas of TimescaleDB hold its chunks; `deptype` `e` belongs to an extension.
pub(super) const RELATIONS: &str = "select n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind, \
     pg_catalog.has_schema_privilege(n.oid, 'usage') as usage, \
     c.relkind in ('r', 'p') and pg_catalog.row_security_active(c.oid) as row_security, \
     a.columns, a.unreadable, \
     pg_catalog.has_table_privilege(c.oid, 'insert, update, delete, truncate') as writable \
     from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
     cross join lateral (select count(*) as columns, \
         coalesce(pg_catalog.array_agg(a.attname::text order by a.attnum) \
             filter (where not pg_catalog.has_column_privilege(c.oid, a.attnum, 'select')), '{}') as unreadable \
         from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) a \
     where c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't' \
     and n.nspname <> 'information_schema' and n.nspname not like 'pg\\_%' \
     and n.nspname !~ '^_?timescaledb_' \
     and not exists (select from pg_catalog.pg_inherits i where i.inhrelid = c.oid) \
     and not exists (select from pg_catalog.pg_depend d where d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         and d.objid = c.oid and d.deptype = 'e') \
     order by 1, 2";

/// Rows are written to the partitions, so it is there that they are counted. Of the tables `$1` (schemas), `$2` (names).
pub(super) const COUNTERS: &str = "with recursive root(place, oid) as ( \
         select w.place, c.oid from unnest($1, $2) with ordinality w(schema, name, place) \
             join pg_catalog.pg_namespace n on n.nspname = w.schema \
             join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name), \
     family(root, oid) as (select oid, oid from root \
         union select f.root, i.inhrelid from pg_catalog.pg_inherits i join family f on f.oid = i.inhparent) \
     select r.place, coalesce(sum(pg_catalog.pg_stat_get_tuples_inserted(f.oid)), 0)::bigint as inserted, \
         coalesce(sum(pg_catalog.pg_stat_get_tuples_updated(f.oid)), 0)::bigint as updated, \
         coalesce(sum(pg_catalog.pg_stat_get_tuples_deleted(f.oid)), 0)::bigint as deleted, \
         bool_or(f.oid in (select s.srrelid from pg_catalog.pg_subscription_rel s)) as subscribed, \
         (select pg_catalog.floor(extract(epoch from pg_catalog.now() - d.stats_reset) / 86400)::bigint \
             from pg_catalog.pg_stat_database d where d.datname = pg_catalog.current_database()) as counted_days \
     from root r join family f on f.root = r.oid group by r.place";

/// `tgtype`: 1 for each row, 2 before, 4 insert, 16 update. Those that fire only for replication (`R`) or never stay out.
pub(super) const TRIGGERS: &str = "select w.place, (t.tgtype & 4) <> 0 as on_insert, (t.tgtype & 16) <> 0 as on_update, \
         p.proname::text as function, coalesce(p.prosrc, '') as body, t.tgargs as arguments \
     from unnest($1, $2) with ordinality w(schema, name, place) join pg_catalog.pg_namespace n on n.nspname = w.schema \
     join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name \
     join pg_catalog.pg_trigger t on t.tgrelid = c.oid join pg_catalog.pg_proc p on p.oid = t.tgfoid \
     where not t.tgisinternal and t.tgenabled in ('O', 'A') \
     and (t.tgtype & 3) = 3 order by t.tgname";
