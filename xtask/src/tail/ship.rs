//! `whodid ship`, the program that is looked at here: started, killed, started again.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

use crate::{command, measure};

/// One `whodid ship` after the other. It ends with this value.
pub(super) struct Ship {
    command: Command,
    child: Option<Child>,
    peak_bytes: u64,
}

impl Ship {
    /// Starts it; what it says goes to a file.
    pub(super) fn start(mut command: Command, says: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(says)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut ship = Ship { command, child: None, peak_bytes: 0 };
        ship.start_again()?;
        Ok(ship)
    }

    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        self.child = Some(self.command.spawn().context("cannot start `whodid ship`")?);
        Ok(())
    }

    /// Looks how much memory it has used; that it runs is a condition.
    fn look(&mut self) -> anyhow::Result<&mut Child> {
        let child = self.child.as_mut().context("`whodid ship` is not running")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "`whodid ship` ended by itself: {ended:?}");
        self.peak_bytes = self.peak_bytes.max(measure::peak_of(child)?);
        Ok(child)
    }

    /// Kills it at once.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let child = self.look()?;
        child.kill()?;
        child.wait()?;
        self.child = None;
        Ok(())
    }

    /// Ends it in order.
    pub(super) fn end(&mut self) -> anyhow::Result<()> {
        let child = self.look()?;
        command::run(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
        let status = child.wait()?;
        self.child = None;
        ensure!(status.success(), "`whodid ship` ended with {status}");
        Ok(())
    }

    /// The most memory that was resident at once, of all that were started and have ended.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.peak_bytes
    }
}

impl Drop for Ship {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It has ended already, if it could.
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}
