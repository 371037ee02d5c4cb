\set trip random(1, 6000)
update fleet.trips set distance_km = distance_km + 0.1, ended_at = clock_timestamp(), updated_at = now() where trip_id = :trip;
insert into fleet.trips (imei, started_at, distance_km) values ('864000000000001', clock_timestamp(), 0);
