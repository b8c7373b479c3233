//! What `/metrics` says of this role's figures.

pub(crate) const HELP: &[(&str, &str)] = &[
    ("ingest_connections_total", "Publishers' connections."),
    ("ingest_gaps_total", "Rows sealed as gaps during outages."),
    ("ingest_input_bits_per_second", "What comes in from the publisher of a stream; 0 without one."),
    ("ingest_input_frame_rate", "Frames in a second of media that come in for a stream; 0 without a publisher."),
    ("ingest_input_frames_dropped", "Frames of the newest publisher of a stream that could not be used."),
    ("ingest_input_keyframe_interval_seconds", "Longest of the newest keyframe intervals of a stream."),
    ("ingest_input_reconnects", "How often a publisher of a stream came back since it went live."),
    ("ingest_input_skew_seconds", "Time of the newest picture less that of the newest sound of a stream."),
    ("ingest_input_warnings", "What its streamer is warned of, by stream."),
    ("ingest_panics_total", "Publishers' connections that ended in a panic."),
    ("ingest_publishers", "Publishers that are live."),
    ("ingest_push_missed_total", "Log entries that a node was away for longer than they are kept."),
    ("ingest_push_requests_total", "Pushes to nodes, by outcome."),
    ("ingest_pushed_bytes_total", "Bytes of media pushed to nodes."),
    ("ingest_refused_total", "Publishers and strangers who were refused or closed, by reason: limits by their names."),
    ("ingest_rungs_shed_total", "Renditions given up because the machine was too slow."),
    ("ingest_replica_repair_seconds", "For how long fewer nodes held a stream than wanted, once it was repaired."),
    ("ingest_seal_lag_seconds", "From when the last picture of a row was due to its seal."),
    ("ingest_seals_total", "Seals made."),
    ("ingest_seals_unpublished_total", "Seals that the bus was away for longer than they are kept."),
];
