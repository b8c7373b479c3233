//! CBOR sequences (RFC 8742), in which nodes send several seals or grants. Pure.

use bytes::Bytes;

use crate::Refusal;

/// Splits a CBOR sequence into its items without copying. The first item that is not well-formed is an error (`Malformed`) and the
/// end. Does not look into items.
pub fn split(sequence: &Bytes) -> impl Iterator<Item = Result<Bytes, Refusal>> + use<> {
    let mut rest = sequence.clone();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut decoder = minicbor::Decoder::new(&rest);
        match decoder.skip() {
            Ok(()) => Some(Ok(rest.split_to(decoder.position().min(rest.len())))),
            Err(error) => {
                rest.clear();
                Some(Err(Refusal::malformed(format!("not a CBOR sequence: {error}"))))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_in_order() {
        let items: Vec<_> = split(&Bytes::from_static(&[0x01, 0x82, 0x02, 0x03, 0x41, 0xff])).collect();
        let expected: [&[u8]; 3] = [&[0x01], &[0x82, 0x02, 0x03], &[0x41, 0xff]];
        assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn cut_off_item_is_an_error_and_the_end() {
        let mut items = split(&Bytes::from_static(&[0x01, 0x82, 0x02]));
        assert!(items.next().unwrap().is_ok());
        assert!(items.next().unwrap().is_err());
        assert!(items.next().is_none());
    }

    proptest::proptest! {
        #[test]
        fn garbage_never_panics_and_always_ends(bytes: Vec<u8>) {
            let length = bytes.len();
            let taken: usize = split(&Bytes::from(bytes)).filter_map(Result::ok).map(|item| item.len()).sum();
            proptest::prop_assert!(taken <= length);
        }
    }
}
