-- extensions and types of the zoo: the same at both ends
create extension hstore;
create extension citext;
create extension ltree;
create type mood as enum ('ok', 'not ok', 'it''s "so", \.', 'NULL', '');
create domain positive as integer check (value > 0);
create type pair as (a integer, b text, c numeric);
