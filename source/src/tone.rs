//! The tone: a short beep at the start of each second of the wall clock, a higher one at the start of each minute. Pure.

pub(crate) const SAMPLE_RATE_HZ: u32 = 48_000;

/// Length of a beep in milliseconds.
const BEEP_MILLIS: i64 = 100;

/// Pitch of a second and of a minute in Hz.
const SECOND_HZ: f64 = 1_000.0;
const MINUTE_HZ: f64 = 2_000.0;

/// A quarter of full scale: -12 dB.
const AMPLITUDE: f64 = 0.25;

/// Sample of the tone, -1 to 1, at wall-clock time `micros` (microseconds since 1970).
// Casts: below 2^24, and rounded to f32 on purpose.
pub(crate) fn sample(micros: i64) -> f32 {
    let within = micros.rem_euclid(1_000_000);
    if within >= BEEP_MILLIS * 1_000 {
        return 0.0;
    }
    let pitch = if micros.div_euclid(1_000_000).rem_euclid(60) == 0 { MINUTE_HZ } else { SECOND_HZ };
    let phase = within as f64 / 1_000_000.0 * pitch * std::f64::consts::TAU;
    (phase.sin() * AMPLITUDE) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energy(from: i64, to: i64) -> f32 {
        (from..to).step_by(100).map(|micros| sample(micros).abs()).sum()
    }

    #[test]
    fn beep_starts_with_the_second_and_is_short() {
        for second in [0, 1, 59, 60, 1_795_246_245_i64] {
            let start = second * 1_000_000;
            assert!(energy(start, start + 99_000) > 50.0, "{second}");
            assert_eq!(energy(start + 100_000, start + 1_000_000), 0.0, "{second}");
        }
    }
}
