//! What is owed goes into the store with patience: a close that is lost says less than is true.

use std::time::Duration;

use tokio::time::sleep;

use crate::store::StoreError;

/// How often the store is asked again to keep what is owed; then the next start settles it.
const OWE_ATTEMPTS_MAX: u32 = 10;
/// The first pause before it is asked again; it doubles.
const OWE_WAIT: Duration = Duration::from_millis(50);

/// Writes until it is durable, or was tried often enough.
pub(super) async fn patiently<F>(write: impl Fn() -> F + Send)
where
    F: Future<Output = Result<(), StoreError>> + Send,
{
    let mut wait = OWE_WAIT;
    for _ in 0..OWE_ATTEMPTS_MAX {
        match write().await {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "what is owed is not stored"),
        }
        sleep(wait).await;
        wait = wait.saturating_mul(2);
    }
}
