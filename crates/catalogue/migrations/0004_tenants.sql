-- Tenants, API keys, idempotency keys and audit records; streams get an identity, a tenant and texts. Only adds: the version before reads
-- and writes streams as ever, which are then those of the tenant `default`.
CREATE TABLE tenants (
    id                  TEXT   NOT NULL PRIMARY KEY,
    slug                TEXT   NOT NULL UNIQUE, -- what the names of its streams begin with
    name                TEXT   NOT NULL,
    state               TEXT   NOT NULL,        -- `active` or `suspended`
    quota_streams       BIGINT,                 -- NULL: no limit of its own
    quota_publishers    BIGINT,
    quota_input_bps     BIGINT,
    quota_egress_bps    BIGINT,
    quota_storage_bytes BIGINT,
    version             BIGINT NOT NULL,
    created_at          BIGINT NOT NULL         -- milliseconds since 1970-01-01T00:00:00Z
);

INSERT INTO tenants (id, slug, name, state, version, created_at)
VALUES ('ten_00000000000000000000000000', 'default', 'Default', 'active', 1, 0);

ALTER TABLE streams ADD COLUMN id TEXT;
ALTER TABLE streams ADD COLUMN tenant TEXT NOT NULL DEFAULT 'ten_00000000000000000000000000';
ALTER TABLE streams ADD COLUMN title TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN category TEXT NOT NULL DEFAULT '';
ALTER TABLE streams ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
CREATE UNIQUE INDEX streams_by_id ON streams (id);
CREATE INDEX streams_by_tenant ON streams (tenant, created_at, id);

CREATE TABLE api_keys (
    id           TEXT   NOT NULL PRIMARY KEY,
    tenant       TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    scopes       TEXT   NOT NULL, -- names, separated by spaces
    digest       TEXT   NOT NULL, -- SHA-256 of the secret, in hexadecimal
    hint         TEXT   NOT NULL, -- the secret's last characters
    old_digest   TEXT,            -- of the secret before, while both are accepted
    old_until    BIGINT,
    expires_at   BIGINT,
    last_used_at BIGINT,
    version      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_at, id);

CREATE TABLE idempotency_keys (
    tenant     TEXT   NOT NULL,
    digest     TEXT   NOT NULL, -- SHA-256 of the key
    request    TEXT   NOT NULL, -- SHA-256 of method, path and body
    status     BIGINT NOT NULL,
    answer     TEXT   NOT NULL, -- encrypted under a key that is made from the idempotency key, in hexadecimal
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, digest)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE audit (
    sequence   BIGINT NOT NULL PRIMARY KEY,
    id         TEXT   NOT NULL UNIQUE,
    at         BIGINT NOT NULL,
    tenant     TEXT   NOT NULL, -- empty: of no tenant
    actor      TEXT   NOT NULL,
    credential TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    object     TEXT   NOT NULL,
    changes    TEXT   NOT NULL, -- JSON, without secrets
    result     TEXT   NOT NULL,
    request_id TEXT   NOT NULL,
    previous   TEXT   NOT NULL, -- digest of the record before
    digest     TEXT   NOT NULL  -- HMAC-SHA-256 of all this, in hexadecimal
);
CREATE INDEX audit_by_tenant ON audit (tenant, at, id);
