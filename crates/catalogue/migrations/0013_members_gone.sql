-- Members that were deleted, until the metadata log says so: a catalogue from a backup has them still. Only adds.
CREATE TABLE members_gone (
    id TEXT   NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL -- milliseconds since 1970-01-01T00:00:00Z
);
