//! The publisher's side of the handshake: the simple one (RTMP 1.0, 5.2), and Flash Media Server's with digests. Pure.

use aws_lc_rs::hmac;

/// Bytes of C1, C2, S1 and S2.
pub const PACKET_BYTES: usize = 1536;
/// Bytes of S0, S1 and S2 together.
pub const ANSWER_BYTES: usize = 1 + 2 * PACKET_BYTES;
/// Key of C1's digest: the public part of the player's key.
const PLAYER_KEY: &[u8] = b"Genuine Adobe Flash Player 001";
/// Key of S1's digest: the public part of the server's key.
const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// The rest of both keys, for C2 and S2.
const CRUD: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E, 0xEC, 0x5D,
    0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];
/// Bytes of an HMAC-SHA256.
const DIGEST_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Version zero and no digests; C2 echoes S1.
    Simple,
    /// C1 and C2 carry digests; C1 at the first of the two possible places.
    Digest,
}

/// C0 and C1.
#[must_use]
pub fn hello(kind: Kind) -> Vec<u8> {
    // The filling is neither random nor zeros, which a server must accept.
    let filling = (0..PACKET_BYTES).map(|at| u8::try_from(at * 7 % 251).unwrap_or(0));
    let mut c1: Vec<u8> = filling.collect();
    c1[..4].copy_from_slice(&[0; 4]);
    match kind {
        Kind::Simple => c1[4..8].copy_from_slice(&[0; 4]),
        Kind::Digest => {
            c1[4..8].copy_from_slice(&[9, 0, 124, 2]);
            let at = digest_at(&c1);
            let digest = digest(PLAYER_KEY, &[&c1[..at], &c1[at + DIGEST_BYTES..]].concat());
            c1[at..at + DIGEST_BYTES].copy_from_slice(&digest);
        }
    }
    [&[3][..], &c1].concat()
}

/// C2, from the server's S0, S1 and S2. `None` when they are too short, or S1 lacks the digest that it needs.
#[must_use]
pub fn reply(kind: Kind, answer: &[u8]) -> Option<Vec<u8>> {
    let s1 = answer.get(1..=PACKET_BYTES)?;
    match kind {
        Kind::Simple => Some(s1.to_vec()),
        Kind::Digest => {
            let signed = [digest_at(s1), second_digest_at(s1)].into_iter().find_map(|at| {
                let found = s1.get(at..at + DIGEST_BYTES)?;
                (digest(SERVER_KEY, &[&s1[..at], &s1[at + DIGEST_BYTES..]].concat()) == found).then_some(found)
            })?;
            let key = digest(&[PLAYER_KEY, &CRUD].concat(), signed);
            let mut c2: Vec<u8> = (0..PACKET_BYTES).map(|at| u8::try_from(at * 11 % 241).unwrap_or(0)).collect();
            let end = PACKET_BYTES - DIGEST_BYTES;
            let last = digest(&key, &c2[..end]);
            c2[end..].copy_from_slice(&last);
            Some(c2)
        }
    }
}

/// Offset of the digest at the first place, which is after time and version.
fn digest_at(packet: &[u8]) -> usize {
    packet.iter().skip(8).take(4).map(|byte| usize::from(*byte)).sum::<usize>() % 728 + 12
}

/// Offset of the digest at the second place, in the second half.
fn second_digest_at(packet: &[u8]) -> usize {
    packet.iter().skip(772).take(4).map(|byte| usize::from(*byte)).sum::<usize>() % 728 + 776
}

fn digest(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_handshake_echoes_the_server() {
        let hello = hello(Kind::Simple);
        assert_eq!((hello.len(), hello[0], &hello[5..9]), (1 + PACKET_BYTES, 3, &[0; 4][..]));
        let answer: Vec<u8> = (0..ANSWER_BYTES).map(|at| u8::try_from(at % 256).unwrap()).collect();
        assert_eq!(reply(Kind::Simple, &answer).unwrap(), &answer[1..=PACKET_BYTES]);
        assert_eq!(reply(Kind::Simple, &answer[..1_000]), None);
    }

    #[test]
    fn digest_handshake_is_signed_and_wants_a_signed_answer() {
        let hello = hello(Kind::Digest);
        let c1 = &hello[1..];
        let at = digest_at(c1);
        assert_eq!(digest(PLAYER_KEY, &[&c1[..at], &c1[at + 32..]].concat()), &c1[at..at + 32]);
        // A server whose digest is at the second place.
        let mut answer = vec![1; ANSWER_BYTES];
        let at = second_digest_at(&answer[1..]) + 1;
        let s1 = [&answer[1..at], &answer[at + 32..=PACKET_BYTES]].concat();
        assert_eq!(reply(Kind::Digest, &answer), None, "not signed");
        answer[at..at + 32].copy_from_slice(&digest(SERVER_KEY, &s1));
        assert_eq!(reply(Kind::Digest, &answer).unwrap().len(), PACKET_BYTES);
    }
}
