//! The control node over real mutual TLS and a real bus.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod api;
mod api_audit;
mod api_wait;
mod api_walk;
mod chat;
mod chat_people;
mod cluster;
mod contract;
mod data_plane;
mod grpc;
mod grpc_watch;
mod issuers;
mod metadata;
mod oidc;
mod people;
mod publish;
mod quotas;
mod restored;
mod root;
mod signing_keys;
mod streamers;
mod tenants;
mod tokens;
mod webhooks;
