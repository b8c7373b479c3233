//! Names and descriptions of the metrics of this crate.

/// Each metric, and what `/metrics` says of it.
pub const METRICS: &[(&str, &str)] = &[
    ("broker_connections_refused_total", "Connections that the embedded broker had no room for."),
    ("broker_connections_cut_total", "Connections of revoked nodes that were cut."),
    ("broker_dropped_total", "Messages dropped because a subscriber did not take them."),
    ("broker_logins_refused_total", "Connections with a wrong name or password."),
    ("broker_publish_refused_total", "Messages on topics that their sender may not write."),
    ("bus_connected_brokers", "Brokers that this process is connected to."),
    ("bus_link_dropped_total", "Messages not sent because a broker did not take them in time."),
    (
        "bus_owned_forgotten_total",
        "Retained messages that were too many to keep: an empty broker does not get them again.",
    ),
    ("bus_publish_refused_total", "Messages that a broker refused."),
    ("bus_reader_dropped_total", "Messages dropped because their reader was slow; the oldest go first."),
];
