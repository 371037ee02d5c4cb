-- The benchmark's table and its rows: position_rows(lo, hi) is a pure function of the row's number, so a slice can be
-- appended later and every machine has the same data. About 300 bytes of CSV a row.
create extension if not exists postgis;
create schema bench;
create table bench.position_history (
    imei        text             not null,
    gps_time    timestamptz      not null,
    recorded_at timestamptz      not null default now(),
    geom        geometry(Point, 4326),
    speed_kmh   numeric(6, 2),
    heading     smallint,
    ignition    boolean,
    altitude_m  double precision,
    address     text,
    raw         jsonb,
    primary key (imei, gps_time)
);

-- 64 pseudo-random bits of a row and a purpose
create function bench.bits(i bigint, salt bigint) returns bigint language sql immutable parallel safe
    return hashint8extended(i, salt) & 9223372036854775807;

create function bench.position_rows(lo bigint, hi bigint) returns setof bench.position_history language sql stable as $$
    select
        '3520930' || lpad((bits(i % 750, 1) % 100000000)::text, 8, '0'),
        at - (bits(i, 2) % 120000) * interval '1 millisecond' + (i % 1000) * interval '1 microsecond',
        at,
        case
            when bits(i, 3) % 20 = 0 then null
            -- one point in eight uses every bit of its coordinates, the rest were rounded by the device
            when bits(i, 3) % 8 = 1 then st_setsrid(st_makepoint(36.6 + (bits(i, 4) % 1000003) / 1999993.0, -1.5 + (bits(i, 5) % 1000003) / 1999993.0), 4326)
            else st_setsrid(st_makepoint(36.6 + (bits(i, 4) % 500000) / 1e6, -1.5 + (bits(i, 5) % 500000) / 1e6), 4326)
        end,
        case when bits(i, 6) % 30 > 0 then (bits(i, 6) % 13000) / 100.0 end,
        case when bits(i, 7) % 30 > 0 then (bits(i, 7) % 360)::smallint end,
        case when bits(i, 8) % 16 > 0 then bits(i, 8) % 2 = 1 end,
        case when bits(i, 9) % 30 > 0 then 1500 + (bits(i, 9) % 7000) / 9.0 end,
        case bits(i, 10) % 12
            when 0 then null
            when 1 then ''
            when 2 then E'Depot "' || (bits(i, 11) % 97) || E'", gate 2\nEnterprise Rd\nNairobi'
            when 3 then E'Rue de l''Église ' || (bits(i, 11) % 97) || E', Kĩambu, 北京 🚚 \\N a\\b\ttab'
            else (bits(i, 11) % 250) || ' Waiyaki Way, Westlands, Nairobi ' || lpad((bits(i, 12) % 100000)::text, 5, '0')
        end,
        jsonb_build_object('type', 'GPS', 'satellites', bits(i, 13) % 24, 'hdop', round((bits(i, 14) % 900) / 100.0, 2),
            'acc', bits(i, 8) % 2, 'odometer', i * 1.25, 'fix', case when bits(i, 15) % 7 > 0 then lpad(to_hex(bits(i, 16) % 4294967296), 8, '0') end)
    -- batches of 50 rows share the start of their transaction, as now() makes it; 40 batches an hour
    from (select i, timestamptz '2020-01-01 00:00:00Z' + (i / 50) * interval '90 seconds' as at from generate_series(lo, hi - 1) i) rows
$$ set search_path = bench, public;
