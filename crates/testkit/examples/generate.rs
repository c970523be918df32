//! Prints audit events: `cargo run --release -p whodid-testkit --example generate -- COUNT [SEED]`.

#![expect(clippy::print_stderr, reason = "it is a command")]

use std::io::{self, Write};
use std::process::ExitCode;

use whodid_testkit::generate::{Generator, Options};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut number = |default: Option<u64>| args.next().map_or(default, |arg| arg.parse().ok());
    let (Some(count), Some(seed)) = (number(None), number(Some(1))) else {
        eprintln!("usage: generate COUNT [SEED]");
        return ExitCode::from(2);
    };
    match print(count, seed) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot print events: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print(count: u64, seed: u64) -> io::Result<()> {
    let mut generator = Generator::new(seed, Options::default());
    let mut out = io::stdout().lock();
    let mut lines = Vec::new();
    for _ in 0..count {
        generator.next_into(&mut lines);
        if lines.len() > 1 << 18 {
            out.write_all(&lines)?;
            lines.clear();
        }
    }
    out.write_all(&lines)
}
