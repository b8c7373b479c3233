-- The answers that are kept for a tenant are counted.
CREATE INDEX idempotency_keys_by_tenant ON idempotency_keys (tenant, created_at);
