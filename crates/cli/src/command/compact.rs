//! `whodid compact`: merge and compress what is stored, at once.

use whodid_store::{Options, Writer};

use crate::args::StoreArgs;
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: StoreArgs) -> Result<(), Failure> {
    // Opening for writing makes a store where there is none; that is not what was asked for.
    let _is_store = whodid_store::Reader::open_dir(&args.dir())?;
    let writer = Writer::open_dir(&args.dir(), Options::default()).await?;
    writer.flush().await?;
    let report = writer.compact().await?;
    writer.close().await?;
    if report.files_before == 0 {
        print("nothing to compact\n")?;
        return Ok(());
    }
    print(&format!(
        "{} files became {}, {} bytes became {}\n",
        report.files_before, report.files_after, report.bytes_before, report.bytes_after
    ))?;
    Ok(())
}
