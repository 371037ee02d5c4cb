-- Relations that the patterns of a source have made tables: `dwh migrate` looks for them, and every other command knows
-- them from here, so that it need not ask a source of which it reads nothing.
--
-- Plain SQL, as 261001 explains; after 261401. May be applied again.

create table if not exists "dwh_control".discovered_relations (
    project text not null,
    source text not null,
    relation_schema text not null,
    relation_name text not null,
    table_name text not null,
    key_columns text[] not null default '{}',
    discovered_at timestamptz not null default pg_catalog.now(),
    primary key (project, source, relation_schema, relation_name),
    unique (project, table_name)
);
alter table "dwh_control".discovered_relations owner to "dwh_owner";
grant select on "dwh_control".discovered_relations to "grafana_ro";
comment on table "dwh_control".discovered_relations is
    'Relations that became tables because `include` of their source matches them; a row is never removed';
comment on column "dwh_control".discovered_relations.project is '[project] name';
comment on column "dwh_control".discovered_relations.source is 'NAME of [source.NAME]';
comment on column "dwh_control".discovered_relations.relation_schema is 'Schema at the source';
comment on column "dwh_control".discovered_relations.relation_name is 'Table at the source';
comment on column "dwh_control".discovered_relations.table_name is 'Name of the table; it stays once it was given';
comment on column "dwh_control".discovered_relations.key_columns is
    'Primary key of the relation when it was found; the key of an incremental table, unless the configuration names one';
comment on column "dwh_control".discovered_relations.discovered_at is 'When `dwh migrate` found it';
