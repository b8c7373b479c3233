//! What may follow a head, tested directly: the chain decides most of these cases before it asks the head.

use media::{LogSequence, MediaSequence};

use super::author::Author;
use crate::{Head, RefusalReason, SealBody};

#[track_caller]
fn refused(head: &Head, body: &SealBody, reason: RefusalReason) {
    assert_eq!(head.admits(body).unwrap_err().reason, reason);
}

#[test]
fn head_admits_only_what_follows_it() {
    let mut author = Author::new();
    author.rows(2);
    let head = author.head.clone().unwrap();
    let next = author.next_body();
    assert_eq!(head.admits(&next), Ok(()));

    refused(&head, &SealBody { sequence: LogSequence(3), ..next.clone() }, RefusalReason::Chain);
    refused(&head, &SealBody { previous: media::Digest::NONE, ..next.clone() }, RefusalReason::Chain);
    refused(&Head { epoch: head.epoch.next(), ..head.clone() }, &next, RefusalReason::Epoch);

    let opening = Author::after(&head, 2).next_body();
    assert_eq!(head.admits(&opening), Ok(()));
    let mut unopened = opening;
    unopened.objects.retain(|object| object.slot != media::Slot::Init);
    refused(&head, &unopened, RefusalReason::Implausible);

    // An epoch opens only once: here its rows come with init segments again.
    let closed = Head { next_part: media::PartIndex(0), ..head.clone() };
    let again = Author::after(&closed, 1).next_body();
    let again = SealBody { discontinuity: head.discontinuity, session: head.session, ..again };
    refused(&Head { start: None, ..closed }, &again, RefusalReason::Implausible);
}

#[test]
fn end_closes_the_open_segment() {
    let mut author = Author::new();
    author.rows(2);
    let head = author.head.clone().unwrap();
    let end = author.end();
    assert_eq!((end.body().next_msn, head.admits(end.body())), (MediaSequence(1), Ok(())));
    let open = SealBody { next_msn: MediaSequence(0), ..end.body().clone() };
    refused(&head, &open, RefusalReason::Implausible);
}
