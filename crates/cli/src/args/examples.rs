//! What stands below the help of a command: how it is used. The flags are [`super`]'s.

pub const SERVE_EXAMPLES: &str = "\
Examples:
  # Let the API server of cluster prod send, from another machine
  whodid ingest token create prod --source control-plane-1
  whodid serve --ingest-listen 0.0.0.0:8443 --tls-name whodid.example.com

  # On this machine alone, without TLS
  whodid serve --insecure-http --listen 127.0.0.1:7443

Every flag can stand in the configuration file too, for example as serve.ingest_listen, or in the
environment, as WHODID_SERVE__INGEST_LISTEN. Flags win, then the environment.";

pub const SHIP_EXAMPLES: &str = "\
Examples:
  # On a control-plane host, with a token made by `whodid ingest token create prod --source cp-1`
  whodid ship --server https://whodid.example.com:8443 --ca ca.crt --token-file token \\
    --cluster prod /var/log/kubernetes/audit/audit.log";

pub const IMPORT_EXAMPLES: &str = "\
Examples:
  # Take in what an API server has logged so far, rotated files too
  whodid import /var/log/kubernetes/audit/*.log*

  # Take in another cluster's events from a pipe, keeping secrets in
  zcat audit.log.gz | whodid import --cluster staging --redaction off -";

pub const SEARCH_EXAMPLES: &str = "\
Examples:
  # Deletions in a namespace during the last two hours
  whodid search verb:delete -n payments --since 2h

  # What people were refused, as JSON lines
  whodid search outcome:denied actor_kind:human -o jsonl

  # Who was refused most, and when
  whodid search outcome:denied --top actor --limit 10
  whodid search outcome:denied --histogram 1h --since 1d

  # A word in anything that was sent or answered
  whodid search 'body:\"xmrig\"'";

pub const HISTORY_EXAMPLES: &str = "\
Examples:
  # Who changed what of a Deployment during the last week
  whodid history deploy/web -n shop --since 7d

  # The same object as it was before the outage
  whodid history deploy/web -n shop --at 2026-11-22T17:25:00Z -o yaml";

pub const STATS_EXAMPLES: &str = "\
Examples:
  # What a namespace was used for since yesterday
  whodid stats -n payments --since 1d

  # Where people were refused, for a program
  whodid stats outcome:denied actor_kind:human -o json";

pub const SQL_EXAMPLES: &str = "\
Examples:
  # Who was denied most
  whodid sql \"SELECT actor, count(*) AS n FROM events WHERE outcome = 'denied'
    GROUP BY actor ORDER BY n DESC LIMIT 10\"

  # Every hour of a namespace, for a spreadsheet
  whodid sql -o csv \"SELECT date_trunc('hour', time) AS hour, verb, count(*) FROM events
    WHERE namespace = 'shop' GROUP BY 1, 2 ORDER BY 1\"

  # How a statement is carried out
  whodid sql \"EXPLAIN SELECT * FROM changes WHERE name = 'web'\"";

pub const TAIL_EXAMPLES: &str = "\
Examples:
  # What people do, as it happens
  whodid tail actor_kind:human -action:read

  # Every exec and every refusal, from the server of a configured context, as JSON lines
  whodid tail 'action:exec OR outcome:denied' --context prod -o jsonl";

pub const WHO_EXAMPLES: &str = "\
Examples:
  # Who deleted a namespace?
  whodid who deleted ns/payments

  # Who opened a shell in these pods?
  whodid who exec pod/web-* -n shop

  # Who changed a deployment, or tried to?
  whodid who changed deploy/web -n shop --attempts";

pub const SHOW_EXAMPLES: &str = "\
Examples:
  # One event with its bodies
  whodid show prod/18231

  # Exactly the bytes that came in
  whodid show prod/18231 -o raw";

pub const PROVE_EXAMPLES: &str = "\
Examples:
  # The proof of an event, the entry it is about, and the key it is checked with
  whodid prove prod/18231 --out evidence";

pub const EXPORT_EXAMPLES: &str = "\
Examples:
  # What happened to a namespace, with bodies, for an auditor
  whodid export ns:payments --with-bodies --out evidence --purpose 'case 17'

  # The deletions among the first 8000 events, and that there was no other event among them
  whodid export verb:delete --complete-range prod/0..8000 --out evidence.tar

  # A whole log, for monitors and mirrors of transparency logs
  whodid export --layout tlog-tiles --cluster prod --out prod-log";

pub const VERIFY_EXAMPLES: &str = "\
Examples:
  # Everything in the record, against the keys that you were given
  whodid verify --policy policy.txt

  # That the record has grown from what it was when this checkpoint was kept
  whodid verify --checkpoint kept/prod-checkpoint --policy policy.txt

  # A proof, and the entry it is about, without the record (c2sp.org/tlog-policy)
  whodid verify prod-18231.tlog-proof --entry prod-18231.json --policy policy.txt";

pub const REOPEN_EXAMPLES: &str = "\
Examples:
  # After an older copy was put back
  whodid ledger reopen prod --reason 'disk failed, copy of 2026-11-24 put back'

What was signed before stays checkable; auditors need the new key: whodid ledger policy.";

pub const RETENTION_EXAMPLES: &str = "\
Examples:
  # What would go if events of prod were kept for 400 days, and those of all others for 90
  whodid retention --retain prod=400d --retain '*=90d'

  # Events for 400 days, what requests and responses held for 30
  whodid retention --retain prod=400d,bodies=30d

  # Let it go; a server does the same every hour: whodid serve --retain prod=400d
  whodid retention --retain prod=400d --apply";

pub const REDACT_EXAMPLES: &str = "\
Examples:
  # A password was written into a ConfigMap: what the request held goes for good
  whodid redact prod/18231 --request --reason 'password in a ConfigMap, ticket 4711'

  # Afterwards, the record is as provable as before
  whodid verify";

pub const SIGNER_EXAMPLES: &str = "\
Examples:
  # On another machine, for the store that prints this key with `whodid ledger key`
  whodid signer serve --listen 0.0.0.0:7444 --store 'whodid.invalid/…+…'

  # There: whodid serve --signer https://signer.example.com:7444 --cosigner-ca ca.crt
  # For auditors, once the store has sent something
  whodid signer policy";

pub const WITNESS_EXAMPLES: &str = "\
Examples:
  # Of another party, for the logs that this policy names (`whodid signer policy`)
  whodid witness serve --name audit.example.com/w1 --policy logs.txt --listen 0.0.0.0:7445

  # The line for the policies of auditors; of stores, with the URL behind it
  whodid witness policy --name audit.example.com/w1";

pub const DOCTOR_EXAMPLES: &str = "\
Examples:
  # What the record itself can tell
  whodid doctor

  # And whether the API server lost something on the way, or would
  kubectl get --raw /metrics | whodid doctor --cluster prod --metrics - \\
    --flags /etc/kubernetes/manifests/kube-apiserver.yaml --log-dir /var/log/kubernetes/audit";

pub const INIT_EXAMPLES: &str = "\
Examples:
  # A cluster that kubeadm made, recorded by a server at whodid.example.com
  whodid init kubeadm --cluster prod --url https://whodid.example.com:8443

  # Look at it first
  whodid init k3s --cluster edge --url https://10.0.0.5:8443 --dry-run";

pub const COMPLETION_EXAMPLES: &str = "\
Examples:
  # Load completion into this shell
  source <(whodid completion bash)";
