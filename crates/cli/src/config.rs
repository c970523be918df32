//! The configuration: a YAML file, then `WHODID_SECTION__FIELD` from the environment. It is read
//! whole, and everything that is wrong with it is said at once. Flags come on top of it, which is
//! the business of the commands.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::Value;
use whodid_server::{Retained, TailedLog};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// A file of settings is never this long.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is configured; what is not has its default where it is used.
#[derive(Debug, Default, PartialEq)]
pub struct Config {
    pub serve: Serve,
    pub log: Log,
    /// Servers and records by name.
    pub contexts: BTreeMap<String, Context>,
    /// The context that is used when none is named.
    pub current_context: Option<String>,
}

/// `serve:`; the fields are the flags of `whodid serve`.
#[derive(Debug, Default, PartialEq)]
pub struct Serve {
    pub data_dir: Option<PathBuf>,
    pub listen: Option<SocketAddr>,
    pub ingest_listen: Option<SocketAddr>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_names: Vec<String>,
    pub insecure_http: bool,
    pub signer: Option<String>,
    pub witnesses: Option<PathBuf>,
    pub cosigner_ca: Option<PathBuf>,
    pub timestamp_authority: Option<String>,
    pub retain: Vec<Retained>,
    pub redaction: Option<String>,
    pub tails: Vec<TailedLog>,
}

/// `log:`, what `whodid serve` says on stderr.
#[derive(Debug, Default, PartialEq)]
pub struct Log {
    /// As `RUST_LOG` is written, for example `info` or `warn,whodid_server=debug`.
    pub filter: Option<String>,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("write auto, text or json"),
        }
    }
}

/// `contexts.NAME:`, what is asked: a server, or a record on this machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    pub server: Option<String>,
    pub token: Option<String>,
    pub token_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
}

impl Config {
    /// Reads the file that was named, or the user's own if there is one, and the environment.
    ///
    /// # Errors
    /// Every fault, a line each.
    pub fn load(named: Option<&Path>) -> Result<Config, Failure> {
        let text = match named.map(Path::to_owned).or_else(own_file) {
            Some(path) => Some((read(&path)?, path)),
            None => None,
        };
        let file = text.as_ref().map(|(text, path)| (text.as_str(), path.as_path()));
        Config::parse(file, std::env::vars_os()).map_err(|faults| Failure::Usage(faults.join("\n")))
    }

    fn parse(
        file: Option<(&str, &Path)>,
        environment: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Config, Vec<String>> {
        let mut fields = Fields::default();
        if let Some((text, path)) = file {
            fields.add_file(text, path);
        }
        fields.add_environment(environment);
        let config = Config {
            serve: Serve {
                data_dir: fields.path("serve", "data_dir"),
                listen: fields.parsed("serve", "listen"),
                ingest_listen: fields.parsed("serve", "ingest_listen"),
                tls_cert: fields.path("serve", "tls_cert"),
                tls_key: fields.path("serve", "tls_key"),
                tls_names: fields.all("serve", "tls_names"),
                insecure_http: fields.parsed("serve", "insecure_http").unwrap_or_default(),
                signer: fields.parsed("serve", "signer"),
                witnesses: fields.path("serve", "witnesses"),
                cosigner_ca: fields.path("serve", "cosigner_ca"),
                timestamp_authority: fields.parsed("serve", "timestamp_authority"),
                retain: fields.all("serve", "retain"),
                redaction: fields.parsed("serve", "redaction"),
                tails: fields.all("serve", "tails"),
            },
            log: Log {
                filter: fields.parsed("log", "filter"),
                format: fields.parsed("log", "format").unwrap_or_default(),
            },
            current_context: fields
                .take(&["current_context"])
                .and_then(|field| field.parsed(&mut fields.faults)),
            contexts: fields.contexts(),
        };
        fields.refuse_the_rest();
        if let Some(name) = &config.current_context
            && !config.contexts.contains_key(name)
        {
            fields.faults.push(format!("current_context: there is no context {name:?}"));
        }
        if fields.faults.is_empty() { Ok(config) } else { Err(fields.faults) }
    }
}

/// The file that is read unless another is named, if it is there.
fn own_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty());
    let at_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    let path = folder.map(PathBuf::from).or_else(at_home)?.join("whodid/config.yaml");
    path.is_file().then_some(path)
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(failed(format!(
            "{length} bytes; a configuration has at most {FILE_BYTES_MAX}"
        )));
    }
    std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))
}

/// Every field known, `contexts.NAME` aside.
const KNOWN: [&[&str]; 17] = [
    &["serve", "data_dir"],
    &["serve", "listen"],
    &["serve", "ingest_listen"],
    &["serve", "tls_cert"],
    &["serve", "tls_key"],
    &["serve", "tls_names"],
    &["serve", "insecure_http"],
    &["serve", "signer"],
    &["serve", "witnesses"],
    &["serve", "cosigner_ca"],
    &["serve", "timestamp_authority"],
    &["serve", "retain"],
    &["serve", "redaction"],
    &["serve", "tails"],
    &["log", "filter"],
    &["log", "format"],
    &["current_context"],
];

const OF_A_CONTEXT: [&str; 5] = ["server", "token", "token_file", "ca", "data_dir"];

/// A value, where it stands and who said it.
#[derive(Debug)]
struct Field {
    path: String,
    origin: String,
    value: Value,
}

impl Field {
    fn fault(&self, why: impl Display) -> String {
        let Field { path, origin, .. } = self;
        if origin == path { format!("{origin}: {why}") } else { format!("{origin}: {path}: {why}") }
    }

    fn text(&self) -> Result<String, String> {
        match &self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            _ => Err(self.fault("a single value is expected")),
        }
    }

    fn parsed<T: FromStr<Err: Display>>(&self, faults: &mut Vec<String>) -> Option<T> {
        let parsed = self.text().and_then(|text| {
            text.parse().map_err(|error| self.fault(format_args!("{text:?}: {error}")))
        });
        parsed.map_err(|fault| faults.push(fault)).ok()
    }
}

/// The fields that were given, until each is taken by who knows it.
#[derive(Debug, Default)]
struct Fields {
    given: BTreeMap<Vec<String>, Field>,
    faults: Vec<String>,
}

impl Fields {
    fn add_file(&mut self, text: &str, path: &Path) {
        let origin = path.display().to_string();
        match serde_saphyr::from_str::<Value>(text) {
            Ok(Value::Null) => {}
            Ok(Value::Object(sections)) => self.flatten(&[], Value::Object(sections), &origin),
            Ok(_) => self.faults.push(format!("{origin}: sections are expected, such as serve:")),
            Err(error) => self.faults.push(format!("{origin}: {error}")),
        }
    }

    fn flatten(&mut self, path: &[String], value: Value, origin: &str) {
        match value {
            // What is empty is something, and mostly wrong.
            Value::Object(members) if !members.is_empty() || path.len() < 2 => {
                for (name, value) in members {
                    self.flatten(&[path, &[name]].concat(), value, origin);
                }
            }
            Value::Null => {}
            value => {
                let field = Field { path: path.join("."), origin: origin.to_owned(), value };
                self.given.insert(path.to_vec(), field);
            }
        }
    }

    fn add_environment(&mut self, environment: impl Iterator<Item = (OsString, OsString)>) {
        for (name, value) in environment {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            let Some((section, field)) =
                name.strip_prefix("WHODID_").and_then(|name| name.split_once("__"))
            else {
                continue;
            };
            let path: Vec<String> =
                [section].into_iter().chain(field.split("__")).map(str::to_lowercase).collect();
            let field =
                Field { path: name.to_owned(), origin: name.to_owned(), value: value.into() };
            self.given.insert(path, field);
        }
    }

    fn take(&mut self, path: &[&str]) -> Option<Field> {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        self.given.remove(&path)
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, section: &str, name: &str) -> Option<T> {
        self.take(&[section, name])?.parsed(&mut self.faults)
    }

    fn path(&mut self, section: &str, name: &str) -> Option<PathBuf> {
        self.parsed(section, name)
    }

    /// A list, or texts joined by commas.
    fn all<T: FromStr<Err: Display>>(&mut self, section: &str, name: &str) -> Vec<T> {
        let Some(field) = self.take(&[section, name]) else { return Vec::new() };
        let texts: Option<Vec<&str>> = match &field.value {
            Value::Array(items) => items.iter().map(Value::as_str).collect(),
            Value::String(text) => {
                Some(text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect())
            }
            _ => None,
        };
        let Some(texts) = texts else {
            self.faults.push(field.fault("a list of texts is expected"));
            return Vec::new();
        };
        let parse = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
        let parsed: Vec<Result<T, String>> = texts.into_iter().map(parse).collect();
        let fault = |result: Result<T, String>| {
            result.map_err(|why| self.faults.push(field.fault(why))).ok()
        };
        parsed.into_iter().filter_map(fault).collect()
    }

    fn contexts(&mut self) -> BTreeMap<String, Context> {
        let is_context =
            |path: &&Vec<String>| path.first().is_some_and(|section| section == "contexts");
        let names = self.given.keys().filter(is_context).filter_map(|path| path.get(1).cloned());
        let names: BTreeSet<String> = names.collect();
        names.into_iter().map(|name| (name.clone(), self.context(&name))).collect()
    }

    fn context(&mut self, name: &str) -> Context {
        let _nothing = self.take(&["contexts", name]);
        let [server, token, token_file, ca, data_dir] =
            OF_A_CONTEXT.map(|field| self.take(&["contexts", name, field]));
        let faults = &mut self.faults;
        let mut text =
            |field: Option<Field>| field.and_then(|field| field.parsed::<String>(faults));
        let context = Context {
            server: text(server),
            token: text(token),
            token_file: text(token_file).map(PathBuf::from),
            ca: text(ca).map(PathBuf::from),
            data_dir: text(data_dir).map(PathBuf::from),
        };
        let mut refuse = |why: &str| faults.push(format!("contexts.{name}: {why}"));
        if context.server.is_some() == context.data_dir.is_some() {
            refuse("either server or data_dir is expected");
        }
        if context.token.is_some() && context.token_file.is_some() {
            refuse("either token or token_file is expected, not both");
        }
        context
    }

    /// What nobody took is a slip of the pen, and a setting that does nothing is worse than none.
    fn refuse_the_rest(&mut self) {
        for (path, field) in std::mem::take(&mut self.given) {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            let known: Vec<String> = match names.as_slice() {
                ["contexts", name, ..] => {
                    OF_A_CONTEXT.map(|field| format!("contexts.{name}.{field}")).to_vec()
                }
                _ => KNOWN.map(|known| known.join(".")).to_vec(),
            };
            let asked = names.join(".");
            let hint = whodid_query::nearest(&asked, known.iter().map(String::as_str))
                .map(|known| format!("; {known} is meant, perhaps"))
                .unwrap_or_default();
            self.faults.push(field.fault(format_args!("there is no such setting{hint}")));
        }
    }
}
