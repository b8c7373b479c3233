//! What `/metrics` says of this role's figures.

pub(crate) const HELP: &[(&str, &str)] = &[
    ("broadcast_alerts_dropped_total", "Alerts that the bus did not take."),
    ("broadcast_disk_failures_total", "Heads, grants and revocations that could not be written."),
    ("broadcast_dvr_bytes", "Disk that recordings take, by node."),
    ("broadcast_dvr_reads_total", "Recorded media read from the disk, by result."),
    ("broadcast_dvr_rows_dropped_total", "Rows not recorded because the disk was slow or gone."),
    ("broadcast_dvr_segments_cut_total", "Recorded segments removed before their time for want of room."),
    ("broadcast_dvr_short", "Whether recordings have less room than their window needs, by node."),
    ("broadcast_dvr_write_failures_total", "Recordings that could not be written."),
    ("broadcast_edge_cache_bytes", "Bytes that an edge has fetched and keeps."),
    ("broadcast_edge_objects_total", "Objects that an edge fetched for its viewers, by outcome."),
    ("broadcast_edge_pulls_total", "Questions that an edge asked owners for objects."),
    ("broadcast_effects_dropped_total", "Pulls, answers and alerts that the gate's shell was too slow for."),
    ("broadcast_pushes_refused_total", "Pushed media that there was no room for, by reason."),
    ("broadcast_refusals_total", "Seals and media that the gate refused, by reason."),
    ("viewers_egress_bytes_total", "Bytes of answers' bodies that viewers' connections took."),
    ("viewers_requests_total", "Viewers' requests, by kind and class of status."),
    ("viewers_waiting", "Requests that wait for the next part."),
];
