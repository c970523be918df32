//! Whoever writes the record: this process, or the server that does already and is asked through
//! its socket. What is asked means the same either way.

use std::path::Path;

use serde_json::{Value, json};
use whodid_api::{Client, Endpoint};
use whodid_server::{BY_COMMAND, Retained, let_go, plan_json};
use whodid_store::{Error, Hold, Mode, Options, Reader, Writer};

use crate::failure::Failure;

pub enum Keeper {
    Own(Box<Writer>),
    Server(Client),
}

impl Keeper {
    /// Finds who writes a record that is there; if nobody does, this process will.
    pub async fn of(dir: &Path) -> Result<Keeper, Failure> {
        // Nothing is made where nothing is.
        Reader::open_dir(dir)?;
        match Writer::open_dir(dir, Options::default()).await {
            Ok(writer) => Ok(Keeper::Own(Box::new(writer))),
            Err(locked @ Error::Locked { .. }) => {
                let socket = dir.join("whodid.sock");
                if std::os::unix::net::UnixStream::connect(&socket).is_err() {
                    return Err(locked.into());
                }
                Ok(Keeper::Server(Client::new(Endpoint::Socket(socket))?))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Puts a hold on events.
    pub async fn hold(self, name: &str, hold: Hold, reason: &str) -> Result<(), Failure> {
        match self {
            Keeper::Own(writer) => {
                writer.hold(name, Some(hold), reason).await?;
                Ok(writer.close().await?)
            }
            Keeper::Server(client) => {
                let Hold { cluster, since, until } = hold;
                let hold = json!({
                    "cluster": cluster, "since": since, "until": until, "reason": reason,
                });
                Ok(client.hold(name, &hold).await?)
            }
        }
    }

    /// Takes a hold away.
    pub async fn release(self, name: &str, reason: &str) -> Result<(), Failure> {
        match self {
            Keeper::Own(writer) => {
                writer.hold(name, None, reason).await?;
                Ok(writer.close().await?)
            }
            Keeper::Server(client) => Ok(client.release(name, reason).await?),
        }
    }

    /// Lets go what is past its retention, and tells what it was.
    pub async fn let_go(
        self,
        rules: &[String],
        retained: &[Retained],
    ) -> Result<Vec<Value>, Failure> {
        match self {
            Keeper::Own(writer) => {
                let plans = let_go(&writer, retained, BY_COMMAND).await?;
                writer.close().await?;
                Ok(plans.iter().map(plan_json).collect())
            }
            Keeper::Server(client) => Ok(client.retention(rules, true).await?),
        }
    }

    /// Puts on record that a cluster is to be recorded in another way.
    pub async fn switch(self, cluster: &str, mode: Mode, reason: &str) -> Result<(), Failure> {
        match self {
            Keeper::Own(writer) => {
                writer.switch(cluster, mode, reason).await?;
                Ok(writer.close().await?)
            }
            Keeper::Server(client) => {
                let switch = json!({ "mode": mode, "reason": reason });
                Ok(client.switch(cluster, &switch).await?)
            }
        }
    }
}
