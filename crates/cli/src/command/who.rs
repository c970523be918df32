//! stub
use crate::args::WhoArgs;
use crate::failure::Failure;
pub async fn run(_args: WhoArgs) -> Result<(), Failure> { Ok(()) }
