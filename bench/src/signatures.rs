//! How many seals one core verifies in a second.

use std::time::{Duration, Instant};

use seal::Freshness;

use crate::Figure;
use crate::log::Author;

const HOW_LONG: Duration = Duration::from_secs(3);

#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    let now = node::clock::Clock::new().wall();
    let mut author = Author::new(5, 1_000, now)?;
    author.next(now)?;
    let row = author.next(now)?;
    let began = Instant::now();
    let mut verified = 0u32;
    while began.elapsed() < HOW_LONG {
        for _ in 0..100 {
            author.keyring.verify(row.sealed.raw(), &author.stream, now, Freshness::Live)?;
        }
        verified += 100;
    }
    let rate = f64::from(verified) / began.elapsed().as_secs_f64();
    Ok(vec![Figure {
        what: format!("seal verification, 5 renditions, {} bytes", row.sealed.raw().len()),
        ours: format!("{rate:.0} a second and core"),
        peer: "-".to_owned(),
        ratio: None,
        bound: ">= 20000",
    }])
}
