-- Keys are kept as MACs. The program moves the rows over (migration.rs), because SQL has no HMAC.
ALTER TABLE streams RENAME TO streams_in_the_clear;

CREATE TABLE streams (
    name       TEXT   NOT NULL PRIMARY KEY,
    key_mac    TEXT   NOT NULL UNIQUE, -- HMAC-SHA-256 of the key under control's pepper, in hexadecimal
    key_hint   TEXT   NOT NULL,        -- the key's last characters; empty when it is short
    created_at BIGINT NOT NULL         -- milliseconds since 1970-01-01T00:00:00Z
);

-- `pepper`: identity of the pepper. `oldest_reader`: newest migration that a version has to know to use these tables.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
