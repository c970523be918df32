#!/usr/bin/env python3
"""Forges a record, as another program would that can write everything in its folder.

    forge.py check RECORD                       makes each tree from the tables, and compares it
                                                with what was signed
    forge.py forge RECORD YESTERDAY OUT ATTACK  makes OUT/HAND for each hand that a forger can have
    forge.py attacks                            prints the names of the attacks

`forge` prints, as one line of JSON, which event it is about, how the forged record shows that it is
forged, and which logs an earlier checkpoint would tell it from. Whether the product finds it is for
its caller to see.
"""

import json
import pathlib
import secrets
import shutil
import struct
import sys

sys.dont_write_bytecode = True

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import leaves
from leaves import Key, Log
from tables import Store

PROD, STAGING = "prod", "staging"
MALLORY = "mallory@example.com"


class Forgery:
    """A record that is being forged, and what is to be said of it."""

    def __init__(self, folder, yesterday, cache):
        self.store, self.yesterday = Store(folder, cache), pathlib.Path(yesterday)
        self.target, self.checks = None, []
        # Seals are added, as a compaction does, or edited where they stand.
        self.edits_seals = False
        # A file of the write-ahead log.
        self.added = None
        self.is_restored = False

    def shows(self, *run, has):
        """What a command says of the forged record, and does not say of the true one."""
        self.checks.append({"run": list(run), "has": list(has), "fails": False})

    def refuses(self, *run):
        """What a command does not find in the forged record."""
        self.checks.append({"run": list(run), "has": [], "fails": True})

    def find(self, cluster, fits, part=-1):
        """The first event in a file that fits, and where it stands there."""
        file = self.store.events.of(cluster)[part]
        twins = set(file.rows.column("twin").to_pylist())
        columns = ["seq", "form", "duplicate", "conflict", "twin", "level", "verb", "resource"]
        columns += ["username", "impersonated_username", "outcome", "name", "request_object"]
        columns += ["response_object", "user_groups", "actor_kind"]
        rows = file.rows.select(columns).slice(0, 2_000).to_pylist()
        for at, row in enumerate(rows):
            is_alone = row["twin"] is None and row["seq"] not in twins
            if row["form"] and fits(row) and is_alone | row["conflict"]:
                return file, at
        raise LookupError("no event fits")

    def aim(self, file, at):
        seq = file.first + at
        self.target = self.target or f"{file.cluster}/{seq}"
        return f"{file.cluster}/{seq}"


def username(forgery):
    """changes a username"""
    is_persons = lambda row: row["actor_kind"] == "human" and not row["impersonated_username"]
    file, at = forgery.find(PROD, is_persons, part=0)
    event = forgery.aim(file, at)
    file.put(at, {"username": MALLORY, "actor": MALLORY})
    forgery.shows("show", event, "-o", "raw", has=[f'"username":"{MALLORY}"'])
    forgery.shows("search", f"user:{MALLORY}", "--limit", "0", "-o", "name", has=[event])


def derived(forgery):
    """changes only a derived column"""
    file, at = forgery.find(PROD, lambda row: row["outcome"] == "denied" and not row["conflict"])
    event = forgery.aim(file, at)
    file.put(at, {"outcome": "success"})
    asked = f"seq:{file.first + at}"
    forgery.shows("search", "outcome:success", asked, "--cluster", PROD, "-o", "name", has=[event])


def duplicate(forgery):
    """sets `duplicate` on an event"""
    file, at = forgery.find(PROD, lambda row: row["verb"] == "delete" and not row["conflict"])
    event = forgery.aim(file, at)
    file.put(at, {"duplicate": True, "twin": file.first + at - 1})
    # What is in the record already is not shown.
    forgery.refuses("search", f"seq:{file.first + at}", "--cluster", PROD, "-o", "name")


def conflict(forgery):
    """takes the mark `conflict` away"""
    file, at = forgery.find(PROD, lambda row: row["conflict"])
    event = forgery.aim(file, at)
    file.put(at, {"conflict": False, "twin": None})
    asked = f"seq:{file.first + at}"
    forgery.shows("search", asked, "conflict:false", "--cluster", PROD, "-o", "name", has=[event])


def bodies(forgery):
    """swaps two bodies"""
    has_body = lambda row: row["verb"] == "update" and row["resource"] == "deployments"
    is_whole = lambda row: row["request_object"] == "$c" and not row["conflict"]
    fits = lambda row: has_body(row) and is_whole(row)
    one, at = forgery.find(PROD, fits)
    name = one.row(at)["name"]
    _, other = forgery.find(PROD, lambda row: fits(row) and row["name"] != name)
    event, body = forgery.aim(one, at), forgery.store.bodies.of(PROD)[-1]
    columns = [body.rows.column(column).to_pylist() for column in ("seq", "member", "json")]
    places = {(seq, member): i for i, (seq, member, _) in enumerate(zip(*columns))}
    first, second = (places[one.first + place, "requestObject"] for place in (at, other))
    texts = columns[2]
    body.put_column({"json": {first: texts[second], second: texts[first]}})
    forgery.shows("show", event, "-o", "raw", has=[f'"requestObject":{texts[second]}'])


def stray(forgery):
    """adds a body to an event that has one"""
    fits = lambda row: row["request_object"] == "$c" and not row["conflict"]
    file, at = forgery.find(PROD, fits)
    event, body = forgery.aim(file, at), forgery.store.bodies.of(PROD)[-1]
    own = pc.equal(body.rows.column("seq"), file.first + at)
    before = body.rows.slice(0, pc.index(own, True).as_py())
    added = body.rows.filter(own).slice(0, 1).to_pylist()[0]
    added |= {"member": "requestObject", "json": leaves.dumps({"by": MALLORY}).decode()}
    added = pa.Table.from_pylist([added], body.rows.schema)
    # Whoever takes the last of several takes the event's own.
    body.rows = pa.concat_tables([before, added, body.rows.slice(before.num_rows)])
    asked = f"body:{MALLORY}"
    forgery.shows("search", asked, "--cluster", PROD, "-o", "name", has=[event])


def rows(forgery):
    """swaps rows of two clusters"""
    is_bare = lambda row: row["level"] == "Metadata" and not row["conflict"]
    one, here = forgery.find(PROD, is_bare)
    two, there = forgery.find(STAGING, is_bare)
    places, kept = [(one, here, two, there), (two, there, one, here)], {}
    for file, at, other, other_at in places:
        kept[file.cluster] = other.row(other_at)
        forgery.aim(file, at)
    for file, at, _, _ in places:
        own = ["seq", "received", "duplicate", "conflict", "twin", "source"]
        row = {name: value for name, value in kept[file.cluster].items() if name not in own}
        file.put(at, row)
        shown = f'"requestURI":{leaves.quote(row["request_uri"])}'
        event = f"{file.cluster}/{file.first + at}"
        forgery.shows("show", event, "-o", "raw", has=[shown, f'"auditID":"{audit_id(row)}"'])


def audit_id(row):
    text = row["audit_id"].hex()
    return "-".join(text[a:b] for a, b in [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)])


def row(forgery):
    """removes a row, those behind it move up"""
    file, at = forgery.find(PROD, lambda row: row["verb"] == "delete" and not row["conflict"])
    gone, seq = audit_id(file.row(at)), file.first + at
    forgery.aim(file, at)
    forgery.refuses("show", f"{PROD}/{file.last}")
    forgery.store.remove(PROD, seq, seq)
    forgery.refuses("search", f"audit_id:{gone}", "--cluster", PROD, "-o", "name")


def file(forgery):
    """removes a file, those behind it move up"""
    file, newest = (forgery.store.events.of(STAGING)[part] for part in (0, -1))
    forgery.aim(file, 1_000)
    forgery.refuses("show", f"{STAGING}/{newest.last}")
    forgery.store.remove(STAGING, file.first, file.last)


def segment(forgery):
    """removes the newest segment"""
    newest = forgery.store.events.of(PROD)[-1]
    forgery.aim(newest, 1)
    forgery.refuses("show", f"{PROD}/{newest.first}")
    forgery.store.remove(PROD, newest.first, newest.last)


def cluster(forgery):
    """removes a cluster, its log too"""
    files = forgery.store.events.of(STAGING)
    forgery.aim(files[0], 1)
    forgery.refuses("show", f"{STAGING}/0")
    forgery.store.remove(STAGING, 0, files[-1].last)
    for folder in ["keys", "ledger"]:
        shutil.rmtree(forgery.store.folder / folder / STAGING)


def seal(forgery):
    """writes a file anew, and edits its seal"""
    file = forgery.store.events.of(PROD)[-1]
    forgery.aim(file, 1)
    file.rows = file.rows
    forgery.edits_seals = True


def statistics(forgery):
    """hides a file by its statistics in the Delta log"""
    newest = forgery.store.events.of(PROD)[-1]
    forgery.aim(newest, 1)
    stats = json.loads(newest.add["stats"])
    for bound in ["minValues", "maxValues"]:
        stats[bound]["time"] = "1970-01-01T00:00:00.000000Z"
    newest.add["stats"] = leaves.dumps(stats).decode()
    asked = f"seq:{newest.first + 1} time:>2000-01-01"
    forgery.refuses("search", asked, "--cluster", PROD, "-o", "name")


def index(forgery):
    """hides rows by the index of words of a file"""
    file, at = forgery.find(PROD, lambda row: row["actor_kind"] == "human" and row["name"], part=0)
    name = file.row(at)["name"]
    forgery.aim(file, at)
    path = forgery.store.folder / file.path
    data = bytearray(path.read_bytes())
    place = pq.ParquetFile(path).metadata.metadata[b"whodid.index"]
    begin, length = (int(number) for number in place.split())
    end = begin + length
    while begin < end:
        # A length, and of each filter a descriptor before its fingerprints.
        begin, size = begin + 4, int.from_bytes(data[begin : begin + 4], "little")
        data[begin + 20 : begin + size] = bytes(size - 20)
        begin += size
    file.data = bytes(data)
    asked = f"name:{name} seq:{file.first + at}"
    forgery.refuses("search", asked, "--cluster", PROD, "-o", "name")


def tail(forgery):
    """adds an event through the write-ahead log"""
    is_bare = lambda row: row["level"] == "Metadata"
    file, at = forgery.find(PROD, lambda row: row["actor_kind"] == "human" and is_bare(row))
    seq = file.last + 1
    row = file.row(at) | {"username": MALLORY, "audit_id": secrets.token_bytes(16)}
    forgery.target = f"{PROD}/{file.last}"
    received = instant_micros(file.row(file.rows.num_rows - 1)["received"])
    forgery.added = frame(seq, received, leaves.event_text(row, {}).encode())
    forgery.shows("show", f"{PROD}/{seq}", "-o", "raw", has=[MALLORY])


def yesterday(forgery):
    """restores yesterday, all of it"""
    restore(forgery, ["store.json", "positions", "events", "bodies", "keys", "wal", "ledger"])


def tables(forgery):
    """restores yesterday, but for the ledger"""
    restore(forgery, ["positions", "events", "bodies", "keys", "wal"])


def restore(forgery, names):
    newest = forgery.store.events.of(PROD)[-1]
    forgery.aim(newest, 1)
    forgery.refuses("show", f"{PROD}/{newest.first + 1}")
    folder = forgery.store.folder
    for name in names:
        new, old = folder / name, forgery.yesterday / name
        if new.is_dir():
            shutil.rmtree(new)
            shutil.copytree(old, new)
        else:
            shutil.copy2(old, new)
    forgery.store, forgery.is_restored = Store(folder, forgery.store.cache), True


ATTACKS = [username, derived, duplicate, conflict, bodies, stray, rows, row, file, segment]
ATTACKS += [cluster, seal, statistics, index, tail, tables, yesterday]


# --- The write-ahead log (wal.md) ---


def instant_micros(value):
    return int(value.timestamp()) * 1_000_000 + value.microsecond


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def frame(seq, received, event):
    """A file of the log with one event."""
    records = struct.pack("<BII", 0, 0, len(event)) + event
    names = [PROD.encode(), b"import/prod.jsonl"]
    body = struct.pack("<QIqQ", seq, 1, received, 8)
    body += b"".join(struct.pack("<H", len(name)) + name for name in names)
    body += struct.pack("<BII", 0, 0, len(records))
    body += pa.Codec("zstd").compress(records, asbytes=True)
    body = struct.pack("<I", len(body)) + body
    return b"WdWal001" + b"WdF1" + struct.pack("<I", crc32c(body)) + body


# --- The hands that a forger can have ---


def keyless(store, changed):
    """No key; the tiles are those of the forged tree."""
    if len(store.meta.entries) == store.meta.head()[0]:
        changed = changed | {store.meta: store.meta.tree()}
    for log, tree in changed.items():
        log.write_tiles(tree)


def quiet(store, changed):
    """No key; the tiles are left as they were."""


def bare(store, changed):
    """No key; what was signed is taken away, so that the writer signs anew."""
    for name in [*store.clusters(), "meta"]:
        Log(store.folder, name).take_away()


def own(store, changed):
    """A key of the forger's own in the place of each."""
    for name in [*store.clusters(), "meta"]:
        log = Log(store.folder, name)
        key = Key(log.key().origin, secrets.token_bytes(32))
        (log.folder / "key").write_text(key.secret())
        (log.folder / "policy").write_text(key.policy())
        log.sign(store.meta.tree() if name == "meta" else store.tree(name), key)


def key(store, changed):
    """The key that is in the folder."""
    changed = changed | {store.meta: store.meta.tree()}
    for log, tree in changed.items():
        log.sign(tree, log.key())


HANDS = [keyless, quiet, bare, own, key]


def forge(record, yesterday, out, name):
    attack = {attack.__name__: attack for attack in ATTACKS}[name]
    cache, out = {}, pathlib.Path(out)
    heads = check(record, cache)
    shutil.copytree(record, out / "forged")
    forgery = Forgery(out / "forged", yesterday, cache)
    attack(forgery)
    if not forgery.is_restored:
        write(forgery)
    # From here on only what can be read back counts.
    store = Store(forgery.store.folder, cache)
    trees = {cluster: store.tree(cluster) for cluster in store.clusters()}
    for hand in HANDS:
        shutil.copytree(store.folder, out / hand.__name__)
        copy = Store(out / hand.__name__, cache)
        logs = {Log(copy.folder, cluster): tree for cluster, tree in trees.items()}
        is_changed = lambda log, tree: log.head() != (tree.size, tree.root())
        hand(copy, {log: tree for log, tree in logs.items() if is_changed(log, tree)})
    shutil.rmtree(store.folder)
    trees["meta"] = store.meta.tree()
    said = {"title": attack.__doc__, "target": forgery.target, "checks": forgery.checks}
    said["told"] = told(heads, trees)
    print(json.dumps(said))


def write(forgery):
    """Writes the files, and the seals that they need."""
    store = forgery.store
    for old, new, data in store.write():
        if forgery.edits_seals:
            store.meta.replace_seal(old, new, data)
        else:
            store.meta.add_seal(new, data)
    store.meta.write()
    if forgery.added:
        (store.folder / "wal" / f"{1_000:020}.wal").write_bytes(forgery.added)


def told(heads, trees):
    """The logs of which an earlier checkpoint tells that they are others now."""
    is_other = lambda name, size, root: (
        name not in trees or trees[name].size < size or trees[name].root(size) != root
    )
    return [name for name, (size, root) in heads.items() if is_other(name, size, root)]


def check(record, cache=None):
    """Makes every tree from the tables, and compares it with what was signed."""
    store = Store(record, cache)
    heads = {}
    for name in [*store.clusters(), "meta"]:
        log = Log(record, name)
        tree = store.meta.tree() if name == "meta" else store.tree(name)
        heads[name] = log.head()
        tiles = {path: data for path, data in tree.tiles()}
        on_disk = {path: (log.folder / path).read_bytes() for path in tiles}
        edge = (log.folder / "edge").read_bytes()
        if heads[name] != (tree.size, tree.root()) or on_disk != tiles or edge != tree.edge():
            sys.exit(f"{name}: the tree made from the tables is not the one that was signed")
    return heads


def main(task, *args):
    if task == "check":
        for name, (size, _) in check(*args).items():
            print(f"{name}: {size} leaves, as they were signed")
    elif task == "forge":
        forge(*args)
    elif task == "attacks":
        print("\n".join(attack.__name__ for attack in ATTACKS))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
