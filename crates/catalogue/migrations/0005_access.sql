-- Who may watch which stream, and the keys that sign viewer tokens. A version before this one would make every stream public again.
CREATE TABLE stream_visibility (
    name       TEXT NOT NULL PRIMARY KEY,
    visibility TEXT NOT NULL -- unlisted, members or token; a public stream has no row
);

-- Public keys alone: the private one of a control node is in a file of its data directory.
CREATE TABLE signing_keys (
    public_key TEXT   NOT NULL PRIMARY KEY, -- Ed25519, in hexadecimal
    created_at BIGINT NOT NULL,             -- milliseconds since 1970-01-01T00:00:00Z
    not_after  BIGINT NOT NULL
);

UPDATE settings SET value = '5' WHERE name = 'oldest_reader';
