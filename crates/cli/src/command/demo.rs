//! stub
use crate::args::DemoArgs;
use crate::failure::Failure;
pub async fn run(_args: DemoArgs) -> Result<(), Failure> { Ok(()) }
