-- The outbox of events, the endpoints of webhooks, and their deliveries. Only adds: a version before this one changes rows without events.
CREATE TABLE events (
    tenant       TEXT   NOT NULL,
    position     BIGINT NOT NULL, -- place in the tenant's outbox, without gaps
    id           TEXT   NOT NULL UNIQUE,
    kind         TEXT   NOT NULL, -- such as stream.live
    subject_kind TEXT   NOT NULL, -- such as stream
    subject      TEXT   NOT NULL, -- identity of what it is about
    sequence     BIGINT NOT NULL, -- rises by one with each event of the subject
    epoch        BIGINT,
    object       TEXT   NOT NULL, -- JSON
    created_at   BIGINT NOT NULL, -- milliseconds since 1970-01-01T00:00:00Z
    PRIMARY KEY (tenant, position)
);
CREATE INDEX events_by_age ON events (created_at);

-- The newest position of a tenant's outbox, and the newest that was forgotten.
CREATE TABLE event_heads (
    tenant TEXT   NOT NULL PRIMARY KEY,
    newest BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);

-- The newest event of each subject, and the state that the subject has since then.
CREATE TABLE event_subjects (
    subject    TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    sequence   BIGINT NOT NULL,
    state      TEXT   NOT NULL,
    epoch      BIGINT,
    started_at BIGINT,
    is_final   BIGINT NOT NULL -- 1: it has ended, and goes with its events
);

CREATE TABLE webhooks (
    id            TEXT   NOT NULL PRIMARY KEY,
    tenant        TEXT   NOT NULL,
    url           TEXT   NOT NULL,
    kinds         TEXT   NOT NULL, -- separated by spaces; * for all
    state         TEXT   NOT NULL, -- active or disabled
    reason        TEXT,            -- why it is disabled
    salt          TEXT   NOT NULL, -- the secret follows from this and the pepper; it is nowhere
    old_salt      TEXT,            -- of the secret before, while both sign
    old_until     BIGINT,
    failing_since BIGINT,
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, created_at, id);

CREATE TABLE deliveries (
    number          BIGINT NOT NULL PRIMARY KEY, -- rises with time; for no one outside
    id              TEXT   NOT NULL UNIQUE,
    webhook         TEXT   NOT NULL,
    tenant          TEXT   NOT NULL,
    event           TEXT   NOT NULL,
    kind            TEXT   NOT NULL,
    subject         TEXT   NOT NULL,
    sequence        BIGINT NOT NULL,
    state           TEXT   NOT NULL, -- pending, delivered, failed or dropped
    attempts        BIGINT NOT NULL,
    due_at          BIGINT NOT NULL,
    first_failed_at BIGINT,
    answered_at     BIGINT,
    status          BIGINT,          -- of the last answer
    error           TEXT,            -- in words, for the tenant
    created_at      BIGINT NOT NULL
);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, created_at, id);
CREATE INDEX deliveries_by_state ON deliveries (state, number);
CREATE INDEX deliveries_by_event ON deliveries (event);

-- `deliveries`: the newest number. `webhooks`: rises with each change of an endpoint.
CREATE TABLE counters (
    name  TEXT   NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('deliveries', 0), ('webhooks', 0);

-- What one control node does for all. `beat` rises while the holder is there.
CREATE TABLE leases (
    name   TEXT   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    beat   BIGINT NOT NULL
);
