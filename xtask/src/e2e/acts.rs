//! What the script does, act after act, and which requests each act has to cause: no more, no less.
//!
//! The words for action and outcome, and what stands for an object, are those of `docs/fields.md`;
//! what kubectl sends is its own affair, and was looked up in real logs. A line of a request is
//! described at [`super::expected`].

/// One command of kubectl.
pub(super) struct Act {
    /// A user of the testbed.
    pub(super) who: &'static str,
    /// What is typed behind `kubectl`, as in a shell: `'…'` and `NAME=VALUE` in front are known.
    pub(super) command: &'static str,
    /// Whether kubectl ends well.
    pub(super) succeeds: bool,
    /// The requests, one a line.
    pub(super) requests: &'static str,
}

const fn does(who: &'static str, command: &'static str, requests: &'static str) -> Act {
    Act { who, command, succeeds: true, requests }
}

const fn fails(who: &'static str, command: &'static str, requests: &'static str) -> Act {
    Act { who, command, succeeds: false, requests }
}

/// The whole script, in order.
pub(super) fn script() -> impl Iterator<Item = &'static Act> {
    [GRANTS, OBJECTS, PODS, REFUSALS, CHANGES, SECRETS, PIPELINE, CLUSTER, ENDS]
        .into_iter()
        .flatten()
}

/// Who may do what. Impersonation is of one user only.
const GRANTS: &[Act] = &[
    does("admin", "create namespace shop", "create namespaces 201 create success namespace/shop"),
    does("admin", "create namespace old", "create namespaces 201 create success namespace/old"),
    does(
        "admin",
        "create rolebinding alice --clusterrole=cluster-admin --user=alice@example.com -n shop",
        "create rolebindings 201 grant success shop/rolebinding/alice",
    ),
    does(
        "admin",
        "create rolebinding bob --clusterrole=view --user=bob@example.com -n shop",
        "create rolebindings 201 grant success shop/rolebinding/bob",
    ),
    does(
        "admin",
        "create rolebinding ci --clusterrole=edit --serviceaccount=ci:deployer -n shop",
        "create rolebindings 201 grant success shop/rolebinding/ci",
    ),
    does(
        "admin",
        "create clusterrole lead --verb=impersonate --resource=users \
         --resource-name=bob@example.com",
        "create clusterroles 201 create success clusterrole/lead",
    ),
    does(
        "admin",
        "create clusterrolebinding lead --clusterrole=lead --group=platform",
        "create clusterrolebindings 201 grant success clusterrolebinding/lead",
    ),
];

/// Apply on both sides, with and without effect.
const OBJECTS: &[Act] = &[
    does(
        "alice",
        "apply -f web.yaml",
        "get deployments 404 read failed shop/deployment/web
         get namespaces 200 read success namespace/shop *
         create deployments 201 apply success shop/deployment/web",
    ),
    does(
        "alice",
        "apply -f web-2.yaml",
        "get deployments 200 read success shop/deployment/web
         patch deployments 200 apply success shop/deployment/web",
    ),
    does("alice", "apply -f web-2.yaml", "get deployments 200 read success shop/deployment/web"),
    does(
        "alice",
        "apply --dry-run=server -f web.yaml",
        "get deployments 200 read success shop/deployment/web
         patch deployments 200 apply success shop/deployment/web dry",
    ),
    does(
        "alice",
        "apply --dry-run=client -f web.yaml",
        "get deployments 200 read success shop/deployment/web",
    ),
    does(
        "alice",
        "apply --server-side -f settings.yaml",
        "patch configmaps 201 apply success shop/configmap/settings",
    ),
    does(
        "alice",
        "apply --server-side -f settings-2.yaml",
        "patch configmaps 200 apply success shop/configmap/settings",
    ),
    does(
        "alice",
        "apply --server-side --dry-run=server -f settings.yaml",
        "patch configmaps 200 apply success shop/configmap/settings dry",
    ),
    does(
        "alice",
        "scale deployment/web --replicas=3 -n shop",
        "get deployments 200 read success shop/deployment/web
         patch deployments/scale 200 scale success shop/deployment/web",
    ),
    does("alice", "create -f box.yaml", "create pods 201 create success shop/pod/box"),
    does(
        "alice",
        "wait --for=condition=Ready pod/box -n shop",
        "get pods 200 read success shop/pod/box *
         list pods 200 list success shop/pod/box *
         watch pods 200 watch success shop/pod/box *",
    ),
];

/// Inside of pods, over both transports.
const PODS: &[Act] = &[
    does(
        "alice",
        "exec box -n shop -- echo hello",
        "get pods 200 read success shop/pod/box
         get pods/exec 101 exec success shop/pod/box : echo hello",
    ),
    does(
        "alice",
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false exec box -n shop -- sh -c 'echo \"a b\" > note'",
        "get pods 200 read success shop/pod/box
         create pods/exec 101 exec success shop/pod/box : sh -c 'echo \"a b\" > note'",
    ),
    // That the command failed is no affair of the API server.
    fails(
        "alice",
        "exec box -n shop -- false",
        "get pods 200 read success shop/pod/box
         get pods/exec 101 exec success shop/pod/box : false",
    ),
    does(
        "alice",
        "attach box -i -n shop",
        "get pods 200 read success shop/pod/box
         get pods/attach 101 attach success shop/pod/box",
    ),
    does(
        "alice",
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false attach box -i -n shop",
        "get pods 200 read success shop/pod/box
         create pods/attach 101 attach success shop/pod/box",
    ),
    does(
        "alice",
        "cp web.yaml shop/box:web.yaml",
        "get pods 200 read success shop/pod/box
         get pods/exec 101 exec success shop/pod/box : test -d web.yaml
         get pods 200 read success shop/pod/box
         get pods/exec 101 exec success shop/pod/box : tar -xmf - -C .",
    ),
    does(
        "alice",
        "cp shop/box:note note",
        "get pods 200 read success shop/pod/box
         get pods/exec 101 exec success shop/pod/box : tar cf - note",
    ),
    does(
        "alice",
        "port-forward pod/box :8080 -n shop",
        "get pods 200 read success shop/pod/box
         get pods 200 read success shop/pod/box
         get pods/portforward 101 port-forward success shop/pod/box",
    ),
    does(
        "alice",
        "KUBECTL_PORT_FORWARD_WEBSOCKETS=false port-forward pod/box :8080 -n shop",
        "get pods 200 read success shop/pod/box
         get pods 200 read success shop/pod/box
         create pods/portforward 101 port-forward success shop/pod/box",
    ),
    does(
        "alice",
        "debug box --image=registry.example.com/tools:1 --container=debugger -n shop",
        "get pods 200 read success shop/pod/box
         patch pods/ephemeralcontainers 200 debug success shop/pod/box",
    ),
    does(
        "admin",
        "debug node/node-1 --image=registry.example.com/tools:1 -n shop",
        "get nodes 200 read success node/node-1
         create pods 201 debug success shop/pod/node-debugger-node-1-*",
    ),
    does(
        "alice",
        "logs box -c main -n shop",
        "get pods 200 read success shop/pod/box
         get pods/log 200 logs success shop/pod/box",
    ),
    does(
        "alice",
        "get --raw /api/v1/namespaces/shop/pods/box:8080/proxy/hello",
        "get pods/proxy 200 proxy success shop/pod/box:8080",
    ),
];

/// What is refused, impersonation, and questions about it.
const REFUSALS: &[Act] = &[
    does("bob", "get pods -n shop", "list pods 200 list success -"),
    fails("bob", "get secrets -n shop", "list secrets 403 list denied -"),
    fails("bob", "get secret db -n shop", "get secrets 403 read denied shop/secret/db"),
    fails(
        "bob",
        "delete deployment web -n shop",
        "delete deployments 403 delete denied shop/deployment/web",
    ),
    // Who is refused before the body is read has named nothing.
    fails(
        "bob",
        "create configmap notes --from-literal=a=b -n shop",
        "create configmaps 403 create denied -",
    ),
    fails(
        "bob",
        "create rolebinding bob-admin --clusterrole=admin --user=bob@example.com -n shop",
        "create rolebindings 403 grant denied -",
    ),
    // Refused over WebSocket, kubectl tries SPDY.
    fails(
        "bob",
        "exec box -n shop -- id",
        "get pods 200 read success shop/pod/box
         get pods/exec 403 exec denied shop/pod/box : id
         create pods/exec 403 exec denied shop/pod/box : id",
    ),
    does(
        "alice",
        "get pods -n shop --as=bob@example.com",
        "list pods 200 list success - as=bob@example.com",
    ),
    fails(
        "alice",
        "get secrets -n shop --as=bob@example.com",
        "list secrets 403 list denied - as=bob@example.com",
    ),
    // Refused impersonation has not taken place.
    fails("bob", "get pods -n shop --as=admin", "list pods 403 list denied -"),
    fails(
        "bob",
        "auth can-i delete pods -n shop",
        "create selfsubjectaccessreviews 201 review success -",
    ),
    does("bob", "auth can-i --list -n shop", "create selfsubjectrulesreviews 201 review success -"),
    does("bob", "auth whoami", "create selfsubjectreviews 201 review success -"),
];

/// Dry runs, generated names, and the many ways to change an object.
const CHANGES: &[Act] = &[
    does(
        "alice",
        "create configmap draft --from-literal=a=b --dry-run=server -n shop",
        "create configmaps 201 create success shop/configmap/draft dry",
    ),
    does(
        "alice",
        "delete configmap settings --dry-run=server -n shop",
        "delete configmaps 200 delete success shop/configmap/settings dry",
    ),
    does(
        "alice",
        "delete pod box --dry-run=server -n shop",
        "delete pods 200 delete success shop/pod/box dry",
    ),
    does(
        "alice",
        "create -f task.yaml",
        "create jobs 201 create success shop/job/task-* generated",
    ),
    does(
        "alice",
        "label pod box tier=one -n shop",
        "get pods 200 read success shop/pod/box
         patch pods 200 patch success shop/pod/box",
    ),
    does(
        "alice",
        "annotate pod box note=first -n shop",
        "get pods 200 read success shop/pod/box
         patch pods 200 patch success shop/pod/box",
    ),
    does(
        "alice",
        "patch deployment web -p '{\"spec\":{\"minReadySeconds\":1}}' -n shop",
        "get deployments 200 read success shop/deployment/web
         patch deployments 200 patch success shop/deployment/web",
    ),
    does(
        "alice",
        "set image deployment/web main=registry.example.com/web:3 -n shop",
        "get deployments 200 read success shop/deployment/web
         patch deployments 200 patch success shop/deployment/web",
    ),
    does(
        "alice",
        "KUBE_EDITOR='sed -i s/one/two/' edit pod box -n shop",
        "get pods 200 read success shop/pod/box
         patch pods 200 patch success shop/pod/box",
    ),
    does(
        "alice",
        "rollout restart deployment/web -n shop",
        "get deployments 200 read success shop/deployment/web
         patch deployments 200 patch success shop/deployment/web",
    ),
    does(
        "alice",
        "rollout status deployment/web -n shop",
        "get deployments 200 read success shop/deployment/web *
         list deployments 200 list success shop/deployment/web *
         watch deployments 200 watch success shop/deployment/web +",
    ),
    does(
        "alice",
        "expose deployment web --port=80 -n shop",
        "get deployments 200 read success shop/deployment/web
         create services 201 create success shop/service/web",
    ),
    does(
        "alice",
        "replace -f web-2.yaml",
        "get deployments 200 read success shop/deployment/web
         update deployments 200 update success shop/deployment/web",
    ),
];

/// What must not come to light.
const SECRETS: &[Act] = &[
    does(
        "alice",
        "create secret generic db --from-literal=password=hunter2 -n shop",
        "create secrets 201 create success shop/secret/db",
    ),
    does("alice", "get secret db -n shop -o yaml", "get secrets 200 read success shop/secret/db"),
    does("alice", "get secrets -n shop", "list secrets 200 list success -"),
    does(
        "alice",
        "create token default -n shop",
        "create serviceaccounts/token 201 token success shop/serviceaccount/default",
    ),
];

/// The identity of CI deploys.
const PIPELINE: &[Act] = &[
    does(
        "ci",
        "apply -f api.yaml",
        "get deployments 404 read failed shop/deployment/api
         get namespaces 200 read success namespace/shop *
         create deployments 201 apply success shop/deployment/api",
    ),
    does(
        "ci",
        "set image deployment/api main=registry.example.com/api:2 -n shop",
        "get deployments 200 read success shop/deployment/api
         patch deployments 200 patch success shop/deployment/api",
    ),
    does(
        "ci",
        "rollout restart deployment/api -n shop",
        "get deployments 200 read success shop/deployment/api
         patch deployments 200 patch success shop/deployment/api",
    ),
    fails("ci", "get nodes", "list nodes 403 list denied -"),
    does(
        "ci",
        "delete deployment api -n shop",
        "delete deployments 200 delete success shop/deployment/api
         get deployments 404 read failed shop/deployment/api *
         get deployments 200 read success shop/deployment/api *
         list deployments 200 list success shop/deployment/api *
         watch deployments 200 watch success shop/deployment/api *",
    ),
];

/// Nodes and certificates.
const CLUSTER: &[Act] = &[
    does(
        "admin",
        "create -f carol.yaml",
        "create certificatesigningrequests 201 create success certificatesigningrequest/carol",
    ),
    does(
        "admin",
        "certificate approve carol",
        "get certificatesigningrequests 200 read success certificatesigningrequest/carol +
         update certificatesigningrequests/approval 200 approve success \
         certificatesigningrequest/carol",
    ),
    does(
        "admin",
        "cordon node-3",
        "get nodes 200 read success node/node-3
         patch nodes 200 patch success node/node-3",
    ),
    does("alice", "create -f pinned.yaml", "create pods 201 create success shop/pod/pinned"),
    does("alice", "create -f evicted.yaml", "create pods 201 create success shop/pod/evicted"),
    does(
        "alice",
        "create --raw /api/v1/namespaces/shop/pods/evicted/eviction -f eviction.json",
        "create pods/eviction 201 evict success shop/pod/evicted",
    ),
    does(
        "admin",
        "drain node-2 --force --ignore-daemonsets",
        "get nodes 200 read success node/node-2
         patch nodes 200 patch success node/node-2
         list pods 200 list success -
         create pods/eviction 201 evict success shop/pod/pinned
         create pods/eviction 201 evict success shop/pod/web-* *
         create pods/eviction 201 evict success shop/pod/task-* *
         get pods 200 read success shop/pod/* *
         get pods 404 read failed shop/pod/* +",
    ),
    does(
        "admin",
        "uncordon node-2",
        "get nodes 200 read success node/node-2
         patch nodes 200 patch success node/node-2",
    ),
];

/// Everything goes: one by one, as a collection, and with its namespace.
const ENDS: &[Act] = &[
    does(
        "alice",
        "create configmap one --from-literal=a=b -n shop",
        "create configmaps 201 create success shop/configmap/one",
    ),
    does(
        "alice",
        "delete --raw /api/v1/namespaces/shop/configmaps?fieldSelector=metadata.name!=settings",
        "deletecollection configmaps 200 delete-collection success -",
    ),
    does(
        "alice",
        "delete rolebinding bob -n shop",
        "delete rolebindings 200 delete success shop/rolebinding/bob
         get rolebindings 404 read failed shop/rolebinding/bob *
         get rolebindings 200 read success shop/rolebinding/bob *
         list rolebindings 200 list success shop/rolebinding/bob *
         watch rolebindings 200 watch success shop/rolebinding/bob *",
    ),
    does(
        "alice",
        "delete pods --all -n shop --wait=false",
        "list pods 200 list success -
         delete pods 200 delete success shop/pod/box
         delete pods 200 delete success shop/pod/* +
         delete pods 404 delete failed shop/pod/* *",
    ),
    fails(
        "alice",
        "get pod nobody -n shop",
        "get pods 404 read failed shop/pod/nobody
         get namespaces 200 read success namespace/shop *",
    ),
    does("admin", "get pods -A", "list pods 200 list success -"),
    does(
        "admin",
        "delete namespace old --wait=false",
        "delete namespaces 200 delete success namespace/old",
    ),
];
