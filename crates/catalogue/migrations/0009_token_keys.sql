-- Keys of viewer tokens and issuers of tokens, each of a tenant. A version before this one would make keys that open every tenant's streams.
CREATE TABLE token_keys (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    origin     TEXT   NOT NULL, -- `control`: a control node has the private part in a file; `registered`: the tenant has it
    public_key TEXT   NOT NULL, -- of control: Ed25519 in hexadecimal; registered: a JWK
    created_at BIGINT NOT NULL, -- milliseconds since 1970-01-01T00:00:00Z
    not_after  BIGINT NOT NULL,
    version    BIGINT NOT NULL,
    UNIQUE (tenant, public_key)
);
CREATE INDEX token_keys_by_tenant ON token_keys (tenant, created_at, id);

-- What there was is the tenant `default`'s. Hexadecimal digits are among the characters of identities.
INSERT INTO token_keys (id, tenant, name, origin, public_key, created_at, not_after, version)
SELECT 'sgk_' || substr(public_key, 1, 26), 'ten_00000000000000000000000000', '', 'control', public_key, created_at, not_after, 1
FROM signing_keys;
DROP TABLE signing_keys;

CREATE TABLE issuers (
    id         TEXT   NOT NULL PRIMARY KEY,
    tenant     TEXT   NOT NULL,
    url        TEXT   NOT NULL,
    settings   TEXT   NOT NULL, -- JSON
    version    BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX issuers_by_tenant ON issuers (tenant, created_at, id);

UPDATE settings SET value = '9' WHERE name = 'oldest_reader';
