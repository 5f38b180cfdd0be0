//! When to try again, and how long to wait before.
//!
//! A failure that may pass is met with another attempt after a pause, and each pause is twice the
//! one before. What was said about credentials gets one more attempt after signing in again: the
//! token may have run out.

use std::future::Future;
use std::time::Duration;

use crate::Registry;
use crate::failure::{Failure, Kind};
use crate::registry::Image;
use crate::sign_in::Operation;

/// Attempts in a row that come to nothing.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How long a registry may say nothing, nor take anything, in the middle of a request.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The attempts at one thing.
pub(crate) struct Attempts<'a> {
    registry: &'a Registry,
    image: &'a Image,
    operation: Operation,
    failed: u32,
    signed_in_again: bool,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(registry: &'a Registry, image: &'a Image, operation: Operation) -> Self {
        Attempts { registry, image, operation, failed: 0, signed_in_again: false }
    }

    /// The last attempt brought something: those before it do not count any more.
    pub(crate) fn came_further(&mut self) {
        self.failed = 0;
        self.signed_in_again = false;
    }

    /// Signs in, if that has not been done.
    pub(crate) async fn signed_in(&self) -> Result<(), Failure> {
        match self.registry.is_signed_in(self.image, self.operation) {
            true => Ok(()),
            false => self.registry.sign_in(self.image, self.operation).await,
        }
    }

    /// Returns when it is time for the next attempt. Fails with `failure`, or what is better to
    /// know, if there should be none.
    pub(crate) async fn next_after(&mut self, failure: Failure) -> Result<(), Failure> {
        match failure.kind {
            Kind::Unauthorized if !self.signed_in_again => {
                self.signed_in_again = true;
                match self.registry.sign_in(self.image, self.operation).await {
                    Err(refusal) if refusal.kind == Kind::Unauthorized => Err(refusal),
                    Ok(()) | Err(_) => Ok(()),
                }
            }
            Kind::Passing => {
                self.failed += 1;
                if self.failed >= ATTEMPTS_MAX {
                    return Err(Failure::new(Kind::Passing, format!("{} ({ATTEMPTS_MAX} attempts)", failure.why)));
                }
                tokio::time::sleep((FIRST_PAUSE * 2u32.pow(self.failed - 1)).min(PAUSE_MAX)).await;
                Ok(())
            }
            _ => Err(failure),
        }
    }

    /// What the first attempt that succeeds brings.
    pub(crate) async fn make<T, A>(mut self, mut attempt: impl FnMut() -> A) -> Result<T, Failure>
    where
        A: Future<Output = Result<T, Failure>>,
    {
        loop {
            let done = match self.signed_in().await {
                Ok(()) => attempt().await,
                Err(failure) => Err(failure),
            };
            match done {
                Ok(done) => return Ok(done),
                Err(failure) => self.next_after(failure).await?,
            }
        }
    }
}

/// What a request comes to, if it does so before the registry has been silent for too long.
pub(crate) async fn in_time<T, E>(request: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    Failure: From<E>,
{
    match tokio::time::timeout(SILENCE_MAX, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(silence()),
    }
}

/// Nothing happened for too long.
pub(crate) fn silence() -> Failure {
    Failure::new(Kind::Passing, format!("nothing came for {} seconds", SILENCE_MAX.as_secs()))
}
