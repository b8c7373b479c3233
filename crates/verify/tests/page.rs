//! The calls of a page on a recorded log. `web/tests/verify-core.test.ts` makes the same calls of the WebAssembly, so both libraries
//! judge the same statements. `SEALCAST_UPDATE_FIXTURE=1` records it anew.
#![allow(clippy::unwrap_used, reason = "a test: its helpers may fail it too")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use seal::{SealingKey, Signer as _};
use serde_json::{Value, json};
use support::{DAY, STREAM, Town, at, place, sequence};
use testkit::studio::{START, Studio};
use verify::calls::{Calls, room};

const NOW: Duration = Duration::from_secs(1);

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata", "log.json"].iter().collect()
}

fn record() -> Value {
    let mut town = Town::new(1);
    let mut studio = Studio::new(STREAM, START);
    studio.key = SealingKey::from_seed_bytes(&[5; 32]).unwrap();
    studio.part_bytes = 64;
    town.grant(&studio.key, START.plus(DAY), at(0));
    let rows = studio.segment(START);
    let objects: Vec<Value> = rows
        .iter()
        .flat_map(|row| &row.objects)
        .map(|(name, bytes)| json!({"place": place(name), "bytes": hex::encode(bytes)}))
        .collect();
    let signed = |seed: u8, message: &[u8], flipped: Option<usize>| {
        let key = SealingKey::from_seed_bytes(&[seed; 32]).unwrap();
        let mut signature = key.sign(message).unwrap();
        if let Some(bit) = flipped {
            signature[bit / 8] ^= 1 << (bit % 8);
        }
        let (public, message) = (hex::encode(key.public_key_bytes()), hex::encode(message));
        json!({"key": public, "message": message, "signature": hex::encode(signature), "valid": flipped.is_none()})
    };
    json!({
        "stream": STREAM,
        "fingerprint": hex::encode(town.fingerprint()),
        "otherFingerprint": hex::encode(Town::new(2).fingerprint()),
        "trust": hex::encode(town.trust(&[&studio.key], at(1))),
        "trustWithoutKey": hex::encode(town.trust(&[], at(1))),
        "seals": hex::encode(sequence(&rows)),
        "objects": objects,
        "signatures": [
            signed(1, b"", None), signed(2, b"a row", None), signed(3, &[0; 300], None),
            signed(1, b"a row", Some(0)), signed(2, b"a row", Some(2_400 * 8)), signed(3, b"a row", Some(2_419 * 8 + 7)),
        ],
    })
}

fn fixture() -> Value {
    if std::env::var_os("SEALCAST_UPDATE_FIXTURE").is_some() {
        std::fs::write(file(), format!("{:#}\n", record())).unwrap();
    }
    serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn call(calls: &mut Calls, number: u32, input: Vec<u8>) -> Value {
    serde_json::from_str(&calls.answer(number, input, NOW)).unwrap()
}

fn begin(calls: &mut Calls, fixture: &Value, fingerprint: &str) -> Value {
    call(
        calls,
        1,
        format!("{}\n{}", fixture["stream"].as_str().unwrap(), fixture[fingerprint].as_str().unwrap()).into(),
    )
}

fn object(calls: &mut Calls, object: &Value, flip: bool) -> Value {
    let mut input = format!("{}\n", object["place"].as_str().unwrap()).into_bytes();
    input.extend(bytes(&object["bytes"]));
    *input.last_mut().unwrap() ^= u8::from(flip);
    call(calls, 5, input)
}

#[test]
fn recorded_log_verifies_as_a_page_asks() {
    let fixture = fixture();
    let mut calls = Calls::default();
    begin(&mut calls, &fixture, "fingerprint");
    let said = call(&mut calls, 2, bytes(&fixture["trust"]));
    assert_eq!((&said["refused"], &said["root"]), (&Value::Null, &fixture["fingerprint"]));
    let said = call(&mut calls, 3, bytes(&fixture["seals"]));
    assert_eq!((&said["refused"], &said["seals"], &said["next"]), (&Value::Null, &json!(8), &json!(8)), "{said}");
    let objects = fixture["objects"].as_array().unwrap();
    for loaded in objects {
        object(&mut calls, loaded, false);
    }
    let said = call(&mut calls, 6, Vec::new());
    assert_eq!((&said["objects"], &said["wrong"], &said["node"]), (&json!(objects.len()), &Value::Null, &json!("i1")));
    let said = object(&mut calls, &objects[4], true);
    assert!(said["wrong"].as_str().unwrap().contains("is not what seal"), "{said}");
}

#[test]
fn recorded_log_is_refused_under_another_root() {
    let fixture = fixture();
    let mut calls = Calls::default();
    begin(&mut calls, &fixture, "otherFingerprint");
    let said = call(&mut calls, 2, bytes(&fixture["trust"]));
    assert_eq!(said["refused"]["reason"], "key", "{said}");
    let said = call(&mut calls, 3, bytes(&fixture["seals"]));
    assert_eq!((&said["refused"]["reason"], &said["seals"]), (&json!("key"), &json!(0)), "{said}");
}

#[test]
fn recorded_signatures_are_judged_as_they_are() {
    let mut calls = Calls::default();
    for case in fixture()["signatures"].as_array().unwrap() {
        let input = [bytes(&case["key"]), bytes(&case["signature"]), bytes(&case["message"])].concat();
        assert_eq!(calls.answer(7, input, NOW), case["valid"].to_string());
    }
}

#[test]
fn calls_of_a_page_that_make_no_sense_are_refused() {
    let mut calls = Calls::default();
    assert_eq!(call(&mut calls, 2, Vec::new())["refused"]["reason"], "malformed");
    for bad in ["demo", "a stream\n", "demo\nff", "demo\nzz"] {
        assert_eq!(call(&mut calls, 1, bad.into())["refused"]["reason"], "malformed", "{bad:?}");
    }
    assert_eq!(calls.answer(7, vec![0; 3_000], NOW), "false");
    assert_eq!(call(&mut calls, 1, "demo\n".into())["refused"], Value::Null);
    for (number, input) in [(5, "no line"), (9, "")] {
        assert_eq!(call(&mut calls, number, input.into())["refused"]["reason"], "malformed", "{number}");
    }
    assert_eq!(call(&mut calls, 5, "../etc/passwd\nx".into())["waiting"], 0);
}

#[test]
fn there_is_room_for_an_object_and_for_nothing_longer() {
    assert_eq!(room(300).map(|room| room.len()), Some(300));
    assert!(room(513 * 1024 * 1024).is_none() && room(usize::MAX).is_none());
}
