//! Policies to begin with, made of a few commented parts, with what they are for, which controls
//! they serve and what they leave out.

/// A policy to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// What it is called.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub purpose: &'static str,
    /// Controls of a standard that it serves: the number, and how.
    pub controls: &'static [(&'static str, &'static str)],
    /// What is not recorded, or needs more than a policy.
    pub leaves_out: &'static [&'static str],
    /// Days for which events should be kept, where the standard has a number or custom.
    pub days: u32,
    rules: &'static [&'static str],
}

impl Profile {
    /// The profile of this name.
    pub fn of(name: &str) -> Option<&'static Profile> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// The policy, with comments, as YAML.
    pub fn text(&self) -> String {
        let mut text = format!("# {}: {}\n", self.name, self.purpose);
        for (control, how) in self.controls {
            text.push_str(&format!("#   {control}: {how}\n"));
        }
        text.push_str("# Leaves out:\n");
        for what in self.leaves_out {
            text.push_str(&format!("#   - {what}\n"));
        }
        text.push_str(&format!("# Keep events for {} days or longer.\n", self.days));
        text.push_str(HEAD);
        self.rules.iter().for_each(|rule| text.push_str(rule));
        text
    }
}

const HEAD: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
# It repeats for every request what its later events say.
omitStages: [RequestReceived]
omitManagedFields: true
rules:
";

/// What nobody asks for later, and most of what there would be.
const NOISE: &str = "\
# Heartbeats, and what controllers tell each other.
- level: None
  resources:
  - group: coordination.k8s.io
    resources: [leases]
  - group: \"\"
    resources: [events]
  - group: events.k8s.io
    resources: [events]
# Probes and scrapes.
- level: None
  nonResourceURLs: [/healthz*, /livez*, /readyz*, /metrics*]
";

/// What components read and report about themselves, all the time.
const CHATTER: &str = "\
# What the control plane reads; its changes are recorded.
- level: None
  users:
  - system:apiserver
  - system:kube-controller-manager
  - system:kube-scheduler
  - system:kube-proxy
  verbs: [get, list, watch]
# What nodes read about their pods and report about themselves; not the secrets they read.
- level: None
  userGroups: [system:nodes]
  verbs: [get, list, watch]
  resources:
  - group: \"\"
    resources: [nodes, pods, services, endpoints, configmaps]
  - group: discovery.k8s.io
    resources: [endpointslices]
  - group: storage.k8s.io
    resources: [csidrivers, csinodes]
  - group: node.k8s.io
    resources: [runtimeclasses]
- level: None
  userGroups: [system:nodes]
  verbs: [update, patch]
  resources:
  - group: \"\"
    resources: [nodes/status, pods/status]
# Which APIs there are.
- level: None
  nonResourceURLs: [/api, /api/*, /apis, /apis/*, /openapi/*, /version*]
";

const SECRETS: &str = "\
# Secrets and tokens: who touched which, never what is in them.
- level: Metadata
  resources:
  - group: \"\"
    resources: [secrets, configmaps, serviceaccounts/token]
  - group: authentication.k8s.io
";

const ACCESS: &str = "\
# Ways into running pods and nodes. The verb is get or create, whichever client it is; the command
# of an exec stands in the URL.
- level: Metadata
  resources:
  - group: \"\"
    resources:
    - pods/exec
    - pods/attach
    - pods/portforward
    - pods/proxy
    - services/proxy
    - nodes/proxy
    - pods/log
";

const NO_READS: &str = "\
# Reads of all else.
- level: None
  verbs: [get, list, watch]
";

const READS: &str = "\
# Who read what; the answers to lists would be most of the record.
- level: Metadata
  verbs: [get, list, watch]
- level: Metadata
  resources:
  - group: authorization.k8s.io
";

const STATUS: &str = "\
# What controllers report, many times for each change; without bodies.
- level: Metadata
  verbs: [update, patch]
  resources:
  - group: \"\"
    resources: [\"*/status\"]
  - group: apps
    resources: [\"*/status\"]
  - group: batch
    resources: [\"*/status\"]
  - group: autoscaling
    resources: [\"*/status\"]
  - group: policy
    resources: [\"*/status\"]
  - group: networking.k8s.io
    resources: [\"*/status\"]
";

const PERMISSIONS: &str = "\
# Who may do what, before and after.
- level: RequestResponse
  resources:
  - group: rbac.authorization.k8s.io
  - group: admissionregistration.k8s.io
  - group: certificates.k8s.io
";

const CHANGES: &str = "\
# Every change, with what was asked for.
- level: Request
  verbs: [create, update, patch, delete, deletecollection]
";

const FULL_CHANGES: &str = "\
# Every change, with what came of it.
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
";

const REST: &str = "\
# And all else.
- level: Metadata
";

const NO_BODIES_OF_SECRETS: &str = "what stands in secrets, config maps and tokens";

/// All profiles.
pub const PROFILES: [Profile; 7] = [
    Profile {
        name: "minimal",
        purpose: "who changed what, who came near secrets, and who entered pods; no bodies",
        controls: &[],
        leaves_out: &[
            "reads, those that were denied, too, except of secrets, config maps and into pods",
            "what was changed to what: there are no bodies",
            "heartbeats, events and probes",
        ],
        days: 90,
        rules: &[NOISE, CHATTER, SECRETS, ACCESS, NO_READS, REST],
    },
    Profile {
        name: "daily",
        purpose: "who did what, with every change as it was asked for; for every day",
        controls: &[],
        leaves_out: &[
            NO_BODIES_OF_SECRETS,
            "what the control plane and nodes read, and bodies of reports of status",
            "heartbeats, events and probes",
        ],
        days: 90,
        rules: &[NOISE, CHATTER, SECRETS, ACCESS, READS, STATUS, PERMISSIONS, CHANGES, REST],
    },
    Profile {
        name: "investigation",
        purpose: "as much as can be had without secrets; for hours, while something is going on",
        controls: &[],
        leaves_out: &[NO_BODIES_OF_SECRETS, "answers to reads", "heartbeats, events and probes"],
        days: 90,
        rules: &[NOISE, SECRETS, ACCESS, READS, FULL_CHANGES, REST],
    },
    Profile {
        name: "compliance-pci",
        purpose: "PCI DSS 4.0.1, requirement 10, for what happens through the Kubernetes API",
        controls: &[
            ("10.2.1.1", "access of individual users: reads and changes, with the user"),
            ("10.2.1.2", "acts of administrators, those in pods (exec, attach, proxy), too"),
            ("10.2.1.4", "failed authentication and denied requests: ResponseStarted is kept"),
            ("10.2.1.5", "changes of roles, bindings, service accounts and certificates"),
            ("10.2.1.7", "objects made and deleted"),
            ("10.2.2", "user, kind, time, outcome, origin and object stand in every event"),
            ("10.3", "with the ledger of whodid: alteration shows"),
            ("10.5.1", "twelve months, of which three at hand"),
        ],
        leaves_out: &[
            NO_BODIES_OF_SECRETS,
            "10.2.1.3, access to the record itself: whodid's own, not kube-apiserver's",
            "10.2.1.6, auditing switched off: watch kube-apiserver's flags and its silence",
            "what happens inside of containers, on nodes, and in other systems",
        ],
        days: 365,
        rules: &[NOISE, SECRETS, ACCESS, READS, STATUS, PERMISSIONS, CHANGES, REST],
    },
    Profile {
        name: "compliance-soc2",
        purpose: "SOC 2 (trust services criteria of 2017, revised 2022), common criteria",
        controls: &[
            ("CC6.1, CC6.3", "who was given access, by roles and bindings, before and after"),
            ("CC6.2", "service accounts, tokens and certificates that were made"),
            ("CC7.2, CC7.3", "acts that can be searched for anomalies, denied ones, too"),
            ("CC8.1", "changes, with what was asked for and by whom"),
        ],
        leaves_out: &[
            NO_BODIES_OF_SECRETS,
            "what the control plane and nodes read, and bodies of reports of status",
            "reviews and approvals: they happen elsewhere",
        ],
        days: 365,
        rules: &[NOISE, CHATTER, SECRETS, ACCESS, READS, STATUS, PERMISSIONS, CHANGES, REST],
    },
    Profile {
        name: "compliance-hipaa",
        purpose: "HIPAA security rule (45 CFR part 164), for clusters that hold health records",
        controls: &[
            ("164.312(b)", "audit controls: reads and changes, with the user"),
            ("164.308(a)(1)(ii)(D)", "review of activity: it can be searched and counted"),
            ("164.308(a)(5)(ii)(C)", "log-in monitoring: failed authentication is kept"),
            ("164.312(c)(1)", "with the ledger of whodid: alteration shows"),
            ("164.316(b)(2)(i)", "six years"),
        ],
        leaves_out: &[
            NO_BODIES_OF_SECRETS,
            "who read which health record: the application's own log says so",
            "what happens inside of containers and on nodes",
        ],
        days: 2_192,
        rules: &[NOISE, SECRETS, ACCESS, READS, STATUS, PERMISSIONS, CHANGES, REST],
    },
    Profile {
        name: "compliance-iso27001",
        purpose: "ISO/IEC 27001:2022, annex A, for what happens through the Kubernetes API",
        controls: &[
            ("A.8.15", "logging of acts, exceptions and faults"),
            ("A.8.16", "monitoring: denied and failed requests are kept"),
            ("A.8.2, A.5.18", "privileged access, and how rights change"),
            ("A.8.32", "changes, with what was asked for"),
            ("A.5.28, A.5.33", "with the ledger of whodid: evidence, protected"),
        ],
        leaves_out: &[
            NO_BODIES_OF_SECRETS,
            "what the control plane and nodes read, and bodies of reports of status",
            "A.8.17, clocks: whodid notes when events came, not whether clocks were right",
        ],
        days: 365,
        rules: &[NOISE, CHATTER, SECRETS, ACCESS, READS, STATUS, PERMISSIONS, CHANGES, REST],
    },
];
