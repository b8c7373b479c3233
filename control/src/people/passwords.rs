//! Passwords, kept by Argon2id. One hash takes 19 MiB and some ten milliseconds, so few are made at once, and few more wait.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Fewest characters of a password: with the limits on guessing, a random one of them lasts.
pub(crate) const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password in bytes.
pub(crate) const PASSWORD_BYTES_MAX: usize = 256;
/// Hashes that are made at once: 38 MiB, and one core stays for the rest of a machine with three.
const AT_ONCE_MAX: usize = 2;
/// Requests that have a hash made, or wait for it: the last waits for a second.
const WAITING_MAX: usize = 32;
/// A hash that no password has, with the costs of all others: looking at it takes as long.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2VhbGNhc3RuYm9keXM$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Too many hashes are being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many people sign in at this moment: try again")]
pub(crate) struct Busy;

/// Makes and checks hashes.
pub(crate) struct Passwords {
    room: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(WAITING_MAX)), turns: Arc::new(Semaphore::new(AT_ONCE_MAX)) }
    }
}

impl Passwords {
    /// What is kept of a password.
    ///
    /// # Errors
    /// When too many others wait.
    pub(crate) async fn hash(&self, password: Zeroizing<String>) -> Result<String, Busy> {
        let made = self.run(move || {
            let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).ok()?;
            let hash = Argon2::default().hash_password(password.as_bytes(), &salt).ok()?;
            Some(hash.to_string())
        });
        // The salt has a valid length, and so has the password: only memory can be missing.
        made.await?.ok_or(Busy)
    }

    /// Whether a password is the one that something was kept of. Where nothing was, it is not, and finding out takes as long.
    ///
    /// # Errors
    /// When too many others wait.
    pub(crate) async fn is_right(&self, password: Zeroizing<String>, kept: Option<String>) -> Result<bool, Busy> {
        self.run(move || {
            let is_kept = kept.is_some();
            let is_right = |text: &str| {
                let hash = PasswordHash::new(text).ok()?;
                Some(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
            };
            // What cannot be read is no password either.
            let found = is_right(kept.as_deref().unwrap_or(NOBODYS)).or_else(|| is_right(NOBODYS).map(|_| false));
            found.unwrap_or(false) && is_kept
        })
        .await
    }

    /// Runs on a thread that may take its time. The turn ends with the work, and not with the request that goes away.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _room = self.room.try_acquire().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Busy)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        worked.await.map_err(|_| Busy)
    }
}

#[cfg(test)]
mod tests {
    use argon2::Params;

    use super::*;

    fn text(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn password_is_known_again_and_no_other_one_is() {
        let passwords = Passwords::default();
        let kept = passwords.hash(text("correct horse battery")).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !kept.contains("horse"), "{kept}");
        assert_ne!(kept, passwords.hash(text("correct horse battery")).await.unwrap(), "each has its salt");
        assert!(passwords.is_right(text("correct horse battery"), Some(kept.clone())).await.unwrap());
        for (wrong, of) in [("correct horse batterY", Some(kept)), ("", None), ("x", Some("no hash".to_owned()))] {
            assert!(!passwords.is_right(text(wrong), of).await.unwrap(), "{wrong}");
        }
    }

    /// Who is asked for and not there takes as long as who is.
    #[test]
    fn hash_of_nobody_costs_what_all_others_do() {
        let nobody = PasswordHash::new(NOBODYS).unwrap();
        let params = Params::try_from(&nobody).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19_456, 2, 1));
        let own = Argon2::default();
        assert_eq!((own.params().m_cost(), own.params().t_cost(), own.params().p_cost()), (19_456, 2, 1));
        assert_eq!(nobody.hash.unwrap().len(), 32);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn flood_of_guesses_is_refused_and_not_kept() {
        let passwords = Arc::new(Passwords::default());
        let held = Arc::clone(&passwords.turns).acquire_many_owned(2).await.unwrap();
        let guess = || {
            let passwords = Arc::clone(&passwords);
            tokio::spawn(async move { passwords.is_right(text("guess"), None).await })
        };
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| guess()).collect();
        while passwords.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(guess().await.unwrap(), Err(Busy));
        drop(held);
        for one in waiting {
            assert_eq!(one.await.unwrap(), Ok(false));
        }
        assert_eq!(passwords.is_right(text("guess"), None).await, Ok(false), "there is room again");
    }
}
