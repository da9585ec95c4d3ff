//! Checks passwords without telling by time who exists, and without taking all cores.

use std::sync::{Arc, LazyLock};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use kit::timing::timed;
use tokio::sync::Semaphore;

use crate::error::Error;

/// How many sign-ins may wait for their check; more are turned away.
const QUEUE: usize = 64;
/// Longer passwords are nobody's.
const LONGEST: usize = 1024;

/// Checked where there is no hash to check: unknown users cost what known ones do.
static DECOY: LazyLock<Option<String>> = LazyLock::new(|| {
    let hash = Argon2::default().hash_password(b"nobody's password").ok()?;
    Some(hash.to_string())
});

/// The bounded place where passwords are checked; cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Passwords {
    /// At most `checks` run at once.
    #[must_use]
    pub fn new(checks: u16) -> Self {
        // Not at the first unknown user, who would be told by the time it takes.
        LazyLock::force(&DECOY);
        Self {
            running: Arc::new(Semaphore::new(usize::from(checks))),
            admitted: Arc::new(Semaphore::new(usize::from(checks) + QUEUE)),
        }
    }

    /// Whether `password` is the one `hash` was made of. No hash, or one that is none (a locked account), takes the
    /// same time and matches nothing.
    pub async fn matches(&self, password: String, hash: Option<String>) -> Result<bool, Error> {
        let _admitted = self
            .admitted
            .try_acquire()
            .map_err(|_| Error::TooManySignIns)?;
        let running = self
            .running
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| Error::Interrupted)?;
        let check = tokio::task::spawn_blocking(move || {
            // Held to the end of the check, not of the request, which may be gone by then.
            let _running = running;
            check(&password, hash.as_deref())
        });
        timed("argon2", check).await.map_err(|_| Error::Interrupted)
    }
}

fn check(password: &str, hash: Option<&str>) -> bool {
    let verify = |hash: &PasswordHash| {
        password.len() <= LONGEST
            && Argon2::default()
                .verify_password(password.as_bytes(), hash)
                .is_ok()
    };
    if let Some(hash) = hash.and_then(|hash| PasswordHash::new(hash).ok()) {
        return verify(&hash);
    }
    if let Some(decoy) = DECOY
        .as_deref()
        .and_then(|hash| PasswordHash::new(hash).ok())
    {
        verify(&decoy);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str) -> String {
        Argon2::default()
            .hash_password(password.as_bytes())
            .expect("a hash")
            .to_string()
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = Passwords::new(1);
        let hash = hash("right");
        let matches = async |password: &str, hash: Option<&str>| {
            passwords
                .matches(password.to_owned(), hash.map(str::to_owned))
                .await
                .expect("checked")
        };
        assert!(matches("right", Some(&hash)).await);
        assert!(!matches("wrong", Some(&hash)).await);
        assert!(!matches("", Some(&hash)).await);
        assert!(!matches("right", None).await);
        for locked in ["!", "", "*", "$argon2id$v=19$m=19456,t=2,p=1"] {
            assert!(!matches("!", Some(locked)).await, "{locked}");
        }
        assert!(
            !matches("nobody's password", None).await,
            "the decoy is nobody's"
        );
    }

    #[tokio::test]
    async fn more_sign_ins_than_can_wait_are_turned_away() {
        let passwords = Passwords::new(1);
        let held = passwords
            .running
            .clone()
            .acquire_owned()
            .await
            .expect("open");
        let waiting: Vec<_> = (0..=QUEUE)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.matches(String::new(), None).await })
            })
            .collect();
        kit::testing::eventually("all are admitted", async || {
            passwords.admitted.available_permits() == 0
        })
        .await;
        let refused = passwords.matches(String::new(), None).await;
        assert!(matches!(refused, Err(Error::TooManySignIns)));
        for task in waiting {
            task.abort();
        }
        drop(held);
    }
}
