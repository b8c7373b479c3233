//! Comparison with other implementations: `fips204` for ML-DSA-44, `coset` for COSE, NIST's vectors for both ML-DSAs.

use std::path::PathBuf;

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use fips204::ml_dsa_44 as oracle;
use fips204::traits::{KeyGen, SerDes, Signer as _, Verifier};
use proptest::prelude::*;

use super::author::{Author, KEY, keyring, now, stream};
use crate::{Freshness, KeyId, PublicKey, SealingKey, Signer, encode_body};

fn oracle_public(bytes: &[u8]) -> oracle::PublicKey {
    oracle::PublicKey::try_from_bytes(bytes.try_into().unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn seed_makes_the_same_key_in_both(seed in any::<[u8; 32]>(), message in any::<Vec<u8>>()) {
        let ours = SealingKey::from_seed_bytes(&seed).unwrap();
        let (public, private) = oracle::KG::keygen_from_seed(&seed);
        prop_assert_eq!(&ours.public_key_bytes()[..], &public.clone().into_bytes()[..]);

        let by_us: [u8; 2420] = ours.sign(&message).unwrap().try_into().unwrap();
        prop_assert!(public.verify(&message, &by_us, &[]));
        prop_assert!(!public.verify(&message, &by_us, b"a context"), "the context is empty");

        let by_them = private.try_sign(&message, &[]).unwrap();
        let ours = ours.public_key().unwrap();
        prop_assert!(ours.verify(&message, &by_them));
        prop_assert!(!ours.verify(&message, &private.try_sign(&message, b"a context").unwrap()));
    }

    #[test]
    fn nodes_and_browsers_verify_the_same(seed in any::<[u8; 32]>(), message in any::<Vec<u8>>(), bit in 0..2420_usize * 8) {
        use crate::backend::fips204::{PrivateKey, VerifyingKey};
        let ours = SealingKey::from_seed_bytes(&seed).unwrap();
        let theirs = PrivateKey::from_seed(&seed).unwrap();
        prop_assert_eq!(&ours.public_key_bytes()[..], theirs.public_key());
        let browser = VerifyingKey::new(theirs.public_key().try_into().unwrap()).unwrap();
        let node = ours.public_key().unwrap();
        for mut signature in [ours.sign(&message).unwrap(), theirs.sign(&message).unwrap()] {
            prop_assert!(node.verify(&message, &signature) && browser.verify(&message, &signature));
            signature[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!node.verify(&message, &signature) && !browser.verify(&message, &signature));
            signature.pop();
            prop_assert!(!browser.verify(&message, &signature));
        }
    }

    #[test]
    fn both_refuse_a_flipped_bit(message in any::<[u8; 40]>(), bit in 0..2420_usize * 8) {
        let mut signature: [u8; 2420] = KEY.sign(&message).unwrap().try_into().unwrap();
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!KEY.public_key().unwrap().verify(&message, &signature));
        prop_assert!(!oracle_public(&KEY.public_key_bytes()).verify(&message, &signature, &[]));
    }
}

#[test]
fn coset_reads_and_verifies_our_seals() {
    let sealed = Author::new().row();
    let theirs = CoseSign1::from_tagged_slice(sealed.raw()).unwrap();
    assert_eq!(theirs.protected.header.alg, Some(coset::Algorithm::Assigned(iana::Algorithm::ML_DSA_44)));
    assert_eq!(theirs.protected.header.key_id, KEY.key_id().0);
    assert!(theirs.unprotected.is_empty());
    let public = oracle_public(&KEY.public_key_bytes());
    let verify = |signature: &[u8], message: &[u8]| {
        public.verify(message, signature.try_into().unwrap(), &[]).then_some(()).ok_or(())
    };
    theirs.verify_signature(&[], verify).unwrap();
    assert_eq!(theirs.payload.clone().unwrap(), encode_body(sealed.body()));
    assert_eq!(theirs.to_tagged_vec().unwrap(), sealed.raw().to_vec(), "coset writes the same bytes");
}

#[test]
fn seal_made_by_coset_and_the_oracle_verifies() {
    let (_, private) = oracle::KG::keygen_from_seed(&[7; 32]);
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::ML_DSA_44).key_id(KEY.key_id().0.to_vec()).build();
    let made = CoseSign1Builder::new()
        .protected(header.clone())
        .payload(encode_body(&Author::new().next_body()))
        .create_signature(&[], |message| private.try_sign(message, &[]).unwrap().to_vec())
        .build();
    let verify = |bytes: Vec<u8>| keyring().verify(&bytes.into(), &stream(), now(0).wall, Freshness::Live);
    verify(made.clone().to_tagged_vec().unwrap()).unwrap();

    verify(made.clone().to_vec().unwrap()).expect_err("without the tag");
    let mut unprotected = made;
    unprotected.unprotected = header;
    verify(unprotected.to_tagged_vec().unwrap()).expect_err("with an unprotected header");
}

/// NIST's ACVP vectors, from the oracle's published source in cargo's home.
fn vectors(set: &str) -> serde_json::Value {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"))).expect("CARGO_HOME or HOME");
    let registries = home.join("registry").join("src");
    let in_package = |registry: PathBuf| {
        let packages = std::fs::read_dir(registry).ok()?.filter_map(Result::ok).map(|package| package.path());
        packages
            .filter(|package| {
                package.file_name().is_some_and(|name| name.to_string_lossy().starts_with("fips204-0.4."))
            })
            .map(|package| package.join("tests").join("nist_vectors").join(set).join("internalProjection.json"))
            .find(|file| file.is_file())
    };
    let entries = std::fs::read_dir(&registries).expect("cargo keeps its sources in CARGO_HOME/registry/src");
    let file = entries.filter_map(Result::ok).find_map(|registry| in_package(registry.path()));
    let file = file.unwrap_or_else(|| panic!("no fips204-0.4.x with NIST's vectors below {}", registries.display()));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn cases(vectors: &serde_json::Value) -> Vec<(&serde_json::Value, &serde_json::Value)> {
    let groups = vectors["testGroups"].as_array().unwrap();
    let groups = groups.iter().filter(|group| group["parameterSet"] == "ML-DSA-44");
    let cases: Vec<_> =
        groups.flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |test| (group, test))).collect();
    assert!(!cases.is_empty());
    cases
}

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// ACVP ML-DSA-keyGen-FIPS204.
#[test]
fn nist_key_generation_vectors_hold() {
    let vectors = vectors("ML-DSA-keyGen-FIPS204");
    for (_, test) in cases(&vectors) {
        let key = SealingKey::from_seed_bytes(&bytes(&test["seed"])).unwrap();
        assert_eq!(key.public_key_bytes(), bytes(&test["pk"]), "case {}", test["tcId"]);
        assert_eq!(key.key_id(), KeyId::of(&bytes(&test["pk"])));
    }
}

/// ACVP ML-DSA-sigVer-FIPS204. These vectors sign without the two bytes that FIPS 204 puts before a message when the context is
/// empty, and aws-lc-rs has no such interface. So the vectors check the oracle, and the oracle checks us on the same keys.
#[test]
#[allow(deprecated, reason = "the oracle's interface for these vectors")]
fn nist_signature_vectors_hold_for_the_oracle() {
    let vectors = vectors("ML-DSA-sigVer-FIPS204");
    for (group, test) in cases(&vectors) {
        let (key, message, signature) = (bytes(&group["pk"]), bytes(&test["message"]), bytes(&test["signature"]));
        let valid = test["testPassed"].as_bool().unwrap();
        let answer =
            oracle::_internal_verify(&oracle_public(&key), &message, &signature.clone().try_into().unwrap(), &[]);
        assert_eq!(answer, valid, "case {}", test["tcId"]);
        let ours = PublicKey::from_bytes(&key).unwrap();
        assert!(!ours.verify(&message, &signature), "a signature of the internal interface is none of ours");
    }
}
