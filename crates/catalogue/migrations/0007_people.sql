-- Members of tenants, the passwords of those who have one, and sessions. Only adds: the version before knows nobody, and lets nobody in.
CREATE TABLE members (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant       TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    person       TEXT,             -- tells a person from others, in all tenants; NULL until the invitation is used
    issuer       TEXT,             -- of whoever signs in elsewhere
    subject      TEXT,             -- what the issuer calls the person; without an issuer, the name for signing in
    role         TEXT   NOT NULL,  -- viewer, producer, owner or operator
    state        TEXT   NOT NULL,  -- invited, active or suspended
    by_rule      BIGINT NOT NULL,  -- 1: the issuer's rules decide the role at each sign-in
    invite       TEXT,             -- SHA-256 of the set-up link that may be used, in hexadecimal
    invite_until BIGINT,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,  -- milliseconds since 1970-01-01T00:00:00Z
    UNIQUE (tenant, person)
);
CREATE UNIQUE INDEX members_by_invite ON members (invite);
CREATE INDEX members_by_tenant ON members (tenant, created_at, id);
CREATE INDEX members_by_person ON members (person, created_at, id);

CREATE TABLE passwords (
    person     TEXT   NOT NULL PRIMARY KEY,
    hash       TEXT   NOT NULL, -- Argon2id, as a PHC string
    changed_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id         TEXT   NOT NULL PRIMARY KEY, -- 16 random bytes in hexadecimal; whoever has it cannot make a cookie of it
    person     TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    until      BIGINT NOT NULL
);
CREATE INDEX sessions_by_person ON sessions (person, created_at, id);
CREATE INDEX sessions_by_end ON sessions (until);
