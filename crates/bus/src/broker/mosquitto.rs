//! The text of Mosquitto's `password_file` and `acl_file` for our users. Pure except for the salts.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use messages::Prefix;

use super::{Streamer, User};

/// Iterations of PBKDF2, as many as `mosquitto_passwd` uses. Our passwords are random, so slow hashing would protect nothing.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(101).expect("not zero");
/// Bytes of a salt, as Mosquitto 2.0 expects them.
const SALT_BYTES: usize = 12;
/// Bytes of SHA-512.
const HASH_BYTES: usize = 64;

/// The table of [`super::Access`] as the text of an `acl_file`.
pub fn mosquitto_acl(users: &[User], streamers: &[Streamer], prefix: &Prefix) -> String {
    let mut text = String::new();
    for user in users {
        text.push_str(&format!("user {}\ntopic read {}\n", user.name, prefix.filter("#")));
        for filter in user.access.publishes(&user.name) {
            text.push_str(&format!("topic write {}\n", prefix.filter(&filter)));
        }
        text.push('\n');
    }
    for streamer in streamers {
        text.push_str(&format!("user {}\n", streamer.name));
        for (right, filters) in [("read", streamer.reads()), ("write", streamer.publishes())] {
            filters.iter().for_each(|filter| text.push_str(&format!("topic {right} {}\n", prefix.filter(filter))));
        }
        text.push('\n');
    }
    text
}

/// The text of a `password_file`, which holds hashes only. A line of `existing` that still matches stays as it is.
pub fn mosquitto_passwords(users: &[User], existing: &str) -> String {
    let mut text = String::new();
    for user in users {
        let there = existing.lines().find(|line| is_right(line, user));
        match there {
            Some(line) => text.push_str(line),
            None => text.push_str(&line(user, rand::random())),
        }
        text.push('\n');
    }
    text
}

/// `name:$7$iterations$salt$hash`, where 7 is PBKDF2 with HMAC-SHA512.
fn line(user: &User, salt: [u8; SALT_BYTES]) -> String {
    let mut hash = [0; HASH_BYTES];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA512, ITERATIONS, &salt, user.password.as_bytes(), &mut hash);
    format!("{}:$7${ITERATIONS}${}${}", user.name, STANDARD.encode(salt), STANDARD.encode(hash))
}

fn is_right(existing: &str, user: &User) -> bool {
    let salt = existing.strip_prefix(&user.name).and_then(|rest| rest.split('$').nth(3));
    let salt = salt.and_then(|salt| STANDARD.decode(salt).ok()?.try_into().ok());
    salt.is_some_and(|salt| line(user, salt) == existing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Access;

    fn user(name: &str, password: &str) -> User {
        User { name: name.into(), password: password.into(), access: Access::Broadcast }
    }

    #[test]
    fn a_password_that_did_not_change_keeps_its_line() {
        let first = mosquitto_passwords(&[user("b1", "one"), user("b2", "two")], "");
        assert!(!first.contains("one") && !first.contains("two"));
        assert_eq!(mosquitto_passwords(&[user("b1", "one"), user("b2", "two")], &first), first);
        let changed = mosquitto_passwords(&[user("b1", "other"), user("b2", "two")], &first);
        assert_ne!(changed.lines().next(), first.lines().next());
        assert_eq!(changed.lines().nth(1), first.lines().nth(1));
        assert_eq!(mosquitto_passwords(&[user("b1", "one")], "b1\nb1:\nb1:$7$\nb1:$7$101$x$y\n").lines().count(), 1);
    }
}
