//! Names and descriptions of this role's metrics, for `/metrics`.

pub(crate) const HELP: &[(&str, &str)] = &[
    ("broadcast_chat_malformed_total", "Changes of chats that could not be read, or were larger than any."),
    ("broadcast_alerts_dropped_total", "Alerts that were dropped because too many waited for the bus."),
    ("broadcast_sessions_unknown_total", "Sessions that were announced of streams that the catalogue does not have."),
    ("broadcast_disk_failures_total", "Heads that could not be written."),
    ("broadcast_dvr_bytes", "Bytes of disk that recordings take, by node."),
    (
        "broadcast_dvr_quota_cut_total",
        "Recorded segments removed early because a tenant had more than its quota of storage.",
    ),
    ("broadcast_dvr_reads_total", "Recorded media read from the disk, by result."),
    ("broadcast_dvr_rows_dropped_total", "Rows not recorded: slow or missing disk, or too many streams."),
    ("broadcast_dvr_segments_cut_total", "Recorded segments removed early because room was short."),
    ("broadcast_dvr_short", "Whether recordings have less room than their window needs, by node."),
    ("broadcast_dvr_write_failures_total", "Recordings that could not be written."),
    ("broadcast_edge_cache_bytes", "Bytes in the cache of what an edge has fetched."),
    ("broadcast_edge_objects_total", "Objects that an edge fetched for its viewers, by outcome."),
    ("broadcast_edge_pulls_total", "Requests for objects that an edge sent to owners."),
    ("broadcast_effects_dropped_total", "Pulls and alerts that the gate's shell was too slow to take."),
    ("broadcast_media_bytes", "Bytes of media in memory, with those that only responses under way still hold."),
    ("broadcast_pushes_refused_total", "Pushes that were refused because the node's budget was used up, by reason."),
    ("broadcast_refusals_total", "Seals and media that the gate refused, by reason."),
    ("viewers_quota_refusals_total", "Viewers who could not begin because a tenant's quota of egress was used up."),
    ("viewers_egress_bytes_total", "Bytes of response bodies that viewers' connections took."),
    (
        "viewers_responses_cut_total",
        "Responses that were ended because they kept media in memory that had left the store, and memory was short.",
    ),
    (
        "viewers_requests_total",
        "Viewers' requests, by kind of answer and class of status (labels `answer` and `status`).",
    ),
    ("viewers_token_refusals_total", "Requests whose viewer token was refused, by type of problem (label `why`)."),
    ("viewers_waiting", "Requests that wait for the next part."),
    (
        "viewers_waiting_displaced_total",
        "Requests that waited and were ended for others, because their address had more than its share.",
    ),
];
