-- How the rows of a run got into bronze, and why that way was taken.
--
-- Plain SQL, as 261001 explains; after 261201. May be applied again.

alter table "dwh_control".extract_runs
    add column if not exists route text,
    add column if not exists route_reason text,
    drop constraint if exists extract_runs_route_check;
alter table "dwh_control".extract_runs
    add constraint extract_runs_route_check check (route in ('fresh', 'direct', 'replace', 'staged')) not valid;
comment on column "dwh_control".extract_runs.route is
    'fresh: straight into an empty table, its key built afterwards; direct: straight into the table; replace: the table is emptied and filled; staged: by way of a temporary table. Null: there were no rows, or an earlier release loaded them';
comment on column "dwh_control".extract_runs.route_reason is
    'Why that route was taken';
