//! `cargo xtask tamper`: another program forges a record in every way that it can think of, with
//! and without the key that is in the folder; who finds it is printed as a matrix, and held against
//! what has to be found and what honestly is not. Then bytes are flipped, each of which has to be
//! found.
//!
//! The forger is `testbed/forger`. That the forged record reads like any other is checked before
//! anybody judges it: what is found was found by the ledger, and not by a clumsy forgery.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;

use crate::cache;
use crate::product::Record;

mod expected;
mod flips;
mod forger;
mod judge;
mod matrix;
mod records;
mod whodid;

use expected::{HANDS, Hand};
use forger::Forger;
use judge::{Evidence, Verdict, Verdicts};
use matrix::Matrix;
use records::Records;
use whodid::Whodid;

/// Forge a record in every way, and see who finds it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this attack, and no flips; repeated, these.
    #[arg(long, value_name = "ATTACK")]
    only: Vec<String>,
    /// Only this hand, of those that the matrix has; repeated, these.
    #[arg(long, value_name = "HAND", value_parser = HANDS.map(|hand| hand.name))]
    hand: Vec<String>,
    /// Judge with this program, and run no tests; without it, the program is built.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// One byte in so many is flipped in the tests of the store.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    flip_every: u32,
    /// The negative control: what `whodid verify` finds of this attack without a key is overlooked.
    /// It has to end in red.
    #[arg(long, value_name = "ATTACK")]
    hide_finding: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = cache::folder()?.join("tamper");
    if folder.try_exists()? {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let program = args.program.clone().map_or_else(Record::build, Ok)?;
    let whodid = Whodid { program };
    let mut faults = forgeries(args, &whodid, &folder.join("forged"))?;
    if args.only.is_empty() && args.hand.is_empty() {
        faults.extend(flips::binary(&whodid, &folder.join("flipped"))?);
        if args.program.is_none() {
            faults.extend(flips::tests(args.flip_every).err().map(|error| format!("{error:#}")));
        }
    }
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Runs the attacks, prints who found them, and returns what is not as it should be.
fn forgeries(args: &Args, whodid: &Whodid, folder: &Path) -> anyhow::Result<Vec<String>> {
    let forger = Forger::new()?;
    let records = Records::make(whodid, folder)?;
    print!("{}", forger.check(&records.today)?);
    let names = forger.attacks()?;
    expected::check(&names)?;
    let known = |name: &String| names.contains(name);
    let wrong = args.only.iter().chain(&args.hide_finding).find(|name| !known(name));
    ensure!(wrong.is_none(), "there is no attack {wrong:?}; there are {}", names.join(", "));
    let mut matrix = Matrix::default();
    let mut faults = Vec::new();
    for name in names.iter().filter(|name| args.only.is_empty() || args.only.contains(name)) {
        let out = folder.join(name);
        let attack = forger.forge(&records, name, &out)?;
        println!("forged: {}", attack.title);
        let evidence = Evidence::of(whodid, &records, &attack)?;
        let is_wanted =
            |hand: &Hand| args.hand.is_empty() || args.hand.iter().any(|n| n == hand.name);
        for hand in HANDS.into_iter().filter(is_wanted) {
            let forged = out.join(hand.name);
            faults.extend(judge::readable(whodid, &records.today, &forged, &attack, hand)?);
            let mut verdicts = Verdicts::of(whodid, &records, &forged, &attack, &evidence)?;
            if args.hide_finding.as_ref() == Some(name) && hand == HANDS[0] {
                ensure!(verdicts.verify != Verdict::Missed, "of {name} there is nothing to hide");
                verdicts.verify = Verdict::Missed;
            }
            faults.extend(expected::compare(name, hand, &verdicts));
            matrix.add(hand, name, &attack.title, verdicts);
        }
        fs::remove_dir_all(out)?;
    }
    print!("{matrix}");
    Ok(faults)
}
