"""The questions of `cargo xtask bench`, in the languages of those that are asked.

What is asked about (LITERALS, a JSON object) is drawn from the corpus by whoever asks. An answer is a
list of lines; two answers are the same if their lines are, in any order unless the question has one.
"""

import time

TITLES = [
    "who deleted a namespace",
    "execs into some pods of a namespace",
    "the last 100 acts of an actor",
    "top 10 actors by denials",
    "per hour and verb in a namespace",
    "a word that occurs 10 times in bodies",
    "every change of a deployment, with bodies",
    "resources touched by a service account",
    "how many requests of people from outside a network",
    "bindings to cluster-admin, by the body",
    "a word that occurs nowhere",
    "an audit ID",
]

# How many columns of a row are compared: bodies, and times by which rows are ordered, are not.
COLUMNS = [1, 1, 1, 2, 3, 1, 1, 1, 1, 1, 1, 1]


# The most events that a server of the product gives at once.
PAGE = 10_000


def whodid(it):
    """(path, parameters or SQL) of the HTTP API; the answer is read by `whodid.py`."""
    done = "stage:ResponseComplete"
    events = lambda query, limit=PAGE: (
        "events", {"q": f"{query} {done}", "limit": limit, "fields": "audit_id,time"})
    complete = "stage = 'ResponseComplete' AND NOT duplicate"
    return [
        events(f"verb:delete resource:namespaces name:{it['deleted']}"),
        events(f"resource:pods subresource:exec ns:{it['exec_ns']} name:{it['pods']}*"),
        events(f"authenticated:{it['actor']}", 100),
        (
            "sql",
            "SELECT username, count(DISTINCT audit_id) AS n FROM events"
            f" WHERE code = 403 AND {complete}"
            " GROUP BY username ORDER BY n DESC, username LIMIT 10",
        ),
        (
            "sql",
            "SELECT date_trunc('hour', time) AS hour, verb, count(DISTINCT audit_id) AS n FROM events"
            f" WHERE namespace = '{it['ns']}' AND {complete} GROUP BY 1, 2",
        ),
        events(f"body:{it['word']}"),
        (
            "sql",
            "SELECT audit_id, request, response FROM changes"
            f" WHERE namespace = '{it['deployment_ns']}' AND name = '{it['deployment']}'"
            " AND gvr = 'apps/v1/deployments'",
        ),
        (
            "sql",
            "SELECT DISTINCT resource FROM events"
            f" WHERE username = '{it['service_account']}' AND resource IS NOT NULL",
        ),
        ("counts", {"q": f"authenticated:*@* -ip:{it['network']} {done}"}),
        events("resource:(rolebindings OR clusterrolebindings) verb:create"
               " request.roleRef.name:cluster-admin"),
        events(f"body:{it['absent']}"),
        events(f"audit_id:{it['audit_id']}"),
    ]


CHANGING = "('create', 'update', 'patch', 'delete')"


def sql(it, table, has_word, role_of, id_of, hour_of):
    """SQL over a table with a column for each member; `has_word` and `role_of` are about bodies."""
    done = "stage = 'ResponseComplete'"
    ids = lambda where: f"SELECT DISTINCT {id_of} FROM {table} WHERE {where} AND {done}"
    prefix = it["network"].split("/")[0].rsplit(".", 2)[0]
    return [
        ids(f"verb = 'delete' AND resource = 'namespaces' AND name = '{it['deleted']}'"),
        ids(f"resource = 'pods' AND subresource = 'exec' AND namespace = '{it['exec_ns']}'"
            f" AND name LIKE '{it['pods']}%'"),
        f"SELECT {id_of}, max(time) AS newest FROM {table} WHERE username = '{it['actor']}' AND {done}"
        " GROUP BY 1 ORDER BY newest DESC LIMIT 100",
        f"SELECT username, count(DISTINCT {id_of}) AS n FROM {table} WHERE code = 403 AND {done}"
        " GROUP BY username ORDER BY n DESC, username LIMIT 10",
        f"SELECT {hour_of} AS hour, verb, count(DISTINCT {id_of}) FROM {table}"
        f" WHERE namespace = '{it['ns']}' AND {done} GROUP BY hour, verb",
        ids(has_word(it["word"])),
        f"SELECT {id_of}, request, response FROM {table} WHERE namespace = '{it['deployment_ns']}'"
        f" AND name = '{it['deployment']}' AND resource = 'deployments' AND {done}"
        f" AND verb IN {CHANGING} AND code < 400 AND subresource = ''",
        f"SELECT DISTINCT resource FROM {table} WHERE username = '{it['service_account']}'"
        " AND resource <> ''",
        f"SELECT count(DISTINCT {id_of}) FROM {table}"
        f" WHERE username LIKE '%@%' AND NOT address LIKE '{prefix}.%' AND {done}",
        ids("resource IN ('rolebindings', 'clusterrolebindings') AND verb = 'create'"
            f" AND {role_of} = 'cluster-admin'"),
        ids(has_word(it["absent"])),
        ids(f"{id_of} = '{it['audit_id']}'"),
    ]


def logsql(it):
    """LogsQL; bodies are kept as the JSON that they came as."""
    done = "stage:=ResponseComplete"
    ids = lambda where: f"{where} {done} | uniq by (auditID)"
    word = lambda text: f'(requestObject:"{text}" or responseObject:"{text}")'
    prefix = it["network"].split("/")[0].rsplit(".", 2)[0].replace(".", "\\\\.")
    resource = "objectRef.resource"
    return [
        ids(f'verb:=delete {resource}:=namespaces objectRef.name:="{it["deleted"]}"'),
        ids(f'{resource}:=pods objectRef.subresource:=exec objectRef.namespace:="{it["exec_ns"]}"'
            f' objectRef.name:="{it["pods"]}"*'),
        f'user.username:="{it["actor"]}" {done} | stats by (auditID) max(_time) at'
        " | sort by (at desc) limit 100",
        f"responseStatus.code:=403 {done} | stats by (user.username) count_uniq(auditID) n"
        " | sort by (n desc, user.username) limit 10",
        f'objectRef.namespace:="{it["ns"]}" {done}'
        " | stats by (_time:1h, verb) count_uniq(auditID) n",
        ids(word(it["word"])),
        f'objectRef.namespace:="{it["deployment_ns"]}" objectRef.name:="{it["deployment"]}"'
        f" {resource}:=deployments {done} verb:in(create,update,patch,delete)"
        ' responseStatus.code:<400 objectRef.subresource:=""'
        " | fields auditID, requestObject, responseObject",
        f'user.username:="{it["service_account"]}" {resource}:* | uniq by ({resource})',
        f'user.username:~"@" -sourceIPs:~"\\"{prefix}\\\\." {done} | stats count_uniq(auditID) n',
        ids(f"{resource}:in(rolebindings,clusterrolebindings) verb:=create"
            ' requestObject:~"\\"roleRef\\":{[^}]*\\"name\\":\\"cluster-admin\\""'),
        ids(word(it["absent"])),
        ids(f'auditID:="{it["audit_id"]}"'),
    ]


def lines(rows, columns):
    """Rows as lines, of which the first so many columns are compared."""
    return sorted({" ".join(str(value) for value in row[:columns]) for row in rows})


def timed(ask, runs):
    """Asks so many times; the milliseconds of each, and the last answer."""
    millis = []
    answer = None
    for _ in range(runs):
        started = time.monotonic()
        answer = ask()
        millis.append(1_000 * (time.monotonic() - started))
    return millis, answer
