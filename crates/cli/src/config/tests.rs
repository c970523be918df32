//! Cases of configurations: whole ones, and what is said of wrong ones.

use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::parse(Some((text, Path::new("config.yaml"))), environment)
}

#[test]
fn every_setting() {
    let text = "
serve:
  data_dir: /var/lib/whodid
  listen: 127.0.0.1:7443
  ingest_listen: 0.0.0.0:8443
  tls_cert: /etc/whodid/tls.crt
  tls_key: /etc/whodid/tls.key
  tls_names: [whodid.example.com, 10.0.0.5]
  insecure_http: false
  redaction: default
  tails: [prod=/var/log/audit.log]
log:
  filter: info
  format: json
contexts:
  prod: {server: https://whodid.example.com:7443, token_file: /run/token, ca: /etc/ca.crt}
  here: {data_dir: ./whodid-data}
current_context: prod
";
    let config = parse(text, &[("WHODID_SERVE__LISTEN", "127.0.0.1:1"), ("WHODID_TOKEN", "x")]);
    let config = config.unwrap();
    // The environment wins over the file.
    assert_eq!(config.serve.listen, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(config.serve.ingest_listen, Some("0.0.0.0:8443".parse().unwrap()));
    assert_eq!(config.serve.tls_names, ["whodid.example.com", "10.0.0.5"]);
    assert_eq!(config.serve.redaction.as_deref(), Some("default"));
    assert_eq!(config.serve.tails, ["prod=/var/log/audit.log".parse().unwrap()]);
    assert_eq!(config.log, Log { filter: Some("info".into()), format: LogFormat::Json });
    assert_eq!(config.current_context.as_deref(), Some("prod"));
    assert_eq!(config.contexts["prod"].token_file, Some("/run/token".into()));
    assert_eq!(config.contexts["here"].data_dir, Some("./whodid-data".into()));
    assert_eq!(parse("", &[]).unwrap(), Config::default());
    let names = parse("", &[("WHODID_SERVE__TLS_NAMES", "a, b")]).unwrap().serve.tls_names;
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn every_fault_is_named_at_once() {
    let text = "
serve:
  lisen: 127.0.0.1:7443
  ingest_listen: everywhere
  tls_names: {a: b}
  insecure_http: maybe
  tails: [/var/log/audit.log]
log: {format: xml}
contexts:
  a: {server: https://a, data_dir: b}
  b: {server: https://b, token: x, token_file: y, tokn: z}
current_context: c
";
    let faults = parse(text, &[("WHODID_LOG__LEVEL", "info")]).unwrap_err();
    for part in [
        "config.yaml: serve.lisen: there is no such setting; serve.listen is meant, perhaps",
        "config.yaml: serve.ingest_listen: \"everywhere\": invalid socket address",
        "config.yaml: serve.tls_names.a: there is no such setting",
        "config.yaml: serve.insecure_http: \"maybe\": ",
        "config.yaml: serve.tails: \"/var/log/audit.log\": write CLUSTER=FILE",
        "config.yaml: log.format: \"xml\": write auto, text or json",
        "contexts.a: either server or data_dir is expected",
        "contexts.b: either token or token_file is expected, not both",
        "config.yaml: contexts.b.tokn: there is no such setting; contexts.b.token is meant, perhaps",
        "current_context: there is no context \"c\"",
        "WHODID_LOG__LEVEL: there is no such setting",
    ] {
        assert!(faults.iter().any(|fault| fault.starts_with(part)), "{part}: {faults:#?}");
    }
    assert_eq!(faults.len(), 11, "{faults:#?}");
}

#[test]
fn what_is_no_configuration() {
    for (text, part) in [
        ("[1, 2]", "sections are expected"),
        ("serve: [", "config.yaml: "),
        ("serve: 5", "config.yaml: serve: there is no such setting"),
        ("contexts: {a: {}}", "contexts.a: either server or data_dir is expected"),
        ("contexts: {a: {b: {c: {d: {}}}, data_dir: x}}", "contexts.a.b.c.d: there is no such"),
    ] {
        let faults = parse(text, &[]).unwrap_err();
        assert!(faults.len() == 1 && faults[0].contains(part), "{faults:?}");
    }
}
