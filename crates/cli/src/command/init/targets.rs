//! What each kind of cluster needs: files, steps in order, and how to undo them (Kubernetes
//! documentation, "Auditing"; the distributions' own). Writing them is for the command.

use std::path::Path;

use super::on_host;
use crate::args::InitTarget;
use crate::command::folder::File;

/// What is the same for all kinds of clusters.
pub struct Setup<'a> {
    pub cluster: &'a str,
    /// Where API servers reach whodid.
    pub url: &'a str,
    pub token: &'a str,
    /// The authority of the server's certificate, PEM.
    pub authority: &'a str,
    /// The policy, YAML.
    pub profile: &'a str,
    /// Where policy and webhook are on the hosts of the control plane.
    pub host_dir: &'a Path,
    /// Where the log of an API server is, besides the webhook: what the webhook loses while whodid
    /// is away is in it.
    pub log_dir: &'a Path,
    pub data_dir: &'a Path,
}

/// Files, and what to do with them.
pub struct Plan {
    pub title: &'static str,
    pub files: Vec<File>,
    pub steps: Vec<String>,
    pub undo: Vec<String>,
}

impl Plan {
    /// The steps as a document.
    pub fn readme(&self, cluster: &str) -> String {
        let list = |steps: &[String]| -> String {
            (1..).zip(steps).map(|(number, step)| format!("{number}. {step}\n")).collect()
        };
        let mut text = format!("# Record {cluster} ({})\n\n{}", self.title, list(&self.steps));
        if !self.undo.is_empty() {
            text.push_str(&format!("\nTo undo it:\n\n{}", list(&self.undo)));
        }
        text
    }
}

/// The flags, in order; those of the log are what the CIS benchmark asks for, and `whodid plan
/// storage` says what an outage needs.
pub fn flags(setup: &Setup<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("audit-policy-file", on_host(setup.host_dir, "policy.yaml")),
        ("audit-webhook-config-file", on_host(setup.host_dir, "webhook.yaml")),
        ("audit-webhook-mode", "batch".into()),
        // Events arrive within a second instead of half a minute.
        ("audit-webhook-batch-max-wait", "1s".into()),
        ("audit-webhook-batch-buffer-size", "20000".into()),
        ("audit-log-path", on_host(setup.log_dir, "audit.log")),
        ("audit-log-maxage", "30".into()),
        ("audit-log-maxbackup", "10".into()),
        ("audit-log-maxsize", "100".into()),
    ]
}

/// The webhook's kubeconfig; the authority stands in it, so that there is one file less to copy.
fn webhook(setup: &Setup<'_>) -> String {
    use base64::Engine;
    let authority = base64::engine::general_purpose::STANDARD.encode(setup.authority);
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: whodid\n  cluster:\n    \
         server: {}/ingest/{}\n    certificate-authority-data: {authority}\nusers:\n\
         - name: kube-apiserver\n  user:\n    token: {}\ncontexts:\n- name: whodid\n  \
         context:\n    cluster: whodid\n    user: kube-apiserver\n\
         # Without it, kube-apiserver does not start.\ncurrent-context: whodid\n",
        setup.url, setup.cluster, setup.token
    )
}

fn common(setup: &Setup<'_>) -> Vec<File> {
    vec![
        File { name: "policy.yaml", text: setup.profile.to_owned() },
        File { name: "webhook.yaml", text: webhook(setup) },
    ]
}

/// How the server is started, which comes first: a webhook that nobody answers loses events.
fn serve(setup: &Setup<'_>) -> String {
    let (host, port) = authority(setup.url);
    format!(
        "Start the server, if it does not run: `whodid serve --data-dir {} --ingest-listen \
         0.0.0.0:{port} --tls-name {host}`. Where whodid is missing: `apt install \
         ./whodid_{version}_ARCH.deb`, with these flags as `WHODID_FLAGS` in `/etc/default/whodid` \
         and `systemctl enable --now whodid`; or the program of \
         `whodid-{version}-ARCH-linux.tar.gz`, which needs no library.",
        setup.data_dir.display(),
        version = env!("CARGO_PKG_VERSION")
    )
}

/// Host and port of a URL.
pub fn authority(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let rest = rest.split('/').next().unwrap_or(rest);
    match rest.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some((host, port)) => (host, port),
        None => (rest, "443"),
    }
}

fn see(setup: &Setup<'_>) -> String {
    format!(
        "See events arrive: `whodid ingest status --data-dir {}`, and what is in force: `whodid \
         doctor`.",
        setup.data_dir.display()
    )
}

fn copy(setup: &Setup<'_>) -> String {
    format!(
        "Copy `policy.yaml` and `webhook.yaml` to `{}` on every host of the control plane, \
         readable by root alone: webhook.yaml holds a token.",
        setup.host_dir.display()
    )
}

/// What a cluster needs whose flags can be set.
pub fn plan(target: InitTarget, setup: &Setup<'_>) -> Plan {
    match target {
        InitTarget::Kubeadm => kubeadm(setup),
        InitTarget::Kind => kind(setup),
        InitTarget::K3s => k3s(setup),
        InitTarget::Rke2 => rke2(setup),
        InitTarget::Talos => talos(setup),
        InitTarget::Minikube => minikube(setup),
        _ => generic(setup),
    }
}

fn generic(setup: &Setup<'_>) -> Plan {
    let lines: String =
        flags(setup).iter().map(|(name, value)| format!("--{name}={value}\n")).collect();
    let mut files = common(setup);
    files.push(File { name: "flags.txt", text: lines });
    Plan {
        title: "any kube-apiserver",
        files,
        steps: vec![
            serve(setup),
            copy(setup),
            format!(
                "Make `{}` there, and keep it from filling the disk of etcd.",
                setup.log_dir.display()
            ),
            "Add the flags of `flags.txt` to every kube-apiserver, one host after the other, and \
             restart it."
                .into(),
            see(setup),
        ],
        undo: vec!["Remove these flags, and restart kube-apiserver.".into(), revoke(setup)],
    }
}

fn revoke(setup: &Setup<'_>) -> String {
    format!(
        "Revoke the token: `whodid ingest token revoke {} --source {} --data-dir {}`. What was \
         recorded stays.",
        setup.cluster,
        super::SOURCE,
        setup.data_dir.display()
    )
}

/// Arguments and volumes as kubeadm's v1beta4 has them.
fn cluster_configuration(setup: &Setup<'_>) -> String {
    let arg =
        |(name, value): &(&str, String)| format!("  - name: {name}\n    value: \"{value}\"\n");
    let args: String = flags(setup).iter().map(arg).collect();
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\napiServer:\n  \
         extraArgs:\n{args}  extraVolumes:\n{}",
        volumes(setup)
    )
}

fn volumes(setup: &Setup<'_>) -> String {
    let (dir, log) = (setup.host_dir.display(), setup.log_dir.display());
    format!(
        "  - name: audit-policy\n    hostPath: {dir}\n    mountPath: {dir}\n    \
         readOnly: true\n    pathType: Directory\n  - name: audit-log\n    hostPath: {log}\n    \
         mountPath: {log}\n    pathType: DirectoryOrCreate\n"
    )
}

fn kubeadm(setup: &Setup<'_>) -> Plan {
    let mut files = common(setup);
    files.push(File { name: "kubeadm.yaml", text: cluster_configuration(setup) });
    Plan {
        title: "kubeadm",
        files,
        steps: vec![
            serve(setup),
            copy(setup),
            "For a new cluster: add what `kubeadm.yaml` has to the configuration of `kubeadm \
             init`."
                .into(),
            "For one that runs: put the same into the ConfigMap `kubeadm-config` (`kubectl -n \
             kube-system edit cm kubeadm-config`), so that upgrades keep it; then on each host, \
             one after the other, `kubeadm init phase control-plane apiserver --config FILE`, \
             which writes the static pod anew. Before it, copy \
             `/etc/kubernetes/manifests/kube-apiserver.yaml` elsewhere, out of `manifests`."
                .into(),
            "Wait until kube-apiserver answers again. If it does not, the log of its container \
             says why (`crictl logs`): without it there is no kubectl."
                .into(),
            see(setup),
        ],
        undo: vec![
            "Put the copy of `kube-apiserver.yaml` back, and take the arguments out of the \
             ConfigMap."
                .into(),
            revoke(setup),
        ],
    }
}

fn kind(setup: &Setup<'_>) -> Plan {
    let indented: String =
        cluster_configuration(setup).lines().map(|line| format!("    {line}\n")).collect();
    let dir = setup.host_dir.display();
    let text = format!(
        "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n- role: control-plane\n  \
         kubeadmConfigPatches:\n  - |\n{indented}  extraMounts:\n  - hostPath: .\n    \
         containerPath: {dir}\n    readOnly: true\n"
    );
    let mut files = common(setup);
    files.push(File { name: "kind.yaml", text });
    Plan {
        title: "kind",
        files,
        steps: vec![
            serve(setup),
            "In this folder: `kind create cluster --config kind.yaml`. It can only be set when a \
             cluster is made; node images before Kubernetes 1.31 want `extraArgs` as a map, \
             `name: value`."
                .into(),
            see(setup),
        ],
        undo: vec!["`kind delete cluster`.".into(), revoke(setup)],
    }
}

/// k3s and RKE2 read every file of this folder.
fn rancher(setup: &Setup<'_>) -> String {
    let arg = |(name, value): &(&str, String)| format!("- \"{name}={value}\"\n");
    let args: String = flags(setup).iter().map(arg).collect();
    format!("kube-apiserver-arg+:\n{args}")
}

fn k3s(setup: &Setup<'_>) -> Plan {
    let mut files = common(setup);
    files.push(File { name: "90-whodid.yaml", text: rancher(setup) });
    Plan {
        title: "k3s",
        files,
        steps: vec![
            serve(setup),
            copy(setup),
            format!("Make the folder of the log: `mkdir -p -m 700 {}`.", setup.log_dir.display()),
            "Copy `90-whodid.yaml` to `/etc/rancher/k3s/config.yaml.d/` on every server, and \
             restart one after the other: `systemctl restart k3s`."
                .into(),
            see(setup),
        ],
        undo: vec![
            "Delete `/etc/rancher/k3s/config.yaml.d/90-whodid.yaml`, and restart k3s.".into(),
            revoke(setup),
        ],
    }
}

fn rke2(setup: &Setup<'_>) -> Plan {
    let (dir, log) = (setup.host_dir.display(), setup.log_dir.display());
    let text = format!(
        "# Without it, RKE2 in CIS mode writes a policy that records nothing.\n\
         audit-policy-file: {dir}/policy.yaml\n{}kube-apiserver-extra-mount:\n- \"{dir}:{dir}\"\n\
         - \"{log}:{log}:rw\"\n",
        rancher(setup).replace(&format!("- \"audit-policy-file={dir}/policy.yaml\"\n"), "")
    );
    let mut files = common(setup);
    files.push(File { name: "90-whodid.yaml", text });
    Plan {
        title: "RKE2",
        files,
        steps: vec![
            serve(setup),
            copy(setup),
            format!("Make the folder of the log: `mkdir -p -m 700 {}`.", setup.log_dir.display()),
            "Copy `90-whodid.yaml` to `/etc/rancher/rke2/config.yaml.d/` on every server, and \
             restart one after the other: `systemctl restart rke2-server`."
                .into(),
            see(setup),
        ],
        undo: vec![
            "Delete `/etc/rancher/rke2/config.yaml.d/90-whodid.yaml`, and restart rke2-server."
                .into(),
            revoke(setup),
        ],
    }
}

fn talos(setup: &Setup<'_>) -> Plan {
    // Talos writes policy and files itself; its log is where it always is.
    let indent = |text: &str, by: &str| -> String {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.map(|line| format!("{by}{line}\n")).collect()
    };
    let dir = "/var/etc/whodid";
    let text = format!(
        "machine:\n  files:\n  - path: {dir}/webhook.yaml\n    permissions: 0o600\n    \
         op: create\n    content: |\n{}cluster:\n  apiServer:\n    auditPolicy:\n{}    \
         extraArgs:\n      audit-webhook-config-file: {dir}/webhook.yaml\n      \
         audit-webhook-mode: batch\n      audit-webhook-batch-max-wait: 1s\n    extraVolumes:\n    \
         - hostPath: {dir}\n      mountPath: {dir}\n      readonly: true\n",
        indent(&webhook(setup), "      "),
        indent(setup.profile, "      "),
    );
    let mut files = common(setup);
    files.push(File { name: "talos-patch.yaml", text });
    Plan {
        title: "Talos",
        files,
        steps: vec![
            serve(setup),
            "Patch each node of the control plane: `talosctl -n NODE patch mc --patch \
             @talos-patch.yaml`. It replaces the policy that Talos begins with (Metadata for all)."
                .into(),
            see(setup),
        ],
        undo: vec![
            "Take `auditPolicy`, `extraArgs`, `extraVolumes` and the file out of the machine \
             configuration (`talosctl edit mc`)."
                .into(),
            revoke(setup),
        ],
    }
}

fn minikube(setup: &Setup<'_>) -> Plan {
    // The one folder of the host that is mounted into kube-apiserver there.
    let dir = Path::new("/etc/ssl/certs/whodid");
    let setup = &Setup { host_dir: dir, ..*setup };
    let of_webhook = |flag: &&(&str, String)| !flag.0.starts_with("audit-log");
    let args: String = flags(setup)
        .iter()
        .filter(of_webhook)
        .map(|(name, value)| format!(" \\\n  --extra-config=apiserver.{name}={value}"))
        .collect();
    let text = format!(
        "#!/bin/sh\n# Run it in this folder.\nset -eu\nmkdir -p ~/.minikube/files{d}\n\
         cp policy.yaml webhook.yaml ~/.minikube/files{d}/\nminikube stop\nminikube start{args}\n",
        d = dir.display()
    );
    let mut files = common(setup);
    files.push(File { name: "minikube.sh", text });
    Plan {
        title: "minikube",
        files,
        steps: vec![serve(setup), "`sh minikube.sh`, which restarts minikube.".into(), see(setup)],
        undo: vec![
            "`rm -r ~/.minikube/files/etc/ssl/certs/whodid`, and start minikube without these \
             `--extra-config`."
                .into(),
            revoke(setup),
        ],
    }
}

/// What is done where neither a policy nor a webhook can be set.
pub fn managed(target: InitTarget, cluster: &str) -> Option<Plan> {
    if target == InitTarget::Openshift {
        return Some(openshift(cluster));
    }
    let import = format!("Take them in: `whodid import --cluster {cluster} FILE`.");
    let (title, steps, undo) = match target {
        InitTarget::Eks => (
            "EKS",
            vec![
                "EKS has a policy of its own, and no webhook. Switch its audit log on: `aws eks \
                 update-cluster-config --name CLUSTER --logging \
                 '{\"clusterLogging\":[{\"types\":[\"audit\"],\"enabled\":true}]}'`."
                    .into(),
                "Export it from CloudWatch, group `/aws/eks/CLUSTER/cluster`, streams that begin \
                 with `kube-apiserver-audit-`: `aws logs filter-log-events --log-group-name \
                 /aws/eks/CLUSTER/cluster --log-stream-name-prefix kube-apiserver-audit- --output \
                 json > audit.json`. What a subscription delivers is taken as well."
                    .into(),
                import,
            ],
            vec![
                "`aws eks update-cluster-config --name CLUSTER --logging \
                 '{\"clusterLogging\":[{\"types\":[\"audit\"],\"enabled\":false}]}'`."
                    .into(),
            ],
        ),
        InitTarget::Gke => (
            "GKE",
            vec![
                "GKE always records changes (Admin Activity). For reads, enable Data Access logs \
                 of the Kubernetes Engine API in IAM's audit configuration."
                    .into(),
                "GKE exports entries of Cloud Logging, not audit events: `gcloud logging read \
                 'protoPayload.serviceName=\"k8s.io\"' --format json > audit.json`. They have no \
                 level, no stage, no groups and no URL, and so have the events that are made of \
                 them none."
                    .into(),
                import,
            ],
            vec!["Disable Data Access logs again.".into()],
        ),
        InitTarget::Aks => (
            "AKS",
            vec![
                "AKS has a policy of its own, and no webhook. Add a diagnostic setting with the \
                 category `kube-audit` (`kube-audit-admin` leaves out get and list) that goes to a \
                 storage account: `az monitor diagnostic-settings create --name whodid --resource \
                 CLUSTER_ID --storage-account ACCOUNT --logs \
                 '[{\"category\":\"kube-audit\",\"enabled\":true}]'`."
                    .into(),
                "Fetch its records, `PT1H.json`, from the container \
                 `insights-logs-kube-audit`; each holds an event as a text in `properties.log`."
                    .into(),
                import,
            ],
            vec![
                "`az monitor diagnostic-settings delete --name whodid --resource CLUSTER_ID`."
                    .into(),
            ],
        ),
        _ => return None,
    };
    Some(Plan { title, files: Vec::new(), steps, undo })
}

/// It takes neither a policy nor a webhook of one's own: it has profiles, and logs on its nodes.
fn openshift(cluster: &str) -> Plan {
    let text = "\
apiVersion: config.openshift.io/v1
kind: APIServer
metadata:
  name: cluster
spec:
  audit:
    profile: WriteRequestBodies
";
    Plan {
        title: "OpenShift",
        files: vec![File { name: "apiserver-patch.yaml", text: text.to_owned() }],
        steps: vec![
            "OpenShift takes no policy and no webhook of one's own: it has profiles. With bodies \
             of writes: `oc patch apiserver cluster --type=merge --patch-file \
             apiserver-patch.yaml`."
                .into(),
            "Follow the logs on every node of the control plane with `whodid ship`, which \
             `deploy/static-pod` of the repository shows as a pod: \
             `/var/log/kube-apiserver/audit.log`, and those of `openshift-apiserver`, \
             `oauth-apiserver` and `oauth-server` beside it."
                .into(),
            format!("For it, make a token: `whodid ingest token create {cluster}`."),
        ],
        undo: vec![
            "`oc patch apiserver cluster --type=merge -p \
             '{\"spec\":{\"audit\":{\"profile\":\"Default\"}}}'`."
                .into(),
        ],
    }
}
