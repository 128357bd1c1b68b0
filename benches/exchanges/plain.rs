//! The same records through nginx with mutual TLS: no decision, no half, no ledger.

use std::sync::Arc;

use crate::measure::Caller;
use crate::proxy::{Connection, Proxy, read};
use crate::{Trouble, people};

/// An application that reads them, over a connection that it keeps.
pub(crate) struct Plain {
    proxy: Arc<Proxy>,
    connection: Connection,
    person: usize,
}

impl Plain {
    /// So many of them.
    ///
    /// # Errors
    /// [`Trouble`] if they don't get a connection.
    pub(crate) async fn callers(proxy: &Arc<Proxy>, count: usize) -> Result<Vec<Self>, Trouble> {
        let mut callers = Vec::new();
        for person in 0..count {
            let connection = proxy.connect().await?;
            callers.push(Self { proxy: Arc::clone(proxy), connection, person });
        }
        Ok(callers)
    }
}

impl Caller for Plain {
    async fn ask(&mut self) -> Result<u16, Trouble> {
        self.person = (self.person + 1) % people::PEOPLE;
        let request = self.proxy.request(&format!("/{}.json", people::id(self.person)))?;
        let read = read(&mut self.connection, request).await?;
        if read < people::RECORD_LEN_MIN { Err("no record".into()) } else { Ok(1) }
    }
}
