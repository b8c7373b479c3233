//! Limits that several modules name. Pure.

/// Longest token, in bytes. Keycloak's with many roles have 3,000.
pub const TOKEN_BYTES_MAX: usize = 4_096;
