-- Several control nodes on one server: what the one that leads has signed, before anybody else sees it. Only adds.
CREATE TABLE log_entries (
    sequence   BIGINT NOT NULL PRIMARY KEY, -- place in the metadata log: nobody signs it twice
    entry      TEXT   NOT NULL,             -- COSE, in hexadecimal
    entry_rows TEXT   NOT NULL              -- a CBOR sequence, in hexadecimal
);

CREATE TABLE log_roots (
    version   BIGINT NOT NULL PRIMARY KEY,
    statement TEXT   NOT NULL -- COSE, in hexadecimal
);
