use coset::CborSerializable as _;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_800_000_000;

fn key() -> TokenKey {
    TokenKey::from_seed(&testkit::viewer_tokens::SEED).unwrap()
}

fn hall() -> StreamId {
    StreamId::new("hall").unwrap()
}

fn claims() -> Claims {
    Claims {
        sub: Some("u81".to_owned()),
        aud: "sealcast".to_owned(),
        exp: NOW + 3_600,
        nbf: NOW,
        jti: TokenId([5; 8]),
        streams: Streams::Some(vec![Named::from(&hall())]),
        admit_by: None,
        ver: 0,
        origins: Vec::new(),
        strict: false,
        max_viewers: None,
        chat: false,
    }
}

fn read(text: &str) -> Result<Verified, Invalid> {
    let verifying = VerifyingKey::new(&key().public()).unwrap();
    Verified::read(text, |id| (id == key().id()).then_some(&verifying))
}

/// A token whose payload is signed, whatever it is.
fn signed(payload: &[u8]) -> String {
    let signature = key().sign(&to_be_signed(key().id(), &[], payload));
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope(key().id(), payload, &signature)))
}

#[test]
fn token_says_what_was_signed_in_200_characters() {
    let origin = AllowedOrigin::parse("https://www.example.org").unwrap();
    let full = Claims { origins: vec![origin], strict: true, ..claims() };
    for claims in [claims(), full, Claims { streams: Streams::All, sub: None, ver: 9, chat: true, ..claims() }] {
        let text = claims.sign(&key()).unwrap();
        assert!(text.len() <= 200 && text.starts_with("scv_"), "{} {text}", text.len());
        assert_eq!(read(&text).unwrap().claims, claims);
    }
}

#[test]
fn one_stream_of_any_name_and_any_cluster_fit() {
    let stream = StreamId::new(&"s".repeat(64)).unwrap();
    let aud = audience(&ClusterId::new(&"c".repeat(64)).unwrap());
    let long = Claims { sub: None, aud, streams: Streams::Some(vec![Named::from(&stream)]), ..claims() };
    let read = read(&long.sign(&key()).unwrap()).unwrap();
    assert!(read.claims.streams.contains(&stream) && !read.claims.streams.contains(&hall()));
    let sub = Some("u".repeat(64));
    let NotMade::TooLong(length) = (Claims { sub, ..long }).sign(&key()).unwrap_err() else { panic!("it has no room") };
    assert!(length > 200);
}

#[test]
fn coset_reads_a_token_and_its_signature_alike() {
    let text = claims().sign(&key()).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    let sign1 = coset::CoseSign1::from_slice(&bytes).unwrap();
    assert_eq!(sign1.protected.header.key_id, key().id().0);
    let algorithm = coset::RegisteredLabelWithPrivate::Assigned(coset::iana::Algorithm::EdDSA);
    assert_eq!(sign1.protected.header.alg, Some(algorithm));
    let verifying = VerifyingKey::new(&key().public()).unwrap();
    let verify = |signature: &[u8], message: &[u8]| {
        let signature: &[u8; 64] = signature.try_into().map_err(|_| ())?;
        if verifying.verify(message, signature) { Ok(()) } else { Err(()) }
    };
    sign1.verify_signature(b"", verify).unwrap();
    let cwt = coset::cwt::ClaimsSet::from_slice(sign1.payload.as_ref().unwrap()).unwrap();
    assert_eq!((cwt.subject.as_deref(), cwt.audience.as_deref()), (Some("u81"), Some("sealcast")));
    assert_eq!(cwt.expiration_time, Some(coset::cwt::Timestamp::WholeSeconds(i64::try_from(NOW + 3_600).unwrap())));
    assert_eq!(cwt.cwt_id.as_deref(), Some(&[5; 8][..]));
}

#[test]
fn what_is_no_token_is_told_apart() {
    let good = claims().sign(&key()).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(good.strip_prefix(PREFIX).unwrap()).unwrap();
    let again = |bytes: &[u8]| format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let mut flipped = bytes.clone();
    flipped[20] ^= 1;
    let other = claims().sign(&TokenKey::from_seed(&[8; 32]).unwrap()).unwrap();
    for (text, why) in [
        (String::new(), Invalid::Prefix),
        ("SCV_x".to_owned(), Invalid::Prefix),
        (format!("{PREFIX}{}", "A".repeat(200)), Invalid::TooLong),
        (format!("{good}="), Invalid::Base64),
        (format!("{PREFIX}a b"), Invalid::Base64),
        (PREFIX.to_owned(), Invalid::Envelope),
        (again(&bytes[..40]), Invalid::Envelope),
        (again(&[&[0xd2], &bytes[..]].concat()), Invalid::Envelope),
        (again(&[&bytes[..], &[0]].concat()), Invalid::Envelope),
        (again(&flipped), Invalid::Signature),
        (other, Invalid::UnknownKey),
        (signed(b""), Invalid::Claims),
        (signed(&Claims { exp: NOW + LIFE_S_MAX + 1, ..claims() }.encode()), Invalid::Times),
        (signed(&Claims { exp: NOW, ..claims() }.encode()), Invalid::Times),
        (signed(&Claims { sub: Some(String::new()), ..claims() }.encode()), Invalid::Claims),
        (signed(&Claims { streams: Streams::Some(Vec::new()), ..claims() }.encode()), Invalid::Claims),
        (signed(&Claims { strict: true, ..claims() }.encode()), Invalid::Claims),
    ] {
        assert_eq!(read(&text), Err(why), "{text}");
    }
}

/// RFC 8032, 8.4: a scalar that is not reduced would make a second signature for the same token.
#[test]
fn signature_has_one_form() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let text = claims().sign(&key()).unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    let at = bytes.len() - 32;
    let mut carry = 0;
    for (byte, more) in bytes[at..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(read(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))), Err(Invalid::Signature));
}

/// Claims that are signed and spelled in another way than ours.
#[test]
fn another_spelling_of_the_same_claims_is_refused() {
    let plain = claims().encode();
    // "exp" is 0x1a and four bytes; the same number in eight.
    let at = plain.windows(2).position(|two| two == [0x04, 0x1a]).unwrap() + 1;
    let mut long = plain[..at].to_vec();
    long.extend_from_slice(&[0x1b, 0, 0, 0, 0]);
    long.extend_from_slice(&plain[at + 1..]);
    let with_tail = [&plain[..], &[0xf6]].concat();
    let mut no_strictness = Claims { chat: true, ..claims() }.encode();
    *no_strictness.last_mut().unwrap() = 0xf4;
    let name = "n".repeat(17);
    let mut long_name = Writer::with_capacity(64);
    long_name.map(5).int(AUD).text("sealcast").int(EXP).uint(NOW + 1).int(NBF).uint(NOW).int(CTI).bytes(&[5; 8]);
    long_name.int(OURS).map(1).uint(1).array(1).text(&name);
    for payload in [long, with_tail, no_strictness, long_name.finish()] {
        assert_eq!(read(&signed(&payload)), Err(Invalid::Claims), "{payload:02x?}");
    }
}

fn any_claims() -> impl Strategy<Value = Claims> {
    let name = "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,40}".prop_map(|name| Named::from(&StreamId::new(&name).unwrap()));
    let streams = prop_oneof![Just(Streams::All), prop::collection::vec(name, 1..3).prop_map(Streams::Some)];
    let origins = prop::collection::vec(any::<[u8; 8]>().prop_map(AllowedOrigin), 0..3);
    let rest =
        (any::<u32>(), any::<bool>(), prop::option::of(1_u64..1000), any::<bool>(), prop::option::of(0_u64..=60));
    (prop::option::of("[a-z0-9]{1,20}"), 60..=LIFE_S_MAX, any::<[u8; 8]>(), streams, origins, rest).prop_map(
        |(sub, life, jti, streams, origins, (ver, strict, max_viewers, chat, admit))| Claims {
            sub,
            exp: NOW + life,
            jti: TokenId(jti),
            streams,
            admit_by: admit.map(|after| NOW + after),
            ver: ver.into(),
            strict: strict && !origins.is_empty(),
            origins,
            max_viewers,
            chat,
            ..claims()
        },
    )
}

/// Changes a text at one place.
fn mutate(text: &str, at: prop::sample::Index, kind: u8, with: char) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let at = at.index(letters.len());
    match kind {
        0 => letters[at] = with,
        1 => letters.insert(at, with),
        2 => _ = letters.remove(at),
        3 => letters.truncate(at),
        _ => letters.push(with),
    }
    letters.into_iter().collect()
}

fn letter() -> impl Strategy<Value = char> {
    prop_oneof![9 => prop::char::ranges(vec!['a'..='z', 'A'..='Z', '0'..='9', '-'..='-', '_'..='_'].into()), 1 => any::<char>()]
}

proptest! {
    #[test]
    fn claims_that_fit_are_read_as_they_were_written(claims in any_claims()) {
        match claims.sign(&key()) {
            Ok(text) => prop_assert_eq!(read(&text).unwrap().claims, claims),
            Err(why) => prop_assert!(matches!(why, NotMade::TooLong(_)), "{}", why),
        }
    }

    #[test]
    fn no_text_and_no_signed_payload_make_a_reader_panic(text in ".{0,220}", payload in prop::collection::vec(any::<u8>(), 0..100)) {
        let with_prefix = format!("{PREFIX}{text}");
        prop_assert!(read(&text).is_err() && read(&with_prefix).is_err());
        if let Ok(verified) = read(&signed(&payload)) {
            prop_assert_eq!(verified.claims.encode(), payload);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn hundred_thousand_mutated_tokens_are_refused(at in any::<prop::sample::Index>(), kind in 0_u8..5, with in letter()) {
        thread_local! {
            static TOKEN: String = claims().sign(&key()).unwrap();
        }
        TOKEN.with(|token| {
            let mutated = mutate(token, at, kind, with);
            prop_assume!(mutated != *token);
            prop_assert!(read(&mutated).is_err(), "{mutated}");
            Ok(())
        })?;
    }
}

/// The same of the bytes, with the head left as it is, so that most of them come as far as the signature.
#[test]
fn every_flipped_bit_is_found() {
    let text = claims().sign(&key()).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX).unwrap()).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(flipped))).is_err(), "bit {bit}");
    }
}
