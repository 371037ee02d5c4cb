--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: app; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA app;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: devices; Type: TABLE; Schema: app; Owner: -
--

CREATE TABLE app.devices (
    imei text NOT NULL,
    name text
);


--
-- Name: drivers; Type: TABLE; Schema: app; Owner: -
--

CREATE TABLE app.drivers (
    id integer NOT NULL,
    name text NOT NULL,
    born date
);


--
-- Name: events; Type: TABLE; Schema: app; Owner: -
--

CREATE TABLE app.events (
    id bigint NOT NULL,
    note text,
    amount numeric,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: trips; Type: TABLE; Schema: app; Owner: -
--

CREATE TABLE app.trips (
    id integer NOT NULL,
    state text NOT NULL,
    distance_km double precision,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Data for Name: devices; Type: TABLE DATA; Schema: app; Owner: -
--

INSERT INTO app.devices VALUES ('860001', 'truck');
INSERT INTO app.devices VALUES ('860003', 'van, "small"');


--
-- Data for Name: drivers; Type: TABLE DATA; Schema: app; Owner: -
--

INSERT INTO app.drivers VALUES (1, 'Ann', '1980-02-29');
INSERT INTO app.drivers VALUES (2, 'Bob', NULL);


--
-- Data for Name: events; Type: TABLE DATA; Schema: app; Owner: -
--

INSERT INTO app.events VALUES (1, 'event 1', 1.10, '2024-03-01 08:10:00+00');
INSERT INTO app.events VALUES (2, NULL, 2.20, '2024-03-01 08:20:00+00');
INSERT INTO app.events VALUES (3, '', 3.30, '2024-03-01 08:30:00+00');
INSERT INTO app.events VALUES (4, 'event 4', 4.40, '2024-03-01 08:40:00+00');
INSERT INTO app.events VALUES (5, 'event 5', 5.50, '2024-03-01 08:50:00+00');
INSERT INTO app.events VALUES (6, 'event 6', 6.60, '2024-03-01 09:00:00+00');
INSERT INTO app.events VALUES (7, 'late', NULL, '2024-03-01 12:00:20.707077+00');
INSERT INTO app.events VALUES (8, 'two
lines', NULL, '2024-03-01 12:00:20.707077+00');


--
-- Data for Name: trips; Type: TABLE DATA; Schema: app; Owner: -
--

INSERT INTO app.trips VALUES (3, 'planned', 1, '2024-03-01 08:30:00+00');
INSERT INTO app.trips VALUES (4, 'planned', 1.3333333333333333, '2024-03-01 08:40:00+00');
INSERT INTO app.trips VALUES (5, 'planned', 1.6666666666666667, '2024-03-01 08:50:00+00');
INSERT INTO app.trips VALUES (2, 'driving', 0.6666666666666666, '2024-03-01 12:00:20.726125+00');
INSERT INTO app.trips VALUES (6, 'planned', 1e-07, '2024-03-01 12:00:20.726125+00');
INSERT INTO app.trips VALUES (1, 'done', 0.3333333333333333, '2024-03-01 12:00:22.351124+00');
INSERT INTO app.trips VALUES (7, 'planned', 0, '2024-03-01 12:00:22.351124+00');


--
-- Name: devices devices_pkey; Type: CONSTRAINT; Schema: app; Owner: -
--

ALTER TABLE ONLY app.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (imei);


--
-- Name: drivers drivers_pkey; Type: CONSTRAINT; Schema: app; Owner: -
--

ALTER TABLE ONLY app.drivers
    ADD CONSTRAINT drivers_pkey PRIMARY KEY (id);


--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: app; Owner: -
--

ALTER TABLE ONLY app.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);


--
-- Name: trips trips_pkey; Type: CONSTRAINT; Schema: app; Owner: -
--

ALTER TABLE ONLY app.trips
    ADD CONSTRAINT trips_pkey PRIMARY KEY (id);


--
-- Name: events_recorded_at_idx; Type: INDEX; Schema: app; Owner: -
--

CREATE INDEX events_recorded_at_idx ON app.events USING btree (recorded_at);


--
-- Name: trips_updated_at_idx; Type: INDEX; Schema: app; Owner: -
--

CREATE INDEX trips_updated_at_idx ON app.trips USING btree (updated_at);


--
-- Name: SCHEMA app; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA app TO app_ro;


--
-- Name: TABLE devices; Type: ACL; Schema: app; Owner: -
--

GRANT SELECT ON TABLE app.devices TO app_ro;


--
-- Name: TABLE drivers; Type: ACL; Schema: app; Owner: -
--

GRANT SELECT ON TABLE app.drivers TO app_ro;


--
-- Name: TABLE events; Type: ACL; Schema: app; Owner: -
--

GRANT SELECT ON TABLE app.events TO app_ro;


--
-- Name: TABLE trips; Type: ACL; Schema: app; Owner: -
--

GRANT SELECT ON TABLE app.trips TO app_ro;


--
-- Name: DEFAULT PRIVILEGES FOR TABLES; Type: DEFAULT ACL; Schema: app; Owner: -
--

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA app GRANT SELECT ON TABLES  TO app_ro;


--
-- PostgreSQL database dump complete
--


