//! Which policy a cluster is to be recorded with, as it was decided and for how long: records of
//! the meta log. Which one events show to be in force is for those who know policies to say.

use std::collections::BTreeMap;

use whodid_event::time;

use crate::error::{Error, Result};
use crate::keys;
use crate::ledger::{Mode, Record, meta};
use crate::reader::Reader;
use crate::retention::check_line;
use crate::writer::Writer;

impl Reader {
    /// What was decided last, by cluster.
    ///
    /// # Errors
    /// The meta log is damaged.
    pub fn modes(&self) -> Result<BTreeMap<String, Mode>> {
        Ok(meta::standing(&*self.disk)?.modes)
    }
}

impl Writer {
    /// What was decided last, by cluster.
    ///
    /// # Errors
    /// The meta log is damaged.
    pub fn modes(&self) -> Result<BTreeMap<String, Mode>> {
        Ok(meta::standing(&*self.disk)?.modes)
    }

    /// Puts on record that a cluster is to be recorded in another way.
    ///
    /// # Errors
    /// There is no such cluster, or what is given is of another form.
    pub async fn switch(&self, cluster: &str, mode: Mode, reason: &str) -> Result<()> {
        check_line("reason", reason)?;
        check_line("mode", &mode.name)?;
        let is_digest = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_digest(&mode.policy) {
            let why = format!("{:?} is no SHA-256 in hexadecimal", mode.policy);
            return Err(Error::Invalid(why));
        }
        if let Some(until) = &mode.until
            && time::parse(until).is_none()
        {
            let why = format!("{until:?} is no time; write 2026-01-31T00:00:00Z");
            return Err(Error::Invalid(why));
        }
        if !keys::clusters(&*self.disk)?.iter().any(|known| known == cluster) {
            return Err(Error::Invalid(format!("there is no cluster {cluster} in the record")));
        }
        let (cluster, reason) = (cluster.to_owned(), reason.to_owned());
        self.record(vec![Record::Mode { cluster, mode, reason }]).await
    }
}
