-- Streams and their keys. Written in the SQL that SQLite and PostgreSQL share.
CREATE TABLE streams (
    name       TEXT   NOT NULL PRIMARY KEY,
    stream_key TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL -- milliseconds since 1970-01-01T00:00:00Z
);
