-- The schema of a backfill by the version before last records, topics and partition counts: pg_dump --inserts, comments left
-- out. The lake that it was made of is written by upgrade.rs.
CREATE SCHEMA earlier;
CREATE TABLE earlier.country_of_top_poster (
    country text NOT NULL COLLATE pg_catalog."C",
    poster_name text NOT NULL COLLATE pg_catalog."C",
    follower_count bigint
);
CREATE TABLE earlier.frontier (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    first_offset bigint NOT NULL,
    next_offset bigint NOT NULL,
    cleaned_next_offset bigint,
    detail jsonb NOT NULL
)
WITH (fillfactor='40');
CREATE TABLE earlier.gaps (
    topic text NOT NULL COLLATE pg_catalog."C",
    partition integer NOT NULL,
    from_offset bigint NOT NULL,
    to_offset bigint NOT NULL,
    reason text NOT NULL,
    accepted_at timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE earlier.generations (
    topic text NOT NULL COLLATE pg_catalog."C",
    generation smallint NOT NULL,
    partition integer NOT NULL,
    start_offset bigint NOT NULL
);
CREATE TABLE earlier.geo_table (
    ind bigint NOT NULL,
    country text,
    coordinates double precision[],
    "timestamp" timestamp without time zone,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);
CREATE TABLE earlier.median_followers_by_age_group (
    age_group text NOT NULL COLLATE pg_catalog."C",
    median_follower_count double precision,
    lower_median_follower_count bigint,
    post_count bigint
);
CREATE TABLE earlier.median_followers_by_join_year (
    join_year integer NOT NULL,
    median_follower_count double precision,
    lower_median_follower_count bigint,
    post_count bigint
);
CREATE TABLE earlier.median_followers_by_join_year_and_age_group (
    join_year integer NOT NULL,
    age_group text NOT NULL COLLATE pg_catalog."C",
    median_follower_count double precision,
    lower_median_follower_count bigint,
    post_count bigint
);
CREATE TABLE earlier.pin_table (
    ind bigint NOT NULL,
    unique_id text,
    title text,
    description text,
    follower_count bigint,
    poster_name text,
    tag_list text,
    is_image_or_video text,
    image_src text,
    save_location text,
    category text,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);
CREATE TABLE earlier.popular_category_by_age_group (
    age_group text NOT NULL COLLATE pg_catalog."C",
    category text NOT NULL COLLATE pg_catalog."C",
    category_count bigint,
    rank bigint
);
CREATE TABLE earlier.popular_category_by_country (
    country text NOT NULL COLLATE pg_catalog."C",
    category text NOT NULL COLLATE pg_catalog."C",
    category_count bigint,
    rank bigint
);
CREATE TABLE earlier.popular_category_by_country_and_year (
    country text NOT NULL COLLATE pg_catalog."C",
    post_year integer NOT NULL,
    category text NOT NULL COLLATE pg_catalog."C",
    category_count bigint,
    rank bigint
);
CREATE TABLE earlier.popular_category_by_year (
    post_year integer NOT NULL,
    category text NOT NULL COLLATE pg_catalog."C",
    category_count bigint,
    rank bigint
);
CREATE TABLE earlier.progress (
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
CREATE TABLE earlier.rejects (
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
CREATE TABLE earlier.tombstones (
    "table" text NOT NULL COLLATE pg_catalog."C",
    ind bigint NOT NULL,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);
CREATE TABLE earlier.top_poster_by_country (
    country text NOT NULL COLLATE pg_catalog."C",
    poster_name text NOT NULL COLLATE pg_catalog."C",
    follower_count bigint,
    rank bigint
);
CREATE TABLE earlier.user_table (
    ind bigint NOT NULL,
    user_name text,
    age integer,
    date_joined timestamp without time zone,
    log_generation smallint NOT NULL,
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL
);
CREATE TABLE earlier.users_joined_by_year (
    join_year integer NOT NULL,
    number_users_joined bigint,
    user_records bigint
);
INSERT INTO earlier.country_of_top_poster VALUES ('Albania', 'p0', 7000);
INSERT INTO earlier.frontier VALUES ('geo', 0, 0, 8, 8, 'null');
INSERT INTO earlier.frontier VALUES ('pin', 0, 0, 8, 8, 'null');
INSERT INTO earlier.frontier VALUES ('user', 0, 0, 8, 8, 'null');
INSERT INTO earlier.geo_table VALUES (0, 'Albania', '{0,2.5}', '2018-08-28 03:52:47', 1, 0, 0);
INSERT INTO earlier.geo_table VALUES (5, 'Aruba', '{7.5,2.5}', '2020-08-28 03:52:47', 1, 0, 5);
INSERT INTO earlier.geo_table VALUES (6, 'Albania', '{9,2.5}', '2018-08-28 03:52:47', 1, 0, 6);
INSERT INTO earlier.geo_table VALUES (4, 'Albania', '{6,2.5}', '2019-08-28 03:52:47', 1, 0, 4);
INSERT INTO earlier.geo_table VALUES (1, 'Aruba', '{1.5,2.5}', '2019-08-28 03:52:47', 1, 0, 1);
INSERT INTO earlier.geo_table VALUES (3, 'Aruba', '{4.5,2.5}', '2018-08-28 03:52:47', 1, 0, 3);
INSERT INTO earlier.median_followers_by_age_group VALUES ('18-24', 1000, 1000, 1);
INSERT INTO earlier.median_followers_by_age_group VALUES ('25-35', 3000, 3000, 3);
INSERT INTO earlier.median_followers_by_age_group VALUES ('36-50', 6000, 6000, 3);
INSERT INTO earlier.median_followers_by_join_year VALUES (2015, 4000, 4000, 3);
INSERT INTO earlier.median_followers_by_join_year VALUES (2016, 3500, 2000, 2);
INSERT INTO earlier.median_followers_by_join_year VALUES (2017, 4500, 3000, 2);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2015, '18-24', 1000, 1000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2015, '25-35', 4000, 4000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2015, '36-50', 7000, 7000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2016, '25-35', 2000, 2000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2016, '36-50', 5000, 5000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2017, '25-35', 3000, 3000, 1);
INSERT INTO earlier.median_followers_by_join_year_and_age_group VALUES (2017, '36-50', 6000, 6000, 1);
INSERT INTO earlier.pin_table VALUES (0, 'u0', 'title 0', 'd', 1000, 'p0', 'a,b', 'image', 's', '/data/art', 'art', 1, 0, 0);
INSERT INTO earlier.pin_table VALUES (2, 'u2', 'title 2', 'd', 3000, 'p2', 'a,b', 'image', 's', '/data/art', 'art', 1, 0, 2);
INSERT INTO earlier.pin_table VALUES (5, 'u5', 'title 5', 'd', 6000, 'p2', 'a,b', 'image', 's', '/data/art', 'travel', 1, 0, 5);
INSERT INTO earlier.pin_table VALUES (6, 'u6', 'title 6', 'd', 7000, 'p0', 'a,b', 'image', 's', '/data/art', 'art', 1, 0, 6);
INSERT INTO earlier.pin_table VALUES (4, 'u4', 'title 4', 'd', 5000, 'p1', 'a,b', 'image', 's', '/data/art', 'art', 1, 0, 4);
INSERT INTO earlier.pin_table VALUES (1, 'u1', 'title 1', 'd', 2000, 'p1', 'a,b', 'image', 's', '/data/art', 'travel', 1, 0, 1);
INSERT INTO earlier.pin_table VALUES (3, 'u3', 'title 3', 'd', 4000, 'p0', 'a,b', 'image', 's', '/data/art', 'travel', 1, 0, 3);
INSERT INTO earlier.pin_table VALUES (7, 'u7', 'title 7', 'd', 8000, 'p1', 'a,b', 'image', 's', '/data/art', 'travel', 1, 0, 7);
INSERT INTO earlier.popular_category_by_age_group VALUES ('18-24', 'art', 1, 1);
INSERT INTO earlier.popular_category_by_age_group VALUES ('25-35', 'art', 1, 2);
INSERT INTO earlier.popular_category_by_age_group VALUES ('25-35', 'travel', 2, 1);
INSERT INTO earlier.popular_category_by_age_group VALUES ('36-50', 'art', 2, 1);
INSERT INTO earlier.popular_category_by_age_group VALUES ('36-50', 'travel', 1, 2);
INSERT INTO earlier.popular_category_by_country VALUES ('Albania', 'art', 3, 1);
INSERT INTO earlier.popular_category_by_country VALUES ('Aruba', 'travel', 3, 1);
INSERT INTO earlier.popular_category_by_country_and_year VALUES ('Albania', 2018, 'art', 2, 1);
INSERT INTO earlier.popular_category_by_country_and_year VALUES ('Albania', 2019, 'art', 1, 1);
INSERT INTO earlier.popular_category_by_country_and_year VALUES ('Aruba', 2018, 'travel', 1, 1);
INSERT INTO earlier.popular_category_by_country_and_year VALUES ('Aruba', 2019, 'travel', 1, 1);
INSERT INTO earlier.popular_category_by_country_and_year VALUES ('Aruba', 2020, 'travel', 1, 1);
INSERT INTO earlier.popular_category_by_year VALUES (2018, 'art', 2, 1);
INSERT INTO earlier.popular_category_by_year VALUES (2018, 'travel', 1, 2);
INSERT INTO earlier.popular_category_by_year VALUES (2019, 'art', 1, 1);
INSERT INTO earlier.popular_category_by_year VALUES (2019, 'travel', 1, 1);
INSERT INTO earlier.popular_category_by_year VALUES (2020, 'travel', 1, 1);
INSERT INTO earlier.progress VALUES (1, 1, 1, 0, 'ffe6b8ec104d91ab', 0, '0000000000000000', '{"top": 10, "depth": 64, "cleaned": true, "record_bytes": 8388608}', '32373-1795867471543', '{"records": 24, "rejected": 1, "unreadable_fields": {}}', '2026-11-28 12:04:31.548398+00', '2026-11-28 12:04:31.700596+00');
INSERT INTO earlier.rejects VALUES ('user/0', 7, 'user', 0, 7, 'user/partition=0/user+0+0000000005.json', 'no_key', NULL, '\x7b22616765223a337d', '2026-11-28 12:04:31.700596+00');
INSERT INTO earlier.tombstones VALUES ('geo_table', 2, 1, 0, 7);
INSERT INTO earlier.top_poster_by_country VALUES ('Albania', 'p0', 7000, 1);
INSERT INTO earlier.top_poster_by_country VALUES ('Albania', 'p1', 5000, 2);
INSERT INTO earlier.top_poster_by_country VALUES ('Aruba', 'p0', 4000, 2);
INSERT INTO earlier.top_poster_by_country VALUES ('Aruba', 'p1', 2000, 3);
INSERT INTO earlier.top_poster_by_country VALUES ('Aruba', 'p2', 6000, 1);
INSERT INTO earlier.user_table VALUES (0, 'A B0', 20, '2015-10-24 11:23:51', 1, 0, 0);
INSERT INTO earlier.user_table VALUES (2, 'A B2', 30, '2017-10-24 11:23:51', 1, 0, 2);
INSERT INTO earlier.user_table VALUES (5, 'A B5', 45, '2017-10-24 11:23:51', 1, 0, 5);
INSERT INTO earlier.user_table VALUES (6, 'A B6', 50, '2015-10-24 11:23:51', 1, 0, 6);
INSERT INTO earlier.user_table VALUES (4, 'A B4', 40, '2016-10-24 11:23:51', 1, 0, 4);
INSERT INTO earlier.user_table VALUES (1, 'A B1', 25, '2016-10-24 11:23:51', 1, 0, 1);
INSERT INTO earlier.user_table VALUES (3, 'A B3', 35, '2015-10-24 11:23:51', 1, 0, 3);
INSERT INTO earlier.users_joined_by_year VALUES (2015, 3, 3);
INSERT INTO earlier.users_joined_by_year VALUES (2016, 2, 2);
INSERT INTO earlier.users_joined_by_year VALUES (2017, 2, 2);
ALTER TABLE ONLY earlier.country_of_top_poster
    ADD CONSTRAINT country_of_top_poster_pkey PRIMARY KEY (country, poster_name);
ALTER TABLE ONLY earlier.frontier
    ADD CONSTRAINT frontier_pkey PRIMARY KEY (topic, partition);
ALTER TABLE ONLY earlier.gaps
    ADD CONSTRAINT gaps_pkey PRIMARY KEY (topic, partition, from_offset, to_offset);
ALTER TABLE ONLY earlier.generations
    ADD CONSTRAINT generations_pkey PRIMARY KEY (topic, generation, partition);
ALTER TABLE ONLY earlier.geo_table
    ADD CONSTRAINT geo_table_pkey PRIMARY KEY (ind);
ALTER TABLE ONLY earlier.median_followers_by_age_group
    ADD CONSTRAINT median_followers_by_age_group_pkey PRIMARY KEY (age_group);
ALTER TABLE ONLY earlier.median_followers_by_join_year_and_age_group
    ADD CONSTRAINT median_followers_by_join_year_and_age_group_pkey PRIMARY KEY (join_year, age_group);
ALTER TABLE ONLY earlier.median_followers_by_join_year
    ADD CONSTRAINT median_followers_by_join_year_pkey PRIMARY KEY (join_year);
ALTER TABLE ONLY earlier.pin_table
    ADD CONSTRAINT pin_table_pkey PRIMARY KEY (ind);
ALTER TABLE ONLY earlier.popular_category_by_age_group
    ADD CONSTRAINT popular_category_by_age_group_pkey PRIMARY KEY (age_group, category);
ALTER TABLE ONLY earlier.popular_category_by_country_and_year
    ADD CONSTRAINT popular_category_by_country_and_year_pkey PRIMARY KEY (country, post_year, category);
ALTER TABLE ONLY earlier.popular_category_by_country
    ADD CONSTRAINT popular_category_by_country_pkey PRIMARY KEY (country, category);
ALTER TABLE ONLY earlier.popular_category_by_year
    ADD CONSTRAINT popular_category_by_year_pkey PRIMARY KEY (post_year, category);
ALTER TABLE ONLY earlier.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (id);
ALTER TABLE ONLY earlier.rejects
    ADD CONSTRAINT rejects_pkey PRIMARY KEY (source, "position");
ALTER TABLE ONLY earlier.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY ("table", ind);
ALTER TABLE ONLY earlier.top_poster_by_country
    ADD CONSTRAINT top_poster_by_country_pkey PRIMARY KEY (country, poster_name);
ALTER TABLE ONLY earlier.user_table
    ADD CONSTRAINT user_table_pkey PRIMARY KEY (ind);
ALTER TABLE ONLY earlier.users_joined_by_year
    ADD CONSTRAINT users_joined_by_year_pkey PRIMARY KEY (join_year);
