\set device random(1, 60)
begin;
insert into fleet.position_history (imei, gps_time, speed_kmh, address) values ('8640000' || lpad(:device::text, 8, '0'), clock_timestamp() - random() * interval '90 seconds', 0, 'stamped at the start of a slow transaction') on conflict do nothing;
\sleep 1 s
insert into fleet.alarms (imei, kind, message) values ('8640000' || lpad(:device::text, 8, '0'), 'idle', 'committed a second after its stamp');
commit;
