//! Certificates that are replaced while a process runs: their files are looked at again and again.
//!
//! Invariant: only a certificate for the same workload, with its own key, that its peers would take
//! today comes in the place of the one that is used; whatever else stands in the files changes nothing
//! and is said.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::identity::{Identity, IdentityError, LoadIdentityError};
use crate::tls;
use crate::trust::TrustStore;

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A workload's certificate and key, and the files that they are from.
#[derive(Debug)]
pub struct Rotation {
    identity: Identity,
    certificate: PathBuf,
    key: PathBuf,
    /// By what its peers judge it; none where that is not ours to know.
    trust: Option<TrustStore>,
    /// What was read last, good or bad.
    read: Option<Stamps>,
    /// What was bad at the last look. Certificate and key are two files: between one and the other they
    /// do not fit, so what is bad is said only once it has stayed so.
    doubted: Option<Stamps>,
}

/// What a look has found.
#[derive(Debug)]
pub enum Turn {
    /// Nothing new.
    Same,
    /// The new certificate is used from here on.
    Replaced,
    /// What stands in the files can't be used; the old certificate goes on.
    Kept(NotUsed),
}

/// Why what stands in the files is not used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsed {
    /// A file that is not there, or can't be looked at.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It can't be read, or peers would refuse it.
    #[error(transparent)]
    Load(#[from] LoadIdentityError),
    /// Certificate and key do not belong together.
    #[error("{}: not the key of the certificate: {why}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What TLS says.
        why: rustls::Error,
    },
    /// It is another workload's.
    #[error("{}: the certificate is for {found}, but this is {wanted}", path.display())]
    Other {
        /// The certificate's file.
        path: PathBuf,
        /// Who it is for.
        found: String,
        /// Who this is.
        wanted: String,
    },
}

/// How two files were when they were looked at.
type Stamps = [Stamp; 2];

/// A file is another one when any of these differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

/// A certificate whose files are followed, until this is dropped.
#[derive(Debug)]
pub struct Following {
    again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Following {
    /// Where it is told to read the files now, whether they look new or not.
    #[must_use]
    pub fn again(&self) -> Arc<Notify> {
        Arc::clone(&self.again)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Rotation {
    /// Of an identity that was read from these files just now.
    #[must_use]
    pub fn new(identity: Identity, certificate: &Path, key: &Path, trust: TrustStore) -> Self {
        Self::of(identity, certificate, key, Some(trust))
    }

    /// The same of a certificate that is no workload's of a mesh: it has to hold now and to have its own
    /// key, and no more is asked.
    #[must_use]
    pub fn of_any(identity: Identity, certificate: &Path, key: &Path) -> Self {
        Self::of(identity, certificate, key, None)
    }

    fn of(identity: Identity, certificate: &Path, key: &Path, trust: Option<TrustStore>) -> Self {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        let mut rotation = Self { identity, certificate, key, trust, read: None, doubted: None };
        rotation.read = rotation.stamps().ok();
        rotation
    }

    /// Looks at the files, and reads them if they are others than those that were read last.
    pub fn look(&mut self) -> Turn {
        // A file that is being replaced may be gone for a moment; one that stays away is said when the
        // certificate is about to expire, by its own metric.
        let Ok(stamps) = self.stamps() else { return Turn::Same };
        if self.read == Some(stamps) {
            return Turn::Same;
        }
        let found = self.read();
        // Whoever writes meanwhile is looked at again.
        if self.stamps().ok() != Some(stamps) {
            return Turn::Same;
        }
        match found {
            Ok(new) => {
                self.take(stamps);
                let same = self.identity.is_same_as(&new);
                self.identity.replace(&new);
                if same { Turn::Same } else { Turn::Replaced }
            }
            Err(_) if self.doubted != Some(stamps) => {
                self.doubted = Some(stamps);
                Turn::Same
            }
            Err(why) => {
                self.take(stamps);
                Turn::Kept(why)
            }
        }
    }

    /// Reads the files whether they have changed or not, because somebody says so.
    pub fn look_again(&mut self) -> Turn {
        let stamps = self.stamps();
        match stamps.and_then(|stamps| Ok((stamps, self.read()?))) {
            Ok((stamps, new)) => {
                self.take(stamps);
                let same = self.identity.is_same_as(&new);
                self.identity.replace(&new);
                if same { Turn::Same } else { Turn::Replaced }
            }
            Err(why) => Turn::Kept(why),
        }
    }

    /// Follows the files from here on, in a task of the present runtime; tells what it has found, if it
    /// is something.
    #[must_use]
    pub fn start(self, told: impl Fn(&Identity, &Turn) + Send + Sync + 'static) -> Following {
        let again = Arc::new(Notify::new());
        let task = tokio::spawn(self.follow(Arc::clone(&again), told));
        Following { again, task }
    }

    /// Looks now and then, and whenever it is told to; tells what it has found, if it is something. Until
    /// dropped.
    async fn follow(mut self, again: Arc<Notify>, told: impl Fn(&Identity, &Turn)) {
        let mut beats = interval(LOOK_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let turn = tokio::select! {
                () = again.notified() => self.look_again(),
                _ = beats.tick() => self.look(),
            };
            if !matches!(turn, Turn::Same) {
                told(&self.identity, &turn);
            }
        }
    }

    fn take(&mut self, stamps: Stamps) {
        self.read = Some(stamps);
        self.doubted = None;
    }

    fn read(&self) -> Result<Identity, NotUsed> {
        let path = &self.certificate;
        let new = Identity::load(path, &self.key)?;
        let key = |why| NotUsed::Key { path: self.key.clone(), why };
        new.certified().map_err(key)?;
        let refused = |why| LoadIdentityError::Refused { path: path.clone(), why };
        let Some(trust) = &self.trust else {
            return holds_now(&new).map_err(refused).map(|()| new).map_err(NotUsed::from);
        };
        let found = new.id().map_err(refused)?;
        if let Ok(wanted) = self.identity.id()
            && found != wanted
        {
            let (path, found, wanted) = (path.clone(), found.to_string(), wanted.to_string());
            return Err(NotUsed::Other { path, found, wanted });
        }
        match tls::check(&new, trust) {
            // The registers are not heard yet: its peers will say.
            Err(IdentityError::MemberUnknown) => holds_now(&new).map_err(refused)?,
            checked => drop(checked.map_err(refused)?),
        }
        Ok(new)
    }

    fn stamps(&self) -> Result<Stamps, NotUsed> {
        Ok([stamp(&self.certificate)?, stamp(&self.key)?])
    }
}

fn holds_now(identity: &Identity) -> Result<(), IdentityError> {
    let validity = identity.validity().ok_or(IdentityError::CertificateMalformed)?;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if now < validity.from_s {
        Err(IdentityError::NotYetValid)
    } else if now > validity.until_s {
        Err(IdentityError::Expired)
    } else {
        Ok(())
    }
}

/// Follows links: Kubernetes replaces a mounted secret by turning a link.
fn stamp(path: &Path) -> Result<Stamp, NotUsed> {
    let io = |source| NotUsed::Io { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(io)?;
    Ok(Stamp {
        device: found.dev(),
        inode: found.ino(),
        len: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
    })
}

#[cfg(test)]
mod tests;
