//! `whodid config`: what is configured, and whether it makes sense.

use whodid_api::Client;

use super::{Place, place, serve};
use crate::args::{ConfigCommand, ServerArgs, StoreArgs};
use crate::config::Config;
use crate::failure::Failure;
use crate::output::print;
use crate::output::table::Table;

pub fn run(command: &ConfigCommand, config: Config) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => check(config)?,
        ConfigCommand::GetContexts => {
            if config.contexts.is_empty() {
                return Err(Failure::NothingFound("no contexts are configured".into()));
            }
            let mut table = Table::new(["CURRENT", "NAME", "ASKS"]);
            for (name, context) in &config.contexts {
                let is_current = config.current_context.as_ref() == Some(name);
                let record = || context.data_dir.as_ref().map(|dir| dir.display().to_string());
                let asks = context.server.clone().or_else(record).unwrap_or_default();
                let mark = if is_current { "*" } else { "" };
                table.row(vec![mark.to_owned(), name.clone(), asks]);
            }
            print(&table.print(true))?;
        }
    }
    Ok(())
}

/// Reading the configuration has found what is wrong with its form; here is what makes no sense.
fn check(config: Config) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for name in config.contexts.keys() {
        let server = ServerArgs { context: Some(name.clone()), ..ServerArgs::default() };
        let place = place(&server, &StoreArgs::default(), &config);
        let usable = place.and_then(|place| match place {
            Place::Record(_) => Ok(()),
            Place::Server(endpoint) => Ok(Client::new(endpoint).map(drop)?),
        });
        if let Err(Failure::Usage(why) | Failure::Unavailable(why)) = usable {
            faults.push(format!("contexts.{name}: {why}"));
        }
    }
    if let Err(Failure::Usage(why)) = serve::check(config) {
        faults.push(why);
    }
    if faults.is_empty() { Ok(print("ok\n")?) } else { Err(Failure::Usage(faults.join("\n"))) }
}
