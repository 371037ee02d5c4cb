-- What a DBA does once in the warehouse: the extension, the two roles of the contract, and a login that is a member of
-- the owner role. `dwh migrate` does the rest as that login.
-- psql -v loader=PASSWORD -v db=DATABASE -f target.sql
set client_min_messages = warning;
create extension if not exists postgis;
create role dwh_owner nologin;
create role grafana_ro nologin;
create role dwh_loader login password :'loader' in role dwh_owner;
grant create on database :"db" to dwh_owner;
