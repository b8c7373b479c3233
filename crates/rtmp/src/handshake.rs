//! The handshake, the server's side (5.2): the simple form of the specification, and the form with digests that Flash Player 9 and
//! its imitators expect. Pure: the caller supplies the random numbers.
//!
//! No specification of Adobe's describes the form with digests. C1 holds an HMAC-SHA256 of its other bytes, at a position that some of
//! them give, in one of two layouts. A client that sends such a C1 expects a digest in S1 too, and an S2 that proves that the server
//! read the client's digest. The digests authenticate nobody: their keys are in every client.

use sha2::{Digest as _, Sha256};

/// C0 and S0: plain RTMP (5.2.2).
const VERSION: u8 = 3;
/// Bytes of C1, S1, C2 and S2 (5.2.3, 5.2.4).
const PACKET_BYTES: usize = 1536;
/// Time and version, before the random bytes.
const HEAD_BYTES: usize = 8;
/// Bytes of an HMAC-SHA256.
const DIGEST_BYTES: usize = 32;
/// Offsets, from [`HEAD_BYTES`] on, of the four bytes that give the position of the digest: two layouts are in use.
const FORMS: [usize; 2] = [0, 764];
/// The digest begins at one of this many offsets after those four bytes.
const DIGEST_SPREAD: usize = 728;
/// Version field of an S1 with a digest; clients look for a digest only when this is not 0.
const SERVER_VERSION: [u8; 4] = [3, 5, 7, 7];
const CLIENT_NAME: &[u8] = b"Genuine Adobe Flash Player 001";
const SERVER_NAME: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// The bytes after the server's name in the key of S2's digest.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E, 0xEC, 0x5D,
    0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];

/// Number of random bytes that a handshake needs.
pub const RANDOM_BYTES: usize = PACKET_BYTES - HEAD_BYTES;

/// Why the peer does not speak RTMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer speaks the encrypted form of Flash Player.
    #[error("encrypted RTMP (RTMPE) is not spoken here: use rtmp:// or rtmps://")]
    Encrypted,
    /// The peer sent a TLS record to a port without TLS.
    #[error("this is TLS, on the port for rtmp://: rtmps:// has a port of its own")]
    Tls,
    /// The peer speaks another protocol.
    #[error("the first byte is {0:#04x}, where RTMP has 3")]
    Version(u8),
}

/// What the caller has to do after some input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Bytes to write now; may be empty.
    pub answer: Vec<u8>,
    /// `Some` once the handshake is complete: the bytes after it.
    pub rest: Option<Vec<u8>>,
}

/// The packet that the server waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    C0,
    C1,
    C2,
}

/// A handshake in progress. It buffers at most one packet besides one input.
pub struct Handshake {
    random: Box<[u8; RANDOM_BYTES]>,
    buffer: Vec<u8>,
    stage: Stage,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Handshake {
    /// A handshake before its first byte. It sends the random bytes as they are, apart from a digest.
    pub fn new(random: Box<[u8; RANDOM_BYTES]>) -> Self {
        Self { random, buffer: Vec::new(), stage: Stage::C0 }
    }

    /// Takes bytes from the network. The server answers nothing before C1 is complete (5.2.1 allows it), so that a peer cannot make it send
    /// much for little. It does not check C2: clients that get it wrong publish all the same.
    ///
    /// # Errors
    /// When the peer speaks another protocol; the connection is then useless.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Progress, HandshakeError> {
        self.buffer.extend_from_slice(bytes);
        let mut answer = Vec::new();
        loop {
            match self.stage {
                Stage::C0 => {
                    let Some(packet) = self.take::<1>() else { break };
                    check_version(packet)?;
                    self.stage = Stage::C1;
                }
                Stage::C1 => {
                    let Some(c1) = self.take::<PACKET_BYTES>() else { break };
                    answer = self.answer(&c1);
                    self.stage = Stage::C2;
                }
                Stage::C2 => {
                    let Some(_) = self.take::<PACKET_BYTES>() else { break };
                    return Ok(Progress { answer, rest: Some(std::mem::take(&mut self.buffer)) });
                }
            }
        }
        Ok(Progress { answer, rest: None })
    }

    /// Whether the client has sent its first byte.
    pub fn is_begun(&self) -> bool {
        self.stage != Stage::C0
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let packet = *self.buffer.first_chunk::<N>()?;
        self.buffer.drain(..N);
        Some(packet)
    }

    /// S0, S1 and S2.
    fn answer(&self, c1: &[u8; PACKET_BYTES]) -> Vec<u8> {
        let mut s1 = [[0; HEAD_BYTES].as_slice(), self.random.as_slice()].concat();
        let found = FORMS.into_iter().find_map(|form| Some((form, digest_of(c1, form, CLIENT_NAME)?)));
        let Some((form, client_digest)) = found else {
            return [&[VERSION], s1.as_slice(), c1].concat();
        };
        for (to, from) in s1.iter_mut().skip(4).zip(SERVER_VERSION) {
            *to = from;
        }
        let s1 = with_digest(&s1, form).unwrap_or(s1);
        let key = hmac(&[SERVER_NAME, &KEY_TAIL].concat(), &[&client_digest]);
        let (s2, _) = self.random.split_at(PACKET_BYTES - DIGEST_BYTES);
        [&[VERSION], s1.as_slice(), s2, &hmac(&key, &[s2])].concat()
    }
}

fn check_version([version]: [u8; 1]) -> Result<(), HandshakeError> {
    match version {
        VERSION => Ok(()),
        6 | 8 => Err(HandshakeError::Encrypted),
        0x16 => Err(HandshakeError::Tls),
        other => Err(HandshakeError::Version(other)),
    }
}

/// Splits a packet into the bytes before its digest, the digest, and the bytes after it.
fn parts(packet: &[u8], form: usize) -> Option<(&[u8], &[u8; DIGEST_BYTES], &[u8])> {
    let pointer = HEAD_BYTES.checked_add(form)?;
    let sum = packet.get(pointer..)?.first_chunk::<4>()?.iter().fold(0_usize, |sum, byte| sum + usize::from(*byte));
    let (before, rest) = packet.split_at_checked(pointer.checked_add(4)?.checked_add(sum % DIGEST_SPREAD)?)?;
    let (digest, after) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    Some((before, digest, after))
}

/// The digest of a packet; `None` when it has no valid one in this form.
fn digest_of(packet: &[u8], form: usize, name: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let (before, digest, after) = parts(packet, form)?;
    (hmac(name, &[before, after]) == *digest).then_some(*digest)
}

fn with_digest(packet: &[u8], form: usize) -> Option<Vec<u8>> {
    let (before, _, after) = parts(packet, form)?;
    Some([before, &hmac(SERVER_NAME, &[before, after]), after].concat())
}

/// HMAC-SHA256 (RFC 2104) under a key of any length.
fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    const BLOCK_BYTES: usize = 64;
    let hashed = Sha256::digest(key);
    let key = if key.len() > BLOCK_BYTES { hashed.as_slice() } else { key };
    let mut pad = [0; BLOCK_BYTES];
    pad.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut inner = Sha256::new_with_prefix(pad.map(|byte| byte ^ 0x36));
    message.iter().for_each(|part| inner.update(part));
    Sha256::new_with_prefix(pad.map(|byte| byte ^ 0x5C)).chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rml_rtmp::handshake::{Handshake as Peer, HandshakeProcessResult, PeerType};

    use super::*;

    const OBS: &[u8] = include_bytes!("../testdata/obs-29-x264-bframes.rtmp");

    fn server() -> Handshake {
        let mut random = Box::new([0; RANDOM_BYTES]);
        random.iter_mut().zip(0_u32..).for_each(|(byte, n)| *byte = (n.wrapping_mul(2_654_435_761) >> 24) as u8);
        Handshake::new(random)
    }

    /// Gives all bytes in pieces; returns the answers, and the bytes left over.
    fn run(bytes: &[u8], step: usize) -> (Vec<u8>, Option<Vec<u8>>) {
        let (mut server, mut answers) = (server(), Vec::new());
        for (index, piece) in bytes.chunks(step).enumerate() {
            let progress = server.input(piece).unwrap();
            answers.extend(progress.answer);
            if let Some(mut rest) = progress.rest {
                rest.extend_from_slice(bytes.get((index + 1) * step..).unwrap_or_default());
                return (answers, Some(rest));
            }
        }
        (answers, None)
    }

    #[test]
    fn simple_form_is_answered_with_an_echo() {
        let c1: Vec<u8> = (0..PACKET_BYTES).map(|n| n as u8).collect();
        let bytes = [&[3][..], &c1, &[9; PACKET_BYTES], b"rest"].concat();
        for step in [1, 5, 1536, 1537, 4000] {
            let (answer, rest) = run(&bytes, step);
            assert_eq!(rest.unwrap(), b"rest", "pieces of {step}");
            assert_eq!(answer.len(), 1 + 2 * PACKET_BYTES);
            assert_eq!((answer[0], &answer[1..9]), (3, &[0; 8][..]), "no version: no digest is promised");
            assert_eq!(&answer[1 + PACKET_BYTES..], c1, "S2 repeats C1");
        }
    }

    #[test]
    fn nothing_is_answered_before_c1_is_whole() {
        let mut server = server();
        assert!(!server.is_begun());
        assert_eq!(server.input(&[3]).unwrap(), Progress { answer: Vec::new(), rest: None });
        assert!(server.is_begun());
        assert!(server.input(&[0; PACKET_BYTES - 1]).unwrap().answer.is_empty());
        assert!(!server.input(&[0]).unwrap().answer.is_empty());
    }

    #[test]
    fn digests_of_both_forms_are_found_and_answered_in_kind() {
        for form in FORMS {
            let c1 = [&[0, 0, 0, 0, 10, 0, 32, 2][..], &[0xA7; RANDOM_BYTES]].concat();
            let (before, _, after) = parts(&c1, form).unwrap();
            let digest = hmac(CLIENT_NAME, &[before, after]);
            let c1 = [before, &digest, after].concat();
            let (answer, _) = run(&[&[3][..], &c1].concat(), 64);
            let (s1, s2) = answer[1..].split_at(PACKET_BYTES);
            assert_eq!(&s1[4..8], &SERVER_VERSION);
            assert!(digest_of(s1, form, SERVER_NAME).is_some(), "S1 has a digest of the same form");
            let key = hmac(&[SERVER_NAME, &KEY_TAIL].concat(), &[&digest]);
            let (random, signature) = s2.split_at(PACKET_BYTES - DIGEST_BYTES);
            assert_eq!(signature, hmac(&key, &[random]), "S2 proves that C1 was read");
        }
    }

    #[test]
    fn another_implementation_finishes_it_as_client() {
        let (mut client, mut server) = (Peer::new(PeerType::Client), server());
        let mut progress = server.input(&client.generate_outbound_p0_and_p1().unwrap()).unwrap();
        assert_eq!(&progress.answer[5..9], &SERVER_VERSION, "its C1 has a digest");
        match client.process_bytes(&progress.answer).unwrap() {
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                assert!(remaining_bytes.is_empty());
                progress = server.input(&response_bytes).unwrap();
            }
            HandshakeProcessResult::InProgress { response_bytes } => {
                progress = server.input(&response_bytes).unwrap();
            }
        }
        assert_eq!(progress.rest, Some(Vec::new()));
    }

    #[test]
    fn digests_stand_where_another_implementation_puts_them() {
        let c0_c1 = Peer::new(PeerType::Client).generate_outbound_p0_and_p1().unwrap();
        assert!(digest_of(&c0_c1[1..], FORMS[0], CLIENT_NAME).is_some(), "as a client");
        let s0_s1 = Peer::new(PeerType::Server).generate_outbound_p0_and_p1().unwrap();
        assert!(digest_of(&s0_s1[1..], FORMS[1], SERVER_NAME).is_some(), "as a server");
    }

    #[test]
    fn captured_handshake_of_obs_is_read() {
        let (answer, rest) = run(OBS, 1460);
        assert_eq!(answer.len(), 1 + 2 * PACKET_BYTES);
        assert_eq!(rest.unwrap(), &OBS[1 + 2 * PACKET_BYTES..]);
    }

    #[test]
    fn what_is_not_rtmp_is_named() {
        let said = |byte: u8| server().input(&[byte]).unwrap_err();
        assert_eq!([said(6), said(8)], [HandshakeError::Encrypted; 2]);
        assert_eq!(said(0x16), HandshakeError::Tls);
        assert_eq!(said(b'G'), HandshakeError::Version(b'G'));
    }

    /// RFC 4231, test cases 2 and 6: a short key, and one that is longer than a block.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xAA; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_packets_never_panic_and_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 1536), step in 1..400_usize) {
            let mut server = server();
            server.input(&[3]).unwrap();
            for piece in bytes.chunks(step) {
                server.input(piece).unwrap();
                prop_assert!(server.buffer.len() < PACKET_BYTES);
            }
            prop_assert_eq!(server.stage, Stage::C2);
        }
    }
}
