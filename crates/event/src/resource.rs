//! The resource types that are built into Kubernetes, and the names people use for them.
//!
//! Types that a cluster adds (custom resources, aggregated APIs) are not known here; their names
//! stay as they were written.

/// A resource type of the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// The name in URLs and audit events, such as `deployments`.
    pub plural: &'static str,
    /// The kind, such as `Deployment`.
    pub kind: &'static str,
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The names kubectl takes for short, such as `deploy`.
    pub short_names: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub is_namespaced: bool,
}

impl ResourceType {
    /// Returns the singular, such as `deployment`: every built-in type's kind in lower case.
    pub fn singular(&self) -> String {
        self.kind.to_ascii_lowercase()
    }

    /// Whether `text` is the plural, the singular, the kind or a short name, in any case.
    fn is_called(&self, text: &str) -> bool {
        [self.plural, self.kind]
            .iter()
            .chain(self.short_names)
            .any(|name| name.eq_ignore_ascii_case(text))
    }
}

/// Returns the type that people mean by `text`: its plural, singular, kind or a short name, in
/// any case. Where groups share a name, it is the one kubectl takes.
pub fn canonical(text: &str) -> Option<&'static ResourceType> {
    TYPES.iter().find(|kind| kind.is_called(text))
}

/// Returns the type that people mean by `text` in an API group for which `is_meant` holds.
pub fn canonical_in(text: &str, is_meant: impl Fn(&str) -> bool) -> Option<&'static ResourceType> {
    TYPES.iter().find(|kind| kind.is_called(text) && is_meant(kind.group))
}

/// Returns the type with this plural, as the API server writes it.
pub fn by_plural(plural: &str) -> Option<&'static ResourceType> {
    TYPES.iter().find(|kind| kind.plural == plural)
}

const fn namespaced(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> ResourceType {
    ResourceType { plural, kind, group, short_names, is_namespaced: true }
}

const fn global(
    group: &'static str,
    plural: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
) -> ResourceType {
    ResourceType { plural, kind, group, short_names, is_namespaced: false }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const SCHEDULING: &str = "scheduling.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// The types of Kubernetes 1.36, alpha ones included, and of the metrics API. A name that several
/// types share belongs to the first of them.
pub static TYPES: &[ResourceType] = &[
    namespaced("", "bindings", "Binding", &[]),
    global("", "componentstatuses", "ComponentStatus", &["cs"]),
    namespaced("", "configmaps", "ConfigMap", &["cm"]),
    namespaced("", "endpoints", "Endpoints", &["ep"]),
    namespaced("", "events", "Event", &["ev"]),
    namespaced("", "limitranges", "LimitRange", &["limits"]),
    global("", "namespaces", "Namespace", &["ns"]),
    global("", "nodes", "Node", &["no"]),
    namespaced("", "persistentvolumeclaims", "PersistentVolumeClaim", &["pvc"]),
    global("", "persistentvolumes", "PersistentVolume", &["pv"]),
    namespaced("", "pods", "Pod", &["po"]),
    namespaced("", "podtemplates", "PodTemplate", &[]),
    namespaced("", "replicationcontrollers", "ReplicationController", &["rc"]),
    namespaced("", "resourcequotas", "ResourceQuota", &["quota"]),
    namespaced("", "secrets", "Secret", &[]),
    namespaced("", "serviceaccounts", "ServiceAccount", &["sa"]),
    namespaced("", "services", "Service", &["svc"]),
    global(ADMISSION, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", &[]),
    global(ADMISSION, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", &[]),
    global(ADMISSION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", &[]),
    global(ADMISSION, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", &[]),
    global(ADMISSION, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", &[]),
    global(ADMISSION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", &[]),
    global(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        &["crd", "crds"],
    ),
    global("apiregistration.k8s.io", "apiservices", "APIService", &[]),
    namespaced("apps", "controllerrevisions", "ControllerRevision", &[]),
    namespaced("apps", "daemonsets", "DaemonSet", &["ds"]),
    namespaced("apps", "deployments", "Deployment", &["deploy"]),
    namespaced("apps", "replicasets", "ReplicaSet", &["rs"]),
    namespaced("apps", "statefulsets", "StatefulSet", &["sts"]),
    global("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview", &[]),
    global("authentication.k8s.io", "tokenreviews", "TokenReview", &[]),
    namespaced(AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", &[]),
    global(AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", &[]),
    global(AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview", &[]),
    global(AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview", &[]),
    namespaced("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler", &["hpa"]),
    namespaced("batch", "cronjobs", "CronJob", &["cj"]),
    namespaced("batch", "jobs", "Job", &[]),
    global(CERTIFICATES, "certificatesigningrequests", "CertificateSigningRequest", &["csr"]),
    global(CERTIFICATES, "clustertrustbundles", "ClusterTrustBundle", &[]),
    namespaced(CERTIFICATES, "podcertificaterequests", "PodCertificateRequest", &[]),
    namespaced("coordination.k8s.io", "leasecandidates", "LeaseCandidate", &[]),
    namespaced("coordination.k8s.io", "leases", "Lease", &[]),
    namespaced("discovery.k8s.io", "endpointslices", "EndpointSlice", &[]),
    namespaced("events.k8s.io", "events", "Event", &["ev"]),
    global(FLOW_CONTROL, "flowschemas", "FlowSchema", &[]),
    global(FLOW_CONTROL, "prioritylevelconfigurations", "PriorityLevelConfiguration", &[]),
    global("internal.apiserver.k8s.io", "storageversions", "StorageVersion", &[]),
    global("metrics.k8s.io", "nodes", "NodeMetrics", &[]),
    namespaced("metrics.k8s.io", "pods", "PodMetrics", &[]),
    global(NETWORKING, "ingressclasses", "IngressClass", &[]),
    namespaced(NETWORKING, "ingresses", "Ingress", &["ing"]),
    global(NETWORKING, "ipaddresses", "IPAddress", &["ip"]),
    namespaced(NETWORKING, "networkpolicies", "NetworkPolicy", &["netpol"]),
    global(NETWORKING, "servicecidrs", "ServiceCIDR", &[]),
    global("node.k8s.io", "runtimeclasses", "RuntimeClass", &[]),
    namespaced("policy", "poddisruptionbudgets", "PodDisruptionBudget", &["pdb"]),
    global(RBAC, "clusterrolebindings", "ClusterRoleBinding", &[]),
    global(RBAC, "clusterroles", "ClusterRole", &[]),
    namespaced(RBAC, "rolebindings", "RoleBinding", &[]),
    namespaced(RBAC, "roles", "Role", &[]),
    global(RESOURCE, "deviceclasses", "DeviceClass", &[]),
    global(RESOURCE, "devicetaintrules", "DeviceTaintRule", &[]),
    namespaced(RESOURCE, "resourceclaims", "ResourceClaim", &[]),
    namespaced(RESOURCE, "resourceclaimtemplates", "ResourceClaimTemplate", &[]),
    global(RESOURCE, "resourcepoolstatusrequests", "ResourcePoolStatusRequest", &[]),
    global(RESOURCE, "resourceslices", "ResourceSlice", &[]),
    namespaced(SCHEDULING, "podgroups", "PodGroup", &[]),
    global(SCHEDULING, "priorityclasses", "PriorityClass", &["pc"]),
    namespaced(SCHEDULING, "workloads", "Workload", &[]),
    global(STORAGE, "csidrivers", "CSIDriver", &[]),
    global(STORAGE, "csinodes", "CSINode", &[]),
    namespaced(STORAGE, "csistoragecapacities", "CSIStorageCapacity", &[]),
    global(STORAGE, "storageclasses", "StorageClass", &["sc"]),
    global(STORAGE, "volumeattachments", "VolumeAttachment", &[]),
    global(STORAGE, "volumeattributesclasses", "VolumeAttributesClass", &["vac"]),
    global("storagemigration.k8s.io", "storageversionmigrations", "StorageVersionMigration", &[]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_names_people_use() {
        for (text, plural, group) in [
            ("deploy", "deployments", "apps"),
            ("Deployment", "deployments", "apps"),
            ("deployments", "deployments", "apps"),
            ("POD", "pods", ""),
            ("endpoints", "endpoints", ""),
            ("ev", "events", ""),
            ("netpol", "networkpolicies", "networking.k8s.io"),
            ("PodMetrics", "pods", "metrics.k8s.io"),
            ("crd", "customresourcedefinitions", "apiextensions.k8s.io"),
        ] {
            let found = canonical(text).unwrap();
            assert_eq!((found.plural, found.group), (plural, group), "{text}");
        }
        assert_eq!(canonical("deploymentz"), None);
        assert_eq!(canonical(""), None);
    }

    #[test]
    fn picks_within_a_group() {
        let is_meant = |group: &str| group == "events.k8s.io";
        assert_eq!(canonical_in("ev", is_meant).unwrap().group, "events.k8s.io");
        assert_eq!(canonical_in("deploy", is_meant), None);
    }

    #[test]
    fn plurals_stand_for_themselves() {
        for kind in TYPES {
            assert_eq!(canonical(kind.plural).unwrap().plural, kind.plural);
            assert_eq!(kind.plural, kind.plural.to_ascii_lowercase());
        }
    }
}
