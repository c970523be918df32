//! `whodid config`: what is configured, and whether it makes sense.

use crate::args::ConfigCommand;
use crate::config::Config;
use crate::failure::Failure;
use crate::output::print;
use crate::output::table::Table;

pub fn run(command: &ConfigCommand, config: &Config) -> Result<(), Failure> {
    match command {
        // Reading it has said what is wrong with it.
        ConfigCommand::Check => print("ok\n")?,
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
