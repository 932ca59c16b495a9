-- Tables as the version before last records, topics and partition counts wrote them: pg_dump --inserts of a schema
-- made by the tests' definition, a few rows in each table.
CREATE SCHEMA upgrade;

CREATE TABLE upgrade.counts (
    country text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    count bigint,
    rank integer
);

CREATE TABLE upgrade.frontier (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    cleaned_next_offset bigint,
    detail jsonb NOT NULL
)
WITH (fillfactor='40');

CREATE TABLE upgrade.gaps (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    reason text NOT NULL,
    accepted_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE upgrade.generations (
    topic text NOT NULL COLLATE pg_catalog."C",
    generation smallint NOT NULL,
    partition integer NOT NULL,
    start_offset bigint NOT NULL
);

CREATE TABLE upgrade.names (
    year integer NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C"
);

CREATE TABLE upgrade.others (
    ind bigint NOT NULL,
    text text,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);

CREATE TABLE upgrade.progress (
    id smallint NOT NULL,
    fence bigint NOT NULL,
    commits bigint NOT NULL,
    epoch bigint NOT NULL,
    definitions text NOT NULL,
    legacy_count bigint NOT NULL,
    legacy_hash text NOT NULL,
    options jsonb NOT NULL,
    run_id text NOT NULL,
    counters jsonb NOT NULL,
    started_at timestamp with time zone,
    committed_at timestamp with time zone
)
WITH (fillfactor='40');

CREATE TABLE upgrade.rejects (
    source text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    topic text NOT NULL,
    partition integer,
    "offset" bigint,
    object text,
    reason text NOT NULL,
    key bytea,
    value bytea,
    rejected_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE upgrade.things (
    ind bigint NOT NULL,
    country text,
    name text,
    year integer,
    pair double precision[],
    at timestamp without time zone,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);

CREATE TABLE upgrade.tombstones (
    "table" text NOT NULL COLLATE pg_catalog."C",
    ind bigint NOT NULL,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);

CREATE TABLE upgrade.wide (
    id bigint NOT NULL,
    flag boolean NOT NULL,
    day date NOT NULL,
    amount numeric,
    mean double precision,
    at timestamp without time zone,
    pair double precision[],
    raw bytea,
    text text
);

INSERT INTO upgrade.counts VALUES ('Albania', 'a', 1, 1);
INSERT INTO upgrade.counts VALUES ('Albania', 'b', 1, 1);

INSERT INTO upgrade.frontier VALUES ('geo', 3, 5, 7, NULL, '{}');
INSERT INTO upgrade.frontier VALUES ('pin', 0, 0, 42, 42, '{"ranges": [[0, 4]]}');

INSERT INTO upgrade.gaps VALUES ('pin', 0, 7, 9, 'no object holds it', '2026-11-28 10:43:39.161321+00');

INSERT INTO upgrade.generations VALUES ('pin', 2, 0, 40);
INSERT INTO upgrade.generations VALUES ('pin', 2, 1, 0);

INSERT INTO upgrade.names VALUES (2020, 'a');
INSERT INTO upgrade.names VALUES (2020, 'b');

INSERT INTO upgrade.others VALUES (1, 'text', 1, 0, 4);

INSERT INTO upgrade.progress VALUES (1, 1, 2, 5, '0000000000000abc', 3, 'feedbeef01234567', '{"top": 10}', 'run', '{"next": 42}', '2026-11-28 10:43:39.151177+00', '2026-11-28 10:43:39.1746+00');

INSERT INTO upgrade.rejects VALUES ('pin/0', 5, 'pin', 0, 5, 'pin/pin+0+0.json', 'not_json', '\x07', '\x00ff78', '2026-11-28 10:43:39.161321+00');
INSERT INTO upgrade.rejects VALUES ('pin/0', 41, 'pin', 0, 41, NULL, 'not_json', '\x07', '\x00ff78', '2026-11-28 10:43:39.161321+00');
INSERT INTO upgrade.rejects VALUES ('events/a.json', 2, 'pin', NULL, NULL, 'events/a.json', 'not_json', '\x07', '\x00ff78', '2026-11-28 10:43:39.161321+00');

INSERT INTO upgrade.things VALUES (1, 'Albania', 'a', 2020, '{1.5,NULL}', '2020-01-01 00:00:00.000001', 1, 0, 1);
INSERT INTO upgrade.things VALUES (2, 'Albania', 'b', 2020, '{1.5,NULL}', '2020-01-01 00:00:00.000002', 1, 0, 2);

INSERT INTO upgrade.tombstones VALUES ('things', 3, 1, 0, 3);

INSERT INTO upgrade.wide VALUES (1, false, '2020-03-01', 1.50, NULL, '2020-01-01 00:00:00.000001', '{1.5,NULL}', NULL, 'Albania');
INSERT INTO upgrade.wide VALUES (2, true, '2020-03-02', 3.00, NULL, '2020-01-01 00:00:00.000002', '{1.5,NULL}', NULL, 'Albania');

ALTER TABLE ONLY upgrade.counts
    ADD CONSTRAINT counts_pkey PRIMARY KEY (country, name);

ALTER TABLE ONLY upgrade.frontier
    ADD CONSTRAINT frontier_pkey PRIMARY KEY (topic, partition);

ALTER TABLE ONLY upgrade.gaps
    ADD CONSTRAINT gaps_pkey PRIMARY KEY (topic, partition, from_offset, to_offset);

ALTER TABLE ONLY upgrade.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (topic, generation, partition);

ALTER TABLE ONLY upgrade.names
    ADD CONSTRAINT names_pkey PRIMARY KEY (year, name);

ALTER TABLE ONLY upgrade.others
    ADD CONSTRAINT others_pkey PRIMARY KEY (ind);

ALTER TABLE ONLY upgrade.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (id);

ALTER TABLE ONLY upgrade.rejects
    ADD CONSTRAINT rejects_pkey PRIMARY KEY (source, "position");

ALTER TABLE ONLY upgrade.things
    ADD CONSTRAINT things_pkey PRIMARY KEY (ind);

ALTER TABLE ONLY upgrade.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY ("table", ind);

ALTER TABLE ONLY upgrade.wide
    ADD CONSTRAINT wide_pkey PRIMARY KEY (id, flag, day);
