-- Root statements, each as it travels.
CREATE TABLE root (
    version   INTEGER PRIMARY KEY,
    statement BLOB NOT NULL
);

-- The newest entries, each with the rows that it writes.
CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY,
    entry    BLOB NOT NULL,
    rows     BLOB NOT NULL
);

-- The rows that count after the newest entry.
CREATE TABLE row (
    id  BLOB PRIMARY KEY,
    row BLOB NOT NULL
) WITHOUT ROWID;

-- What a row was before an entry changed it; NULL when it was not there. For entries that can be taken back.
CREATE TABLE before (
    sequence INTEGER NOT NULL,
    id       BLOB NOT NULL,
    row      BLOB,
    PRIMARY KEY (sequence, id)
) WITHOUT ROWID;

-- The newest head.
CREATE TABLE head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    head BLOB NOT NULL
);

-- Pairs of statements by which control contradicted itself.
CREATE TABLE evidence (
    sequence INTEGER NOT NULL,
    ours     BLOB NOT NULL,
    other    BLOB NOT NULL,
    PRIMARY KEY (sequence, other)
);
