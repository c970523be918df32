//! `whodid redact`: what one request or response held goes for good.

use std::collections::BTreeSet;

use whodid_store::redact_dir;

use super::Place;
use super::show::Source;
use crate::args::RedactArgs;
use crate::failure::Failure;
use crate::output::print;

pub async fn run(args: RedactArgs) -> Result<(), Failure> {
    let source = Source::open(Place::Record(args.store.clone())).await?;
    let id = source.find(&args.id).await?;
    // It must not read on from files that go.
    drop(source);
    let named = [(args.request, "requestObject"), (args.response, "responseObject")];
    let members: BTreeSet<String> =
        named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, name)| name.into()).collect();
    let redacted =
        redact_dir(&args.store.dir(), (&id.cluster, id.seq), &members, &args.reason).await?;
    let redacted: Vec<String> = redacted.into_iter().collect();
    print(&format!("redacted: {id} {}\n", redacted.join(" ")))?;
    Ok(())
}
