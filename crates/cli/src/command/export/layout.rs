//! `whodid export --layout tlog-tiles`: a whole log as the files that monitors and mirrors of other
//! authors read.

use whodid_store::Reader;

use super::Bundle;
use crate::args::ExportArgs;
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: &ExportArgs) -> Result<(), Failure> {
    let Some(cluster) = args.scope.cluster.as_ref().filter(|_| args.query.is_empty()) else {
        return Err(Failure::Usage(
            "--layout tlog-tiles writes the whole log of one cluster: name it with --cluster, and \
             leave the query out"
                .into(),
        ));
    };
    let reader = Reader::open_dir(&args.store.dir())?;
    let bundle = Bundle::new(&args.out)?;
    let size = reader.tlog_tiles(cluster, |path, bytes| bundle.write(path, bytes)).await?;
    let size =
        size.ok_or_else(|| Failure::NothingFound(format!("there is no log of {cluster}")))?;
    let path = bundle.finish()?;
    print(&format!("wrote the log of {cluster}, {size} leaves: {}\n", path.display()))?;
    Ok(())
}
