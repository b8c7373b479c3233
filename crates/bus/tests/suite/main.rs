//! The bus, against the embedded broker and against a real Mosquitto: one suite, run over both.

#![allow(clippy::unwrap_used, reason = "tests; clippy knows only functions marked as such")]

mod brokers;
mod cases;
mod embedded;
mod raw;
mod tls;

use brokers::Kind;

macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::cases::$case(super::Kind::Embedded).await; })*
        }
        mod on_mosquitto {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() { super::cases::$case(super::Kind::Mosquitto).await; })*
        }
    };
}

on_both!(
    a_retained_message_reaches_a_late_subscriber,
    a_node_that_vanishes_is_announced_by_its_last_will,
    a_node_that_takes_leave_has_no_last_will,
    messages_arrive_once_and_in_order,
    a_second_reader_of_a_filter_gets_the_retained_messages_too,
    subscriptions_survive_a_killed_broker,
    an_empty_broker_is_filled_again_by_its_publishers,
    a_reader_that_does_not_read_holds_up_nobody,
    a_stalled_connection_holds_up_nobody,
    a_wrong_password_is_refused,
    strangers_are_refused,
    a_node_hears_each_of_as_many_streams_as_it_can_hold,
    a_broadcast_node_may_not_seal_grant_or_speak_for_another,
    a_refused_last_will_is_not_published,
    large_payloads_pass_and_too_large_ones_are_refused,
    an_oversized_packet_ends_only_its_own_connection,
    two_brokers_at_once_lose_nothing_when_one_is_killed,
    a_hundred_dropped_connections_are_all_made_again,
    without_a_broker_publishing_fails_in_time_and_recovers,
);
