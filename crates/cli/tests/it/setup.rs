//! Setting auditing up: policies checked, tried on recorded traffic and generated, what `init`
//! writes, what `doctor` finds, what `plan` says.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use whodid_testkit::captures;

use crate::support::Record;

/// The policy that the captures were recorded under, a path.
fn typical_policy() -> String {
    let policy = captures::repository().join("testdata/policies/typical.yaml");
    policy.to_string_lossy().into_owned()
}

const BAD: &[u8] = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
    rules:\n- level: Metadata\n  verbs: [\"*\"]\n- level: Metadata\n";

/// A record of what was logged under the typical policy.
fn typical() -> Record {
    let record = Record::new();
    let file = captures::folder().join("typical-policy.jsonl.zst").display().to_string();
    record.run(&["import", "--redaction", "off", &file]).ok();
    record
}

/// Where a file beside the record is.
fn path(record: &Record, name: &str) -> String {
    record.dir().with_file_name(name).display().to_string()
}

#[test]
fn findings_decide_how_lint_ends() {
    let record = Record::new();
    let bad = record.file("bad.yaml", BAD);
    let cases: [(&[&str], i32); 5] = [
        (&[], 1),
        (&["--fail-on", "error"], 0),
        (&["--fail-on", "never"], 0),
        (&["--fail-on", "note"], 1),
        (&["-o", "json"], 1),
    ];
    for (flags, code) in cases {
        let ran = record.run(&[&["policy", "lint", &bad][..], flags].concat());
        assert_eq!(ran.code, code, "{flags:?}: {}", ran.err);
        assert!(ran.out.contains("verb-wildcard"), "{}", ran.out);
    }
    let sarif = record.run(&["policy", "lint", &bad, "-o", "sarif"]).out;
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let first = &sarif["runs"][0]["results"][0];
    assert_eq!(first["locations"][0]["physicalLocation"]["region"]["startLine"], 6);
    let broken = record.file("broken.yaml", b"rules: [");
    let ran = record.run(&["policy", "lint", &broken]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("error[no-policy]"), "{}", ran.out);
    assert_eq!(record.run(&["policy", "lint", "/nowhere"]).code, 2);
}

#[test]
fn every_profile_is_taken_and_explained() {
    let record = Record::new();
    for profile in ["minimal", "daily", "investigation", "compliance-hipaa"] {
        let text = record.run(&["policy", "generate", "--profile", profile]).ok();
        let file = record.file(profile, text.as_bytes());
        let ran = record.run(&["policy", "lint", "--fail-on", "note", &file]);
        assert_eq!(ran.code, 0, "{profile}: {}", ran.out);
        let ask = |words: &[&str]| {
            let args = [&["policy", "explain", &file, "-o", "json"][..], words].concat();
            let answer: Value = serde_json::from_str(&record.run(&args).ok()).unwrap();
            answer["level"].as_str().unwrap().to_owned()
        };
        assert_eq!(ask(&["get", "pods/exec", "web", "-n", "shop"]), "Metadata", "{profile}");
        assert_eq!(ask(&["get", "secret", "stripe", "-n", "shop"]), "Metadata", "{profile}");
        assert_eq!(ask(&["update", "leases", "x", "-n", "kube-node-lease"]), "None", "{profile}");
    }
    let [minimal, daily] = ["minimal", "daily"].map(|name| path(&record, name));
    let same = record.run(&["policy", "diff", &daily, &daily]);
    assert_eq!((same.code, same.out.as_str()), (0, ""));
    let other = record.run(&["policy", "diff", &minimal, &daily]);
    assert_eq!(other.code, 1);
    assert!(other.out.contains("for example: "), "{}", other.out);
}

/// The traffic of the captures, under the policy that recorded it: nothing is gained or lost.
#[test]
fn recorded_traffic_is_simulated_to_the_event() {
    let record = typical();
    let simulate = |policy: &str| -> Value {
        let args = ["policy", "simulate", policy, "--cluster", "default", "-o", "json"];
        serde_json::from_str(&record.run(&args).ok()).unwrap()
    };
    let own = simulate(&typical_policy());
    let (before, after) = (&own["before"]["events"], &own["after"]["events"]);
    println!("{before} events recorded, {after} simulated");
    assert!(before.as_u64().unwrap() >= 7_000, "{own:#}");
    assert_eq!(before, after);
    assert_eq!(own["unmatched"], 0);
    // The control: with a rule less, there is more.
    let text = fs::read_to_string(typical_policy()).unwrap();
    let (head, rest) = text.split_once("- level: Request\n").unwrap();
    let rest = rest.split_once("\n- ").unwrap().1;
    let other = record.file("other.yaml", format!("{head}- {rest}").as_bytes());
    let other = simulate(&other);
    assert_eq!(&other["after"]["events"], after);
    assert_ne!(other["after"]["bytes"], own["after"]["bytes"]);
    let daily = record.run(&["policy", "generate"]).ok();
    let daily = simulate(&record.file("daily.yaml", daily.as_bytes()));
    assert!(daily["after"]["events"].as_u64() < before.as_u64());
    let sum: u64 = daily["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| rule["level"] != "None")
        .map(|rule| rule["tally"]["events"].as_u64().unwrap())
        .sum();
    assert_eq!(Some(sum), daily["after"]["events"].as_u64());
    // Rules learned from the traffic are taken, and keep some of it out.
}

/// Rules learned from traffic are taken, and keep some of it out.
#[test]
fn noise_is_learned_from_traffic() {
    let record = Record::of_captures();
    let profile = ["policy", "generate", "--profile", "compliance-pci"];
    let plain = record.run(&profile).ok();
    let learned = record.run(&[&profile[..], &["--from-traffic"]].concat()).ok();
    assert!(learned.contains("# Saves ") && !plain.contains("# Saves "), "{learned}");
    let [before, after] = [plain, learned].map(|text| {
        let file = record.file("policy.yaml", text.as_bytes());
        assert_eq!(record.run(&["policy", "lint", "--fail-on", "error", &file]).code, 0);
        let ran = record.run(&["policy", "simulate", &file, "-o", "json"]).ok();
        let answer: Value = serde_json::from_str(&ran).unwrap();
        answer["after"]["events"].as_u64().unwrap()
    });
    println!("{before} events, {after} with what was learned");
    assert!(after < before);
}

#[test]
fn events_show_which_policy_is_in_force() {
    let record = typical();
    let args = ["policy", "mode", "status", "--cluster", "default", "--since", "1d"];
    let ran = record.run(&[&args[..], &[&typical_policy()]].concat());
    let line = ran.out.lines().nth(1).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(words[1], words[3], "{line}");
    // None of the profiles is.
    assert_eq!(record.run(&args).code, 1);
}

#[test]
fn init_writes_a_folder_with_steps() {
    let record = Record::new();
    let out = path(&record, "out");
    let url = "https://whodid.example.com:8443";
    let ran = record.run(&["init", "k3s", "--cluster", "edge", "--url", url, "--out", &out]);
    let steps = ran.ok();
    assert!(steps.contains("systemctl restart k3s") && steps.contains("To undo it"), "{steps}");
    let file = |name: &str| fs::read_to_string(format!("{out}/{name}")).unwrap();
    let webhook = file("webhook.yaml");
    assert!(webhook.contains("https://whodid.example.com:8443/ingest/edge"), "{webhook}");
    assert!(webhook.contains("current-context: whodid") && webhook.contains("token: whodid_"));
    assert!(file("90-whodid.yaml").contains("audit-policy-file=/etc/kubernetes/audit/policy.yaml"));
    let mode = fs::metadata(format!("{out}/webhook.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let ran = record.run(&["policy", "lint", &format!("{out}/policy.yaml")]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    // The token is one that may send; what is there is not written over, and no token is made then.
    let again = record.run(&["init", "k3s", "--cluster", "edge", "--url", url, "--out", &out]);
    assert_eq!(again.code, 3, "{}", again.err);
    let tokens = record.run(&["ingest", "token", "list"]).ok();
    assert_eq!(tokens.matches("edge").count(), 1, "{tokens}");
    // OpenShift and managed clouds send nothing, and need no address.
    let out = path(&record, "openshift");
    let ran = record.run(&["init", "openshift", "--cluster", "prod", "--out", &out]);
    assert!(ran.ok().contains("oc patch apiserver"));
}

/// A manifest as kubeadm writes it, as far as it matters.
const MANIFEST: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: kube-apiserver
spec:
  containers:
  - command:
    - kube-apiserver
    - --secure-port=6443
    image: registry.k8s.io/kube-apiserver:v1.36.2
    name: kube-apiserver
    volumeMounts:
    - mountPath: /etc/kubernetes/pki
      name: k8s-certs
      readOnly: true
  hostNetwork: true
  volumes:
  - hostPath:
      path: /etc/kubernetes/pki
      type: DirectoryOrCreate
    name: k8s-certs
status: {}
";

#[test]
fn init_sets_a_host_up_and_writes_nothing_over() {
    let record = Record::new();
    let folder = path(&record, "out");
    let url = "https://127.0.0.1:1";
    let init = |target: &str, root: &str, more: &[&str]| {
        let args = ["init", target, "--cluster", "prod", "--out", &folder, "--apply"];
        record.run(&[&args[..], &["--host-root", root], more].concat())
    };
    for (target, drop_in) in [
        ("kubeadm", None),
        ("k3s", Some("etc/rancher/k3s/config.yaml.d/90-whodid.yaml")),
        ("rke2", Some("etc/rancher/rke2/config.yaml.d/90-whodid.yaml")),
        ("generic", None),
    ] {
        let root = path(&record, target);
        let on_host = |name: &str| format!("{root}/{name}");
        let manifest = on_host("etc/kubernetes/manifests/kube-apiserver.yaml");
        fs::create_dir_all(on_host("etc/kubernetes/manifests")).unwrap();
        fs::write(&manifest, MANIFEST).unwrap();
        let ran = init(target, &root, &["--url", url]);
        assert_eq!(ran.code, 0, "{target}: {}", ran.err);
        assert!(ran.err.contains("nobody answers at https://127.0.0.1:1"), "{}", ran.err);
        let policy = on_host("etc/kubernetes/audit/policy.yaml");
        assert_eq!(record.run(&["policy", "lint", &policy]).code, 0);
        let webhook = on_host("etc/kubernetes/audit/webhook.yaml");
        assert_eq!(fs::metadata(&webhook).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::path::Path::new(&on_host("var/log/kubernetes/audit")).is_dir());
        let changed = fs::read_to_string(&manifest).unwrap();
        if target == "kubeadm" {
            let ran = record.run(&["policy", "lint", &policy, "--flags", &manifest]);
            assert_eq!(ran.code, 0, "{}", ran.out);
            assert_eq!(ran.out.matches("  pass  ").count(), 6, "{}", ran.out);
            // Lines were added, and none was changed.
            let lines: Vec<&str> =
                changed.lines().filter(|line| MANIFEST.contains(*line)).collect();
            assert!(lines.len() >= MANIFEST.lines().count(), "{changed}");
            let before = on_host("etc/kubernetes/audit/kube-apiserver.yaml.before");
            assert_eq!(fs::read_to_string(before).unwrap(), MANIFEST);
            // A second time, the flags are there already, and nothing is touched.
            let again = init(target, &root, &[]);
            assert_eq!((again.code, again.err.contains("already")), (2, true), "{}", again.err);
            assert_eq!(fs::read_to_string(&manifest).unwrap(), changed);
        } else {
            assert_eq!(changed, MANIFEST);
        }
        if let Some(drop_in) = drop_in {
            assert!(fs::read_to_string(on_host(drop_in)).unwrap().contains("audit-policy-file"));
            assert!(ran.err.contains("systemctl restart"), "{}", ran.err);
        }
        // Another's policy stays.
        fs::write(&policy, "another").unwrap();
        assert_eq!(init(target, &root, &[]).code, 2);
        assert_eq!(fs::read_to_string(&policy).unwrap(), "another");
        fs::remove_dir_all(&folder).unwrap();
    }
    let foreign = path(&record, "foreign");
    fs::create_dir_all(format!("{foreign}/etc/kubernetes/manifests")).unwrap();
    let manifest = format!("{foreign}/etc/kubernetes/manifests/kube-apiserver.yaml");
    fs::write(&manifest, "spec: {}\n").unwrap();
    let ran = init("kubeadm", &foreign, &["--url", url]);
    assert_eq!((ran.code, ran.err.contains("not as kubeadm writes it")), (2, true), "{}", ran.err);
    assert!(!std::path::Path::new(&format!("{foreign}/etc/kubernetes/audit")).exists());
    assert_eq!(init("kind", &foreign, &[]).code, 2);
}

#[test]
fn every_target_can_be_looked_at_first() {
    let record = Record::new();
    let url = "https://10.0.0.5:8443";
    for target in [
        "generic",
        "kubeadm",
        "kind",
        "k3s",
        "rke2",
        "talos",
        "minikube",
        "openshift",
        "eks",
        "gke",
        "aks",
    ] {
        let args = ["init", target, "--cluster", "prod", "--url", url, "--dry-run"];
        let shown = record.run(&args).ok();
        assert!(shown.contains("==> README.md") && shown.contains("1. "), "{target}: {shown}");
        assert!(!shown.contains("whodid_ingest_"), "{target}");
    }
    assert!(!record.dir().join("tls").exists(), "nothing is made");
    let wrong: [&[&str]; 2] = [
        &["init", "kubeadm", "--cluster", "prod"],
        &["init", "kubeadm", "--cluster", "prod", "--url", "http://x"],
    ];
    for args in wrong {
        assert_eq!(record.run(args).code, 2, "{args:?}");
    }
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let record = typical();
    let flags =
        record.file("flags", b"--audit-policy-file=/p --audit-log-path=/l --audit-log-maxsize=0");
    let metrics = record.file(
        "metrics",
        b"apiserver_audit_event_total 9\napiserver_audit_error_total{plugin=\"webhook\"} 2\n",
    );
    let args = ["doctor", "--flags", &flags, "--metrics", &metrics, "-o", "json"];
    let ran = record.run(&args);
    assert_eq!(ran.code, 1, "{}", ran.err);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let outcome = |name: &str| -> String {
        let checks = found["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name).unwrap();
        assert!(check["outcome"] == "pass" || check["fix"].is_string(), "{check}");
        check["outcome"].as_str().unwrap().to_owned()
    };
    // Nobody serves, no API server sends, and it lost two events.
    for name in ["server", "arriving", "dropped"] {
        assert_eq!(outcome(name), "FAIL", "{name}: {found:#}");
    }
    assert_eq!((outcome("gaps").as_str(), outcome("stored").as_str()), ("pass", "pass"));
}

#[test]
fn a_plan_names_disk_and_flags() {
    let record = Record::new();
    let args = ["plan", "storage", "--events-per-second", "50", "--bodies-days", "7"];
    let plan = record.run(&args).ok();
    for part in ["the record", "--retain CLUSTER=90d,bodies=7d", "--audit-log-maxbackup="] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert_eq!(record.run(&["plan", "storage", "--events-per-second", "-1"]).code, 2);
}
