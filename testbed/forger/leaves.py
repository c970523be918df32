"""What the rows of a record are as leaves, and what its logs are as files: by docs/format alone.

Which rows there are is for tables.py, what a forger makes of them for forge.py.
"""

import base64
import contextlib
import hashlib
import importlib.util
import io
import json
import pathlib
import re
import struct
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs/format"

# Leaves of a tile, and of a block that has one key.
WIDTH = 256
KEY_FILE_LEAVES = 65_536
BODIES = [("requestObject", "request_object"), ("responseObject", "response_object")]
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


def load_vectors():
    """The program that comes with the specification of entries; it checks itself when loaded."""
    spec = importlib.util.spec_from_file_location("vectors", DOCS / "entry_vectors.py")
    module = importlib.util.module_from_spec(spec)
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(module)
    return module


VECTORS = load_vectors()

# --- Entries (entry.md; segment.md, Giving the event back) ---

ESCAPED = re.compile('["\\\\<>&\u2028\u2029\x00-\x1f]')
SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def quote(text):
    """A string as Go's encoding/json writes it."""
    escape = lambda found: SHORT.get(found[0]) or "\\u%04x" % ord(found[0])
    return '"%s"' % ESCAPED.sub(escape, text or "")


def instant(value):
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def quoted(pairs):
    """Members that are texts; those that are not known are left out."""
    return [(name, quote(value)) for name, value in pairs if value is not None]


def texts(values):
    return "[%s]" % ",".join(map(quote, values))


def an_object(members):
    return "{%s}" % ",".join('%s:%s' % (quote(name), value) for name, value in members)


def user(row, prefix, username):
    members = quoted([("username", row[username]), ("uid", row[prefix + "_uid"])])
    if row[prefix + "_groups"]:
        members.append(("groups", texts(row[prefix + "_groups"])))
    if row[prefix + "_extra"]:
        extra = [(key, texts(values)) for key, values in row[prefix + "_extra"]]
        members.append(("extra", an_object(extra)))
    return members


def event_members(row, request, response):
    """The members of an event behind `kind` and `apiVersion`, in the order of the API server."""
    audit_id = str(uuid.UUID(bytes=row["audit_id"])) if row["audit_id"] else row["audit_id_text"]
    yield from [("level", quote(row["level"])), ("auditID", quote(audit_id))]
    yield from [("stage", quote(row["stage"])), ("requestURI", quote(row["request_uri"]))]
    yield from [("verb", quote(row["verb"])), ("user", an_object(user(row, "user", "username")))]
    impersonated = user(row, "impersonated", "impersonated_username")
    if impersonated:
        yield "impersonatedUser", an_object(impersonated)
    constraint = quoted([("impersonationConstraint", row["impersonation_constraint"])])
    if constraint:
        yield "authenticationMetadata", an_object(constraint)
    if row["source_ips"]:
        yield "sourceIPs", texts(row["source_ips"])
    yield from quoted([("userAgent", row["user_agent"])])
    names = ["resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion"]
    columns = ["resource", "namespace", "name", "object_uid", "api_group", "api_version"]
    columns += ["resource_version", "subresource"]
    about = quoted(zip(names + ["subresource"], map(row.get, columns)))
    if about:
        yield "objectRef", an_object(about)
    status = quoted((name, row[name]) for name in ("status", "message", "reason"))
    if row["status_details"] is not None:
        status.append(("details", row["status_details"]))
    if row["code"] is not None:
        status.append(("code", str(row["code"])))
    if status:
        yield "responseStatus", an_object([("metadata", "{}")] + status)
    bodies = [("requestObject", request), ("responseObject", response)]
    yield from ((name, body) for name, body in bodies if body is not None)
    for name, column in [
        ("requestReceivedTimestamp", "request_received_timestamp"),
        ("stageTimestamp", "stage_timestamp"),
    ]:
        yield name, quote(instant(row[column])) if row[column] else "null"
    notes = list(row["annotations"] or [])
    notes += [(DECISION, row["decision"]), (REASON, row["decision_reason"])]
    notes = quoted(sorted((note for note in notes if note[1] is not None)))
    if notes:
        yield "annotations", an_object(notes)


def event_text(row, bodies):
    """An event as it was taken in, after redaction."""
    values = {}
    for member, column in BODIES:
        is_elsewhere = row[column] == "$c"
        values[member] = bodies[row["seq"], member] if is_elsewhere else row[column]
    if row["text"] is None:
        kind = [("kind", '"Event"'), ("apiVersion", '"audit.k8s.io/v1"')]
        members = event_members(row, values["requestObject"], values["responseObject"])
        return an_object((kind if row["form"] == "line" else []) + list(members))
    text = row["text"]
    for name, start, end in reversed(VECTORS.members(text)):
        if values.get(name) is not None:
            text = text[:start] + values[name] + text[end:]
    return text


def entry(row, cluster, block_key, bodies):
    """The bytes of a row's leaf."""
    if row["raw_size"] is not None:
        raise ValueError("of an event that was too long to keep, the text is not there")
    vector = {
        "seq": row["seq"],
        "cluster": cluster,
        "source": row["source"],
        "received": instant(row["received"]),
        "block_key": base64.b64encode(block_key),
    }
    if row["raw_reason"] is not None:
        raw = row["raw"]
        elsewhere = bodies.get((row["seq"], "raw"), "").strip('"')
        vector["input"] = {"raw": base64.b64encode(raw) if raw is not None else elsewhere}
    else:
        whole = [name for name, column in BODIES if row[column] not in (None, "$c")]
        vector["input"] = {"event": [event_text(row, bodies)], "redacted": whole}
    return VECTORS.entry(vector).encode()


# --- Trees (RFC 6962 §2.1; ledger.md, Edge and tiles) ---


def leaf_hash(data):
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree, with the hashes of all its full subtrees by their height."""

    def __init__(self, leaves):
        self.levels = [list(leaves)]
        while len(below := self.levels[-1]) > 1:
            pairs = zip(below[::2], below[1::2])
            self.levels.append([node_hash(left, right) for left, right in pairs])

    @property
    def size(self):
        return len(self.levels[0])

    def root(self, size=None):
        """The root of its first leaves."""
        size, at, nodes = self.size if size is None else size, 0, []
        for height in reversed(range(size.bit_length())):
            if size >> height & 1:
                nodes.append(self.levels[height][at >> height])
                at += 1 << height
        root = nodes.pop() if nodes else hashlib.sha256().digest()
        while nodes:
            root = node_hash(nodes.pop(), root)
        return root

    def tile_hashes(self, level):
        height = 8 * level
        return self.levels[height] if height < len(self.levels) else []

    def edge(self):
        rest = b""
        for level in range(8):
            hashes = self.tile_hashes(level)
            rest += b"".join(hashes[len(hashes) - len(hashes) % WIDTH :])
        return b"WdEdge01" + struct.pack("<Q", self.size) + rest

    def tiles(self):
        """Full tiles above those of leaves: their paths and their bytes."""
        for level in range(1, 8):
            hashes = self.tile_hashes(level)
            for index in range(len(hashes) // WIDTH):
                own = hashes[index * WIDTH : (index + 1) * WIDTH]
                yield f"tile/{level}/{place(index)}", b"".join(own)


def place(index):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups)


# --- Notes (c2sp.org/signed-note) ---


class Key:
    """A key that signs for a log."""

    def __init__(self, origin, seed):
        self.origin, self.seed = origin, seed
        self.private = Ed25519PrivateKey.from_private_bytes(seed)
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = b"\1" + raw
        self.id = hashlib.sha256(origin.encode() + b"\n" + self.public).digest()[:4]

    @staticmethod
    def parse(secret):
        origin, _, seed = secret.strip().removeprefix("PRIVATE+KEY+").split("+", 2)
        return Key(origin, base64.b64decode(seed)[1:])

    def shown(self, key):
        return f"{self.origin}+{self.id.hex()}+{base64.b64encode(key).decode()}"

    def secret(self):
        return f"PRIVATE+KEY+{self.shown(bytes([1]) + self.seed)}\n"

    def policy(self):
        return f"log {self.shown(self.public)}\nquorum none\n"

    def checkpoint(self, tree):
        root = base64.b64encode(tree.root()).decode()
        text = f"{self.origin}\n{tree.size}\n{root}\n"
        signature = base64.b64encode(self.id + self.private.sign(text.encode())).decode()
        return f"{text}\n\N{EM DASH} {self.origin} {signature}\n"


class Log:
    """The files of a log."""

    def __init__(self, folder, name):
        self.folder, self.name = pathlib.Path(folder) / "ledger" / name, name

    def head(self):
        """The size and the root that were signed."""
        lines = (self.folder / "checkpoint").read_text().split("\n")
        return int(lines[1]), base64.b64decode(lines[2])

    def key(self):
        return Key.parse((self.folder / "key").read_text())

    def write_tiles(self, tree):
        for path in [path for path in self.folder.glob("tile/[1-7]/**/*") if path.is_file()]:
            path.unlink()
        for path, data in tree.tiles():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)
        (self.folder / "edge").write_bytes(tree.edge())

    def sign(self, tree, key):
        self.write_tiles(tree)
        (self.folder / "checkpoint").write_text(key.checkpoint(tree))

    def take_away(self):
        """Takes away what says how the tree was."""
        for path in ["checkpoint", "edge", *self.folder.glob("tile/[1-7]/**/*")]:
            path = self.folder / path
            if path.is_file():
                path.unlink()


class Meta(Log):
    """The meta log, which has its entries as files."""

    def __init__(self, folder):
        super().__init__(folder, "meta")
        self.entries = []
        bundles = sorted(self.folder.glob("tile/entries/*")) + [self.folder / "entries"]
        for data in [bundle.read_bytes() for bundle in bundles if bundle.is_file()]:
            while data:
                (length,) = struct.unpack(">H", data[:2])
                self.entries.append(data[2 : 2 + length])
                data = data[2 + length :]

    def tree(self):
        return Tree(map(leaf_hash, self.entries))

    def add_seal(self, path, data):
        """Adds the record of a file as a writer does."""
        made = json.loads(self.entries[-1])
        made |= {"seq": len(self.entries), "record": seal(path, data)}
        self.entries.append(dumps(made))

    def replace_seal(self, path, new_path, data):
        """Edits the record of a file, so that it is of another."""
        for i, entry in enumerate(self.entries):
            made = json.loads(entry)
            if made["record"].get("path") == path:
                made["record"] = seal(new_path, data)
                self.entries[i] = dumps(made)

    def write(self):
        full = len(self.entries) - len(self.entries) % WIDTH
        bundle = lambda entries: b"".join(struct.pack(">H", len(e)) + e for e in entries)
        for begin in range(0, full, WIDTH):
            path = self.folder / "tile/entries" / place(begin // WIDTH)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bundle(self.entries[begin : begin + WIDTH]))
        (self.folder / "entries").write_bytes(bundle(self.entries[full:]))


def seal(path, data):
    digest = hashlib.sha256(data).hexdigest()
    return {"kind": "Seal", "path": path, "bytes": len(data), "sha256": digest}


def dumps(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
