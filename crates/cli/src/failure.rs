//! How a command ends when it does not succeed: what it says, and with which exit code.

use crate::output::say;
use std::io;
use std::process::ExitCode;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// Nothing was found; the sentence says what was looked for.
    NothingFound(String),
    /// What should be proved is not; the sentence says why.
    Refuted(String),
    /// The command line makes no sense.
    Usage(String),
    /// The record cannot be read or written.
    Unavailable(String),
    /// The user stopped it.
    Interrupted(String),
    /// Whoever read the output has gone.
    OutputClosed,
}

impl Failure {
    /// Says what happened on stderr, and returns the exit code.
    pub fn report(self) -> ExitCode {
        let (code, message) = match self {
            Failure::NothingFound(message) => {
                say!("{message}");
                return ExitCode::from(1);
            }
            Failure::Refuted(message) => (1, message),
            Failure::OutputClosed => return ExitCode::SUCCESS,
            Failure::Usage(message) => (2, message),
            Failure::Unavailable(message) => (3, message),
            Failure::Interrupted(message) => {
                say!("{message}");
                return ExitCode::from(130);
            }
        };
        say!("error: {message}");
        ExitCode::from(code)
    }
}

impl From<whodid_store::Error> for Failure {
    fn from(error: whodid_store::Error) -> Self {
        match error {
            whodid_store::Error::Invalid(message) => Failure::Usage(message),
            other => Failure::Unavailable(other.to_string()),
        }
    }
}

impl From<whodid_ingest::tail::Error> for Failure {
    fn from(error: whodid_ingest::tail::Error) -> Self {
        Failure::Unavailable(error.to_string())
    }
}

impl From<whodid_engine::Error> for Failure {
    fn from(error: whodid_engine::Error) -> Self {
        match error {
            whodid_engine::Error::NoEvent(_) => Failure::NothingFound(error.to_string()),
            whodid_engine::Error::TooManyWords
            | whodid_engine::Error::TooManyCounts
            | whodid_engine::Error::TooLarge
            | whodid_engine::Error::Sql(_) => Failure::Usage(error.to_string()),
            other => Failure::Unavailable(other.to_string()),
        }
    }
}

impl From<whodid_server::Error> for Failure {
    fn from(error: whodid_server::Error) -> Self {
        match error {
            whodid_server::Error::Config(faults) => Failure::Usage(faults.join("\n")),
            whodid_server::Error::Store(error) => error.into(),
            other => Failure::Unavailable(other.to_string()),
        }
    }
}

impl From<whodid_api::Error> for Failure {
    fn from(error: whodid_api::Error) -> Self {
        match error {
            whodid_api::Error::Refused { status: 400, detail } => Failure::Usage(detail),
            whodid_api::Error::NoAddress(_) => Failure::Usage(error.to_string()),
            other => Failure::Unavailable(other.to_string()),
        }
    }
}

/// Writing to stdout fails when its reader has gone, as `head` does; that is no error.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::OutputClosed;
        }
        Failure::Unavailable(format!("cannot write the output: {error}"))
    }
}
