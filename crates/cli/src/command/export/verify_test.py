#!/usr/bin/env python3
"""Tests of verify.py: bundles made here from docs/format/bundle.md alone, whole and harmed.

That `whodid export` makes such bundles is tested where it is written, not here.
"""
import base64
import contextlib
import copy
import functools
import hashlib
import hmac
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from unittest import mock

sys.dont_write_bytecode = True
import verify  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
RECORD = "whodid.invalid/test"
SIZES = (1, 255, 256, 257, 1000)
b64 = lambda data: base64.b64encode(data).decode()
sha256 = lambda data: hashlib.sha256(data).digest()
tried = {"harms": 0, "whole": 0}


# Making bundles.


class Signer:
    """A key made and used by `openssl`."""

    folder = tempfile.TemporaryDirectory()

    def __init__(self, name, kind=1):
        self.name, self.kind = name, kind
        self.path = os.path.join(self.folder.name, os.urandom(8).hex())
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", self.path)
        self.key = self.openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")[-32:]
        self.id = sha256(name.encode() + b"\n" + bytes([kind]) + self.key)[:4]
        self.vkey = f"{name}+{self.id.hex()}+{b64(bytes([kind]) + self.key)}"

    @staticmethod
    def openssl(*command):
        return subprocess.run(["openssl", *command], check=True, capture_output=True).stdout

    @functools.lru_cache(maxsize=None)
    def sign(self, text, at=0):
        """The line of a signature."""
        message, prefix = text.encode(), b""
        if self.kind == 4:
            message, prefix = f"cosignature/v1\ntime {at}\n{text}".encode(), at.to_bytes(8, "big")
        with open(self.path + ".message", "wb") as file:
            file.write(message)
        made = self.openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file.name)
        return f"\u2014 {self.name} {b64(self.id + prefix + made)}\n"

    def stand_in(self, text):
        """What `openssl` of these tests takes for a signature, without a process."""
        return f"\u2014 {self.name} {b64(self.id + stand_in(self.key, text.encode()))}\n"


def stand_in(key, message):
    return hashlib.sha512(b"stand-in" + key + message).digest()


# Bundles stand for thousands of runs, and `openssl` says the same about the same.
REAL = functools.lru_cache(maxsize=None)(verify.openssl)


def openssl(key, message, signature):
    return signature == stand_in(key, message) or REAL(key, message, signature)


LOG, DEV = Signer(f"{RECORD}/prod"), Signer(f"{RECORD}/dev")
EXPORT = Signer(f"{RECORD}/export")
WITNESSES = [Signer(f"witness.example/w{number}", 4) for number in (1, 2, 3)]
STRANGERS = [Signer(name, kind) for name, kind in (
    (LOG.name, 1), (EXPORT.name, 1), (WITNESSES[0].name, 4), ("other.example/w", 4)
)]
LOGS = f"log {LOG.vkey}\nlog {DEV.vkey} https://log.example\n"
SEEN = "".join(f"witness w{at} {key.vkey}\n" for at, key in enumerate(WITNESSES, 1))
POLICY = f"# Of the test.\n{LOGS}\n{SEEN}group two 2 w1 w2 w3\nquorum two\n"


class Tree:
    """RFC 6962 §2.1, by the letter."""

    def __init__(self, entries):
        self.leaves = [sha256(b"\0" + entry) for entry in entries]
        self.root = functools.lru_cache(maxsize=None)(self.root)

    def root(self, begin, end):
        if end - begin == 1:
            return self.leaves[begin]
        middle = begin + (1 << (end - begin - 1).bit_length() - 1)
        return sha256(b"\1" + self.root(begin, middle) + self.root(middle, end))

    def path(self, index, begin, end):
        if end - begin == 1:
            return []
        middle = begin + (1 << (end - begin - 1).bit_length() - 1)
        if index < middle:
            return self.path(index, begin, middle) + [self.root(middle, end)]
        return self.path(index, middle, end) + [self.root(begin, middle)]

    def cover(self, begin, end, within=None):
        """The full subtrees that cover a run of leaves, from the tree's own shape."""
        low, high = within or (0, 1 << len(self.leaves).bit_length())
        if begin >= high or end <= low:
            return []
        if begin <= low and high <= end:
            return [self.root(low, high)]
        middle = (low + high) // 2
        return self.cover(begin, end, (low, middle)) + self.cover(begin, end, (middle, high))


def make_entry(seq, cluster="prod"):
    """An entry and what can be opened of it, as (member, salt, value)."""
    head = '{"v":1,"seq":%d,"cluster":"%s","source":"webhook/api \u00e9\\"","received":"%s",' % (
        seq, cluster, "2026-11-25T18:29:%02d.%06dZ" % (seq % 60, seq))
    opened = []

    def commit(name, value):
        salt = sha256(b"salt%d" % seq + name.encode())[:16]
        opened.append((name, salt, value))
        message = name.encode() + b"\0" + value.encode()
        return '{"$c":"%s"}' % b64(hmac.new(salt, message, hashlib.sha256).digest())

    if seq % 8 == 3:
        value = commit("raw", '"%s"' % b64(b"x" * 40_000))
        return f'{head}"raw":{value}}}'.encode(), opened
    if seq % 8 == 7:
        return f'{head}"raw":"{b64(b"no event")}"}}'.encode(), opened
    # As long as events are.
    event = '{ "kind":"Event","level":"Request\\u00e9" , "n":[1e3,{"a":{}}],"userAgent":"%s"' % (
        "kubectl/v1.32.4 (linux/amd64) " * 30)
    if seq % 4 != 2:
        value = '{"spec":{"replicas":%d,"text":"%s \\"b\\" \u20ac\\n"}, "tiny" :true}' % (
            seq, "a " * 1000)
        event += ', "requestObject": ' + commit("requestObject", value)
    if seq % 4 == 0:
        event += ',"responseObject":' + commit("responseObject", "null")
    return f'{head}"event":{event}}}}}'.encode(), opened


@functools.lru_cache(maxsize=None)
def record_of(size):
    made = [make_entry(seq) for seq in range(size)]
    return [entry for entry, _ in made], [opened for _, opened in made]


class Bundle:
    """A bundle in memory, of one log with events and one without."""

    is_copy = False

    def __init__(self, size, shown=None, spans=None, change=None, leaves=None, cosign=None):
        entries, opened = record_of(size)
        self.size, self.span = size, spans
        if shown is None:
            some = {0, 1, 3, size // 2, size * 3 // 4, size - 2, size - 1}
            shown = sorted(some & set(range(size)))
        self.shown = shown
        entries = [(leaves or {}).get(seq, entry) for seq, entry in enumerate(entries)]
        self.tree = Tree(entries)
        self.note = self.sign(f"{LOG.name}\n{size}\n{b64(self.tree.root(0, size))}\n", cosign)
        if change:
            self.note = change(self.note)
        self.files = {
            "policy.txt": POLICY.encode(), "export.vkey": EXPORT.vkey.encode() + b"\n",
            "verify.py": (HERE / "verify.py").read_bytes(), "prod/checkpoint": self.note.encode(),
        }
        for seq in shown:
            self.files[f"prod/entries/{seq}.json"] = entries[seq]
            self.files[f"prod/proofs/{seq}.tlog-proof"] = self.proof(seq).encode()
        lines = [
            json.dumps(
                {"seq": seq, "member": member, "salt": b64(salt), "value": value},
                ensure_ascii=False, separators=(",", ":"),
            ) + "\n"
            for seq in shown for member, salt, value in opened[seq] if member != "responseObject"
        ]
        if lines and not leaves:
            self.files["prod/disclosures.jsonl"] = "".join(lines).encode()
        stated = None
        if spans:
            begin, end = spans
            self.files["prod/range"] = self.range(begin, end).encode()
            withheld = end - begin - sum(begin <= seq < end for seq in shown)
            stated = {"from": begin, "to": end, "withheld": withheld}
        dev = f"{DEV.name}\n7\n{b64(sha256(b'seven'))}\n"
        self.files["dev/checkpoint"] = self.sign(dev, None, DEV).encode()
        self.manifest = {
            "format": 1, "made": "2026-11-25T19:00:00.000000Z", "query": "verb = \"delete\" \u20ac",
            "purpose": "case 7\n\x1b[2J", "logs": [
                {"cluster": "prod", "origin": LOG.name, "size": size, "events": len(shown),
                 "range": stated},
                {"cluster": "dev", "origin": DEV.name, "size": 7, "events": 0, "range": None},
            ], "files": {},
        }
        self.seal()

    def sign(self, text, cosign=None, log=LOG):
        keys = WITNESSES[:2] if cosign is None else cosign
        cosigned = [key.sign(text, 1_700_000_000 + at) for at, key in enumerate(keys)]
        return text + "\n" + "".join([STRANGERS[3].sign(text, 1), log.sign(text), *cosigned])

    def proof(self, seq, path=None):
        path = self.tree.path(seq, 0, self.size) if path is None else path
        hashes = "".join(b64(each) + "\n" for each in path)
        return f"c2sp.org/tlog-proof@v1\nindex {seq}\n{hashes}\n{self.note}"

    def range(self, begin, end):
        size, shown = self.size, set(self.shown)
        lines = [f"range {begin} {end}"]
        lines += [f"left {b64(each)}" for each in self.tree.cover(0, begin)]
        lines += [f"leaf {seq} {b64(self.tree.leaves[seq])}" for seq in range(begin, end)
                  if seq not in shown]
        lines += [f"right {b64(each)}" for each in self.cover_to_end(end)]
        return "".join(line + "\n" for line in lines)

    def cover_to_end(self, end):
        """Where the tree is not full, the subtrees of its right edge are those that are."""
        found, low, width = [], end, 1
        while low < self.size:
            while low % (width * 2) == 0 and low + width * 2 <= self.size:
                width *= 2
            while low + width > self.size:
                width //= 2
            found.append(self.tree.root(low, low + width))
            low += width
            if low % (width * 2):
                width = 1
        return found

    def seal(self, keep_files=False, key=EXPORT, text=None):
        """Writes and signs the manifest, as its maker would who has made the harm himself."""
        if not keep_files:
            own = ("manifest.json", "manifest.note")
            listed = sorted(set(self.files) - set(own))
            self.manifest["files"] = {name: sha256(self.files[name]).hex() for name in listed}
        manifest = json.dumps(self.manifest, indent=2, ensure_ascii=False) + "\n"
        self.write(manifest.encode(), key, text)

    def write(self, manifest, key=EXPORT, text=None):
        text = text or f"whodid export\n{sha256(manifest).hex()}\n"
        self.files["manifest.json"] = manifest
        line = key.stand_in(text) if self.is_copy else key.sign(text)
        self.files["manifest.note"] = (text + "\n" + line).encode()

    def copy(self):
        other = copy.copy(self)
        other.is_copy = True
        other.files, other.manifest = dict(self.files), copy.deepcopy(self.manifest)
        return other

    def log(self):
        return self.manifest["logs"][0]

    def replace(self, name, old, new, count=1):
        old, new = (each if isinstance(each, bytes) else each.encode() for each in (old, new))
        assert old in self.files[name], (name, old)
        self.files[name] = self.files[name].replace(old, new, count)

    def to_folder(self, path):
        for name, data in self.files.items():
            target = pathlib.Path(path, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

    def to_tar(self, path, change=None):
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, data in self.files.items():
                item = tarfile.TarInfo(name)
                item.size = len(data)
                archive.addfile(item, io.BytesIO(data))
            if change:
                change(archive)


class Memory:
    """What verify.Folder is for a folder."""

    def __init__(self, files):
        self.files, self.sizes = files, {name: len(data) for name, data in files.items()}

    def open(self, name):
        return io.BytesIO(self.files[name])


def run(arguments):
    """The verdict and everything that was printed, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        with mock.patch.object(verify, "openssl", openssl):
            status = verify.main(arguments)
    return status, out.getvalue(), err.getvalue()


def start(*arguments, **options):
    """The verdict of a process of its own."""
    command = [sys.executable, str(HERE / "verify.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


# What is done to a bundle, and a part of what has to be said about it. Each gets the bundle and the
# event in the middle of those shown; those of SEALED are followed by a new manifest with a right
# signature, so that nothing but the check it is meant for can refuse.

entry = lambda seq: f"prod/entries/{seq}.json"
proof = lambda seq: f"prod/proofs/{seq}.tlog-proof"
OPENED, SPAN = "prod/disclosures.jsonl", "prod/range"


def lines_of(name, change):
    def harm(bundle, seq):
        lines = bundle.files[name].decode().split("\n")[:-1]
        bundle.files[name] = "".join(line + "\n" for line in change(lines, bundle, seq)).encode()
    return harm


def sub(name, old, new):
    return lambda bundle, seq: bundle.replace(name(seq) if callable(name) else name, old, new)


def drop(*names):
    def harm(bundle, seq):
        for name in names:
            del bundle.files[name(seq) if callable(name) else name]
    return harm


def state(**members):
    return lambda bundle, seq: bundle.log().update(members)


def respell(text):
    """Other base64 of the same bytes: the bits that padding leaves over are not zero."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at = len(text.rstrip("=")) - 1
    return text[:at] + alphabet[alphabet.index(text[at]) + 1] + text[at + 1:]


def proof_of(lines):
    return lambda bundle, seq: bundle.files.update(
        {proof(seq): f"{lines}\n{bundle.note}".encode()})


def path_with(change):
    def harm(bundle, seq):
        bundle.files[proof(seq)] = bundle.proof(
            seq, change(bundle.tree.path(seq, 0, bundle.size))).encode()
    return harm


def hashed(change):
    """Changes the first hash of a proof, or of the range's lines, as text."""
    def harm(bundle, seq):
        text = b64(bundle.tree.path(seq, 0, bundle.size)[0])
        bundle.replace(proof(seq), text, change(text))
    return harm


def grow(bundle, seq):
    bundle.log()["size"] += 1


def swap_proofs(bundle, seq):
    other = bundle.shown[0] if bundle.shown[0] != seq else bundle.shown[-1]
    files = bundle.files
    files[proof(seq)], files[proof(other)] = files[proof(other)], files[proof(seq)]


def swap_entries(bundle, seq):
    other = bundle.shown[0] if bundle.shown[0] != seq else bundle.shown[-1]
    files = bundle.files
    files[entry(seq)], files[entry(other)] = files[entry(other)], files[entry(seq)]


def rename(bundle, seq):
    for name in (entry, proof):
        bundle.files[name(bundle.size)] = bundle.files.pop(name(seq))


def opened(**members):
    """Changes the first disclosure."""
    def change(lines, bundle, seq):
        value = {**json.loads(lines[0]), **members}
        return [json.dumps(value, ensure_ascii=False, separators=(",", ":"))] + lines[1:]
    return lines_of(OPENED, change)


MANY, INNER = (lambda bundle: bundle.size > 1), (lambda bundle: bool(bundle.span))
EDGES = lambda bundle: bool(bundle.span) and bundle.span[0] > 0 and bundle.span[1] < bundle.size

SEALED = [
    # The way to the root.
    ("an entry is another", sub(entry, 'webhook/', 'webhook/x'), "another root"),
    ("an entry has white space behind it", lambda b, s: b.files.update(
        {entry(s): b.files[entry(s)] + b"\n"}), "of another event"),
    ("entries change places", swap_entries, "of another event", MANY),
    ("proofs change places", swap_proofs, "another index", MANY),
    ("an event has another number", rename, "of another event"),
    ("an entry has no proof", drop(proof), "proofs"),
    ("a proof has no entry", drop(entry), "entries and"),
    ("an event is gone", drop(entry, proof), "the manifest says"),
    ("a number is spelled otherwise", lambda b, s: b.files.update(
        {f"prod/entries/0{s}.json": b"", f"prod/proofs/0{s}.tlog-proof": b""}), "this name"),
    ("a number is too large", lambda b, s: b.files.update(
        {entry(1 << 63): b"", proof(1 << 63): b""}), "below 2^63"),
    ("a proof has another index", sub(proof, "index ", "index 1"), "another index"),
    ("an index has a zero in front", sub(proof, "index ", "index 0"), "another index"),
    ("a proof has no index", sub(proof, "index ", "Index "), "another index"),
    ("a proof is of another kind", sub(proof, "proof@v1", "proof@v2"), "no proof file"),
    ("a proof's extra is no base64", sub(proof, "index ", "extra a b\nindex "), "not"),
    ("a proof has two extras", sub(proof, "index ", "extra \nextra \nindex "), "index"),
    ("a proof is only its first line", proof_of("c2sp.org/tlog-proof@v1\n"), "no proof file"),
    ("a proof is only extra", proof_of("c2sp.org/tlog-proof@v1\nextra \n"), "index"),
    ("a proof ends lines otherwise", lambda b, s: b.files.update(
        {proof(s): b.files[proof(s)].replace(b"\n", b"\r\n")}), "checkpoint"),
    ("a proof is cut off", lambda b, s: b.files.update(
        {proof(s): b.files[proof(s)][:-1]}), "checkpoint"),
    ("a proof is empty", lambda b, s: b.files.update({proof(s): b""}), "checkpoint"),
    ("a proof is no text", sub(proof, "index", b"\xff"), "not UTF-8"),
    ("a proof lacks a hash", path_with(lambda path: path[:-1]), "too few", MANY),
    ("a proof lacks its first hash", path_with(lambda path: path[1:]), "too few", MANY),
    ("a proof has a hash more", path_with(lambda path: path + [bytes(32)]), "too many"),
    ("a proof has 64 hashes", path_with(lambda path: [bytes(32)] * 64), "more than 63"),
    ("a proof has its hashes turned", path_with(lambda path: path[::-1]), "another root", MANY),
    ("a hash of a proof is another", path_with(
        lambda path: path[:-1] + [bytes(32)]), "another root", MANY),
    ("a hash is short", path_with(lambda path: [path[0][:31]] + path[1:]), "32 bytes", MANY),
    ("a hash is long", path_with(lambda path: [path[0] + b"x"] + path[1:]), "32 bytes", MANY),
    ("a hash is respelled", hashed(respell), "one spelling", MANY),
    ("a hash has no padding", hashed(lambda text: text.rstrip("=")), "base64", MANY),
    ("a hash has a space", hashed(lambda text: " " + text), "base64", MANY),
    ("a hash is in the other alphabet", hashed(lambda text: "-_" + text[2:]), "base64", MANY),
    ("an empty line between hashes", hashed(lambda text: text + "\n"), "32 bytes", MANY),
    ("a proof holds another checkpoint", sub(proof, f"\n{LOG.name}\n", "\nx\n"), "checkpoint"),
    # The checkpoint.
    ("the checkpoint is gone", drop("prod/checkpoint"), "prod/checkpoint: it is missing"),
    ("the checkpoint differs from the proofs'", lambda b, s: b.files.update(
        {"prod/checkpoint": b.files["prod/checkpoint"] + STRANGERS[3].sign("x\n", 2).encode()}),
     "does not hold the checkpoint"),
    ("the checkpoint is no note", sub("prod/checkpoint", "\n\n", "\n"), "no signed note"),
    ("the checkpoint is another cluster's", lambda b, s: b.files.update(
        {"prod/checkpoint": b.files["dev/checkpoint"]}), "another log"),
    # What is opened.
    ("a value is another", opened(value="false"), "not what the entry commits to"),
    ("a value is empty", opened(value=""), "not what the entry commits to"),
    ("a salt is another", opened(salt=b64(bytes(16))), "not what the entry commits to"),
    ("a salt is short", opened(salt=b64(bytes(15))), "not 16 bytes"),
    ("a salt is long", opened(salt=b64(bytes(17))), "not 16 bytes"),
    ("a member is not committed", opened(member="kind"), "no commitment"),
    ("a member is not there", opened(member="x"), "no commitment"),
    ("a number is text", opened(seq="0"), "another type"),
    ("a number is true", opened(seq=True), "another type"),
    ("a number is negative", opened(seq=-1), "out of bounds"),
    ("a number is huge", sub(OPENED, '"seq":0', '"seq":1' + "0" * 5000), "too long"),
    ("an event is not there", opened(seq=10 ** 6), "not in the bundle"),
    ("a member more", opened(why="so"), "exactly the members"),
    ("a disclosure twice", lines_of(OPENED, lambda lines, b, s: lines[:1] + lines), "already"),
    ("disclosures turned", lines_of(
        OPENED, lambda lines, b, s: lines[::-1]), "another order", MANY),
    ("white space", lines_of(OPENED, lambda lines, b, s: [lines[0] + " "] + lines[1:]), "spelling"),
    ("white space within", sub(OPENED, '"seq":', '"seq": '), "spelling"),
    ("members turned", lines_of(OPENED, lambda lines, b, s: [json.dumps(dict(
        sorted(json.loads(lines[0]).items())), separators=(",", ":"))] + lines[1:]), "spelling"),
    ("a member twice", sub(OPENED, '{"seq"', '{"seq":1,"seq"'), "twice"),
    ("an escape too many", sub(OPENED, '"member":"r', '"member":"\\u0072'), "spelling"),
    ("half of a character", sub(OPENED, '"value":"', '"value":"\\ud800'), "spelling"),
    ("a constant that is no JSON", sub(OPENED, '{"seq":0', '{"seq":NaN'), "no JSON"),
    ("a line that is no JSON", lines_of(OPENED, lambda lines, b, s: ["{"] + lines), "no JSON"),
    ("a line nested deep", lines_of(
        OPENED, lambda lines, b, s: ["[" * 100_000] + lines), "nested too deep"),
    ("an empty line", lines_of(OPENED, lambda lines, b, s: [""] + lines), "no JSON"),
    ("a last line without end", lambda b, s: b.files.update(
        {OPENED: b.files[OPENED][:-1]}), "no end"),
    ("disclosures end otherwise", lambda b, s: b.files.update(
        {OPENED: b.files[OPENED].replace(b"\n", b"\r\n")}), "spelling"),
    ("no disclosure", lambda b, s: b.files.update({OPENED: b""}), "opens nothing"),
    ("disclosures of a log without events", lambda b, s: b.files.update(
        {"dev/disclosures.jsonl": b.files[OPENED]}), "not in the bundle"),
    # The range.
    ("the range is gone", drop(SPAN), "prod/range: it is missing", INNER),
    ("the range is not stated", state(range=None), "does not say that there is", INNER),
    ("a range that is not there", lambda b, s: b.manifest["logs"][1].update(
        range={"from": 0, "to": 1, "withheld": 1}), "dev/range: it is missing"),
    ("a leaf more is withheld", lambda b, s: b.log()["range"].update(
        withheld=b.log()["range"]["withheld"] + 1), "withheld", INNER),
    ("the range ends later", lambda b, s: b.log()["range"].update(
        to=b.size + 1), "not within", INNER),
    ("the range is empty", lambda b, s: b.log()["range"].update(
        {"from": b.span[1]}), "it is empty", INNER),
    ("the range is stated otherwise", lines_of(
        SPAN, lambda lines, b, s: ["range 0 0"] + lines[1:]), "first line", INNER),
    ("the range has a line more", lines_of(
        SPAN, lambda lines, b, s: lines + [f"right {b64(bytes(32))}"]), "more lines", INNER),
    ("the range lacks its last line", lines_of(
        SPAN, lambda lines, b, s: lines[:-1]), "line", lambda b: bool(b.span) and b.size > 1),
    ("the range ends lines otherwise", lines_of(
        SPAN, lambda lines, b, s: [line + "\r" for line in lines]), "first line", INNER),
    ("an edge of the range is another", lines_of(SPAN, lambda lines, b, s: [
        f"left {b64(bytes(32))}" if line.startswith("left") else line for line in lines
    ]), "another root", EDGES),
    ("an edge to the right is another", lines_of(SPAN, lambda lines, b, s: [
        f"right {b64(bytes(32))}" if line.startswith("right") else line for line in lines
    ]), "another root", EDGES),
    ("the left edge is gone", lines_of(SPAN, lambda lines, b, s: [
        line for line in lines if not line.startswith("left")]), "should begin", EDGES),
    ("the right edge is gone", lines_of(SPAN, lambda lines, b, s: [
        line for line in lines if not line.startswith("right")]), "should begin", EDGES),
    ("a withheld leaf is gone", lines_of(SPAN, lambda lines, b, s: [
        line for at, line in enumerate(lines) if at != first_leaf(lines) + 1
    ]), "should begin", EDGES),
    ("a withheld leaf is another", lines_of(SPAN, lambda lines, b, s: [
        line[:-44] + b64(bytes(32)) if at == first_leaf(lines) else line
        for at, line in enumerate(lines)]), "another root", EDGES),
    ("withheld leaves are numbered otherwise", lines_of(SPAN, lambda lines, b, s: [
        line.replace("leaf ", "leaf 0") for line in lines]), "should begin", EDGES),
    ("a shown leaf is withheld, too", lines_of(SPAN, lambda lines, b, s: [
        each for line in lines for each in (
            [f"leaf {s} {b64(b.tree.leaves[s])}", line] if line.startswith(f"leaf {s + 1} ")
            else [line])]), "should begin", EDGES),
    ("an event of the range is gone", lambda b, s: (
        drop(entry, proof)(b, s), state(events=len(b.shown) - 1)(b, s), b.log()["range"].update(
            withheld=b.log()["range"]["withheld"] + 1)), "should begin", EDGES),
    # The manifest.
    ("an event more is stated", lambda b, s: state(events=len(b.shown) + 1)(b, s), "says"),
    ("another size is stated", grow, "another size"),
    ("another origin is stated", state(origin=DEV.name), "not a log of this cluster"),
    ("another cluster is stated", state(cluster="staging"), "no file of a bundle"),
    ("another format", lambda b, s: b.manifest.update(format=2), "format 2"),
    ("the format is true", lambda b, s: b.manifest.update(format=True), "another type"),
    ("a time in other words", lambda b, s: b.manifest.update(made="today"), "when it was made"),
    ("a member less", lambda b, s: b.manifest.pop("purpose"), "exactly the members"),
    ("a member more", lambda b, s: b.manifest.update(x=1), "exactly the members"),
    ("a range of other members", state(range={"from": 0}), "exactly the members"),
    ("a number is a fraction", state(size=1.5), "another type"),
    ("a log is the list of its members", lambda b, s: b.manifest["logs"].append(
        list(b.log())), "exactly the members"),
    ("no logs", lambda b, s: b.manifest.update(logs=[]), "it has no log"),
    ("a log twice", lambda b, s: b.manifest["logs"].append(b.log()), "or one twice"),
    ("a cluster that is a path", state(cluster="../prod"), "not the name of a cluster"),
    ("no log but that of the record itself", state(cluster="meta"), "no file of a bundle"),
    ("a file more", lambda b, s: b.files.update({"notes.txt": b"x"}), "has this name"),
    ("a file of another cluster", lambda b, s: b.files.update({"a/range": b"x"}), "has this name"),
    ("a file with a path", lambda b, s: b.files.update({"../x": b"x"}), "has this name"),
    ("no policy", drop("policy.txt"), "policy.txt: it is missing"),
    ("no program", drop("verify.py"), "verify.py: it is missing"),
    ("no export key", drop("export.vkey"), "export.vkey: it is missing"),
]


def first_leaf(lines):
    return next(at for at, line in enumerate(lines) if line.startswith("leaf"))


def flip(data, at, bit=0):
    return data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1:]


def spans_of(size):
    """No range, the whole tree, and one that has edges on both sides."""
    return [None, (0, size)] + ([(size // 3, size - 2)] if size > 3 else [])


class Case(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.trust = [
            "--policy", cls.file("policy", POLICY), "--export-key", cls.file("key", EXPORT.vkey)
        ]

    @classmethod
    def file(cls, name, text):
        path = pathlib.Path(cls.folder.name, name)
        path.write_text(text)
        return str(path)

    def verdict(self, bundle, trust=None):
        with mock.patch.object(verify, "Folder", lambda path, report: Memory(bundle.files)):
            return run([str(HERE), *(self.trust if trust is None else trust)])

    def holds(self, bundle, trust=None):
        tried["whole"] += 1
        status, out, err = self.verdict(bundle, trust)
        self.assertEqual((status, err if trust is None else ""), (0, ""), err)
        self.assertIn("verified: ", out)
        return out

    def refuses(self, bundle, why, trust=None):
        tried["harms"] += 1
        status, out, err = self.verdict(bundle, trust)
        self.refused(status, out + err, why)

    def refused(self, status, said, why):
        self.assertEqual(status, 1, said)
        self.assertIn(why, said)
        self.assertNotIn("\nverified: ", "\n" + said)
        # A fault of the program is a refusal, too, but not one of these.
        self.assertNotIn("could not be checked", said)
        self.assertNotIn("Traceback", said)


class Harms(Case):
    def bundles(self):
        for size in SIZES:
            for spans in spans_of(size):
                with self.subTest(size=size, spans=spans):
                    yield Bundle(size, spans=spans)

    def test_whole_bundles_hold(self):
        for bundle in self.bundles():
            self.holds(bundle)
            self.holds(bundle, [])

    def test_sealed_harms(self):
        for whole in self.bundles():
            seq = whole.shown[len(whole.shown) // 2]
            for name, harm, why, *when in SEALED:
                if not all(each(whole) for each in when):
                    continue
                with self.subTest(harm=name):
                    bundle = whole.copy()
                    harm(bundle, seq)
                    bundle.seal()
                    self.refuses(bundle, why)

    def test_every_file_flipped_dropped_or_replaced(self):
        chance = random.Random(1)
        for whole in self.bundles():
            for name, data in whole.files.items():
                for at in {0, len(data) - 1, *chance.choices(range(len(data)), k=4)}:
                    bundle = whole.copy()
                    bundle.files[name] = flip(data, at, chance.randrange(8))
                    with self.subTest(flipped=name, at=at):
                        self.refuses(bundle, "FAILED")
                bundle = whole.copy()
                del bundle.files[name]
                self.refuses(bundle, "it is missing")
                for other in (b"", data + b"\n", data[:-1], b"\0" * len(data)):
                    bundle.files[name] = other
                    with self.subTest(replaced=name, by=other[:20]):
                        self.refuses(bundle, "FAILED")

    def test_sealed_flips(self):
        """Whoever signs the manifest cannot change anything that the log vouches for."""
        chance = random.Random(2)
        for whole in self.bundles():
            names = [name for name in whole.files if name.startswith("prod/")]
            for name in names:
                data = whole.files[name]
                for at in chance.choices(range(len(data)), k=3):
                    bundle = whole.copy()
                    bundle.files[name] = flip(data, at, chance.randrange(8))
                    bundle.seal()
                    with self.subTest(flipped=name, at=at):
                        self.refuses(bundle, "FAILED")

    def test_dropped_lines(self):
        for whole in self.bundles():
            for name in (OPENED, SPAN):
                if name in whole.files:
                    bundle = whole.copy()
                    lines = bundle.files[name].split(b"\n")
                    bundle.files[name] = b"\n".join(lines[:1] + lines[2:])
                    self.refuses(bundle, name)


class Signatures(Case):
    """Whose word counts."""

    def test_quorums(self):
        g, h = "group g any w1 w2\n", "group g 2 w1 w2 w3\ngroup h all g\n"
        for lines, seen_by, is_enough in [
            ("quorum none\n", [], True), ("quorum w1\n", [], False), ("quorum w1\n", [1, 2], False),
            ("quorum w1\n", [0], True), (g + "quorum g\n", [2], False),
            (g + "quorum g\n", [1], True), ("group g all w1 w2\nquorum g\n", [1], False),
            ("group g all w1 w2\nquorum g\n", [0, 1], True), (h + "quorum h\n", [0], False),
            (h + "quorum h\n", [0, 2], True), (h + "quorum g\n", [1, 2], True),
            (g + "# between\n\ngroup h all g w3\nquorum h\n", [0, 1], False),
            (g + "\tgroup  h 2 g w3 \nquorum h\n", [1, 2], True),
        ]:
            with self.subTest(lines=lines, seen_by=seen_by):
                bundle = Bundle(9, cosign=[WITNESSES[at] for at in seen_by])
                # A log's own policy may ask for less: here that of dev, which nobody saw.
                del bundle.manifest["logs"][1], bundle.files["dev/checkpoint"]
                bundle.seal()
                trust = ["--policy", self.file("other", LOGS + SEEN + lines)]
                if is_enough:
                    self.holds(bundle, trust)
                else:
                    self.refuses(bundle, "no quorum", trust)

    def test_checkpoints(self):
        head = lambda note: note.split("\n\n")[0] + "\n"
        text = lambda note, change: Bundle.sign(None, change(head(note)))
        without = lambda note, key: "".join(
            line for line in note.splitlines(True) if not line.startswith(f"\u2014 {key.name} "))
        again = lambda signer, at=0: lambda note: without(note, signer) + signer.sign("x\n", at)
        cases = [
            ("not signed by the log", lambda note: without(note, LOG), "not signed by"),
            ("seen by one of two", lambda note: without(note, WITNESSES[1]), "no quorum"),
            ("seen by nobody", lambda note: without(without(note, WITNESSES[0]), WITNESSES[1]),
             "no quorum"),
            ("signed by a key of the same name", lambda note: without(note, LOG) + STRANGERS[
                0].sign(head(note)), "not signed by"),
            ("seen by a key of the same name", lambda note: without(note, WITNESSES[0]) + STRANGERS[
                2].sign(head(note), 5), "no quorum"),
            ("the log signed something else", again(LOG), "is not valid"),
            ("a witness saw something else", again(WITNESSES[0], 5), "is not valid"),
            ("a further signature is forged", lambda note: note + WITNESSES[2].sign("x\n", 5),
             "is not valid"),
            ("a witness signed as a log does", lambda note: without(
                note, WITNESSES[0]) + relabel(LOG.sign(head(note)), WITNESSES[0]), "is not valid"),
            ("a log signed as a witness does", lambda note: without(note, LOG) + relabel(
                WITNESSES[0].sign(head(note), 5), LOG), "is not valid"),
            ("seen after the end of time", lambda note: note + WITNESSES[2].sign(
                head(note), 1 << 63), "is not valid"),
            ("a signature of 65 bytes", lambda note: without(note, LOG) + lengthen(
                LOG.sign(head(note))), "is not valid"),
            ("seen at another time", lambda note: retime(note, WITNESSES[0]), "is not valid"),
            ("a tree without leaves", lambda note: text(
                note, lambda text: text.replace("\n9\n", "\n0\n")), "without leaves"),
            ("another size", lambda note: text(
                note, lambda text: text.replace("\n9\n", "\n8\n")), "another size"),
            ("a size with a zero", lambda note: text(
                note, lambda text: text.replace("\n9\n", "\n09\n")), "one spelling"),
            ("another root", lambda note: text(
                note, lambda text: text[:-45] + b64(bytes(32)) + "\n"), "another root"),
            ("a root respelled", lambda note: text(
                note, lambda text: text[:-45] + respell(text[-45:-1]) + "\n"), "one spelling"),
            ("an empty line", lambda note: text(note, lambda text: text + "\n"), "empty one"),
            ("another origin", lambda note: text(
                note, lambda text: "x" + text), "another log"),
            ("101 signatures", lambda note: note + STRANGERS[3].sign("x\n", 3) * 97, "too many"),
            ("a signature without dash", lambda note: note.replace("\u2014", "-", 1), "be read"),
            ("a signature with a space more", lambda note: note.replace(
                "\u2014 ", "\u2014  ", 1), "be read"),
            ("a word behind a signature", lambda note: note[:-1] + " x\n", "be read"),
            ("a signature of nobody", lambda note: note + "\u2014  eHh4eHh4\n", "be read"),
            ("a name with a plus", lambda note: note + "\u2014 a+b eHh4eHh4\n", "be read"),
            ("a signature of three bytes", lambda note: note + "\u2014 x eHh4\n", "too short"),
            ("one line", lambda note: Bundle.sign(None, "x\n"), "fewer than three lines"),
            ("two lines", lambda note: Bundle.sign(None, "x\n9\n"), "fewer than three lines"),
            ("a line behind the signatures", lambda note: note + "x\n", "be read"),
            ("half a line", lambda note: note[:-1], "half of one"),
            ("a carriage return", lambda note: note.replace("\n9\n", "\n9\r\n"), "signed note"),
        ]
        for name, change, why in cases:
            with self.subTest(harm=name):
                self.refuses(Bundle(9, change=change), why)
        extended = lambda note: text(note, lambda text: text + "what others add\n")
        for name, change in [
            ("100 signatures", lambda note: note + STRANGERS[3].sign("x\n", 3) * 96),
            ("a witness that signed twice", lambda note: note + WITNESSES[0].sign(head(note), 9)),
            ("an extension", extended),
        ]:
            with self.subTest(whole=name):
                self.holds(Bundle(9, change=change))

    def test_a_log_speaks_for_its_own_cluster(self):
        def of_dev(note):
            text = note.split("\n\n")[0].replace(LOG.name, DEV.name) + "\n"
            return Bundle.sign(None, text, None, DEV)

        bundle = Bundle(9, change=of_dev)
        bundle.log()["origin"] = DEV.name
        bundle.seal()
        self.refuses(bundle, "not a log of this cluster")

    def test_a_log_that_goes_on(self):
        for number, is_one in {"2": 1, "10": 1, "1": 0, "02": 0, "x": 0}.items():
            log = Signer(f"{LOG.name}/{number}")
            again = lambda note: Bundle.sign(
                None, note.split("\n\n")[0].replace(LOG.name, log.name) + "\n", None, log)
            bundle = Bundle(9, change=again)
            bundle.log()["origin"] = log.name
            bundle.seal()
            trust = ["--policy", self.file("next", f"log {log.vkey}\n{POLICY}")]
            if is_one:
                self.holds(bundle, trust)
            else:
                self.refuses(bundle, "not a log of this cluster", trust)

    def test_policies(self):
        other = Signer(LOG.name)
        bundle = Bundle(257, spans=(0, 257))
        for lines, why in [
            (f"log {other.vkey}\nlog {DEV.vkey}\nquorum none\n", "not signed by"),
            (f"log {DEV.vkey}\nquorum none\n", "the policy knows no log"),
            (f"quorum none\n", "the policy knows no log"),
            (f"{LOGS}witness a {STRANGERS[2].vkey}\nquorum a\n", "no quorum"),
        ]:
            with self.subTest(policy=lines):
                self.refuses(bundle, why, ["--policy", self.file("other", lines)])
        # The old key and the new one of a log, either of which may have signed.
        self.holds(bundle, ["--policy", self.file("other", f"log {other.vkey}\n{POLICY}")])
        # That of the bundle does not count where another is given.
        bundle.files["policy.txt"] = b"x"
        bundle.seal()
        self.holds(bundle)
        self.refuses(bundle, "policy.txt: line 1", [])

    def test_what_is_no_policy(self):
        w1, w2, log = WITNESSES[0].vkey, WITNESSES[1].vkey, LOG.vkey

        def vkey(name, data):
            id_ = sha256(name.encode() + b"\n" + data)[:4]
            return f"{name}+{id_.hex()}+{b64(data)}"

        for text in [
            "", f"log {log}\n", f"log {log}\nlog {log}\nquorum none\n", f"log {w1}\nquorum none\n",
            f"witness a {log}\nquorum none\n", f"witness a {w1}\nwitness b {w1}\nquorum none\n",
            f"witness a {w1}\nwitness a {w2}\nquorum none\n", f"witness none {w1}\nquorum none\n",
            f"quorum a\nwitness a {w1}\n", "quorum none\nquorum none\n",
            f"witness a {w1}\ngroup g 2 a\nquorum g\n", f"witness a {w1}\ngroup g 0 a\nquorum g\n",
            f"witness a {w1}\ngroup g 01 a\nquorum g\n", f"witness a {w1}\ngroup g all\nquorum g\n",
            f"witness a {w1}\ngroup g all a a\nquorum g\n",
            f"witness a {w1}\ngroup g all a\ngroup h all a\nquorum h\n",
            "group g all g\nquorum g\n", "group g all none\nquorum g\n",
            f"logs {log}\nquorum none\n", f"log {log} a b\nquorum none\n",
            f"log {log}\r\nquorum none\n", f"# \x1b\nlog {log}\nquorum none\n",
            "log x\nquorum none\n", f"log {log[:-1]}\nquorum none\n",
            f"log {log.replace('+', ' ', 1)}\nquorum none\n", f"log x{log}\nquorum none\n",
            f"log {respell(log) if log.endswith('=') else log + '='}\nquorum none\n",
            # A key under which anybody can sign.
            f"witness a {vkey('w.example', bytes([4, 1]) + bytes(31))}\nquorum a\n",
            f"log {vkey('log.example', bytes([1]) + b'k' * 33)}\nquorum none\n",
            f"log {vkey('a' + chr(0xA0) + 'b', bytes([1]) + LOG.key)}\nquorum none\n",
        ]:
            with self.subTest(policy=text):
                tried["harms"] += 1
                status, _, err = self.verdict(Bundle(1), ["--policy", self.file("none", text)])
                self.assertEqual(status, 2, err)
                self.assertIn("error: ", err)

    def test_export_keys(self):
        other = Signer(EXPORT.name)
        whole, trust = Bundle(9), lambda key: ["--export-key", self.file("other", key.vkey + "\n")]
        self.holds(whole, trust(EXPORT))
        self.refuses(whole, "not signed by", trust(other))
        forged = whole.copy()
        forged.files["export.vkey"] = other.vkey.encode()
        forged.seal(key=other)
        # Somebody else's bundle holds by its own key alone, so the key has to come from elsewhere.
        self.holds(forged, [])
        self.refuses(forged, "not signed by")
        for name, harm, why in [
            ("signed by a stranger", lambda b: b.seal(key=STRANGERS[1]), "not signed by"),
            ("another text", lambda b: b.seal(text="whodid export\n" + "0" * 64 + "\n"), "another"),
            ("a text more", lambda b: b.seal(text="x\nwhodid export\n" + sha256(
                b.files["manifest.json"]).hex() + "\n"), "another manifest"),
            ("a log's name", lambda b: (b.files.update(
                {"export.vkey": LOG.vkey.encode()}), b.seal(key=LOG)), "the name of an export key"),
            ("a witness's key", lambda b: (b.files.update(
                {"export.vkey": WITNESSES[0].vkey.encode()}), b.seal()), "of another type"),
            ("of another record", lambda b: (b.files.update(
                {"export.vkey": ELSEWHERE.vkey.encode()}), b.seal(key=ELSEWHERE)),
             "not a log of this cluster"),
        ]:
            with self.subTest(harm=name):
                bundle = whole.copy()
                harm(bundle)
                self.refuses(bundle, why, [])


ELSEWHERE = Signer("elsewhere.example/export")


def relabel(line, key):
    """A signature that says another key made it."""
    data = base64.b64decode(line.split(" ")[2])
    return f"\u2014 {key.name} {b64(key.id + data[4:])}\n"


def lengthen(line):
    start, data = line.rsplit(" ", 1)
    return f"{start} {b64(base64.b64decode(data) + b'x')}\n"


def retime(note, key):
    lines = note.splitlines(True)
    for at, line in enumerate(lines):
        if line.startswith(f"\u2014 {key.name} "):
            data = base64.b64decode(line.split(" ")[2])
            lines[at] = f"\u2014 {key.name} {b64(data[:11] + b'!' + data[12:])}\n"
    return "".join(lines)


class Entries(Case):
    """What is in the log's tree, and yet no entry that can be shown."""

    def test_entries(self):
        head = '{"v":1,"seq":4,"cluster":"prod","source":"file/a","received":"%s",' % (
            "2026-11-25T18:29:38.600922Z")
        deep = lambda levels: head + '"event":{"a":' + "[" * levels + "]" * levels + "}}"
        for name, text, why in [
            ("of another event", make_entry(5)[0], "another event"),
            ("of another cluster", make_entry(4, "dev")[0], "another event"),
            ("of another version", head.replace('"v":1', '"v":2') + '"event":{}}', "another event"),
            ("a number respelled", head.replace(":4", ":04") + '"event":{}}', "another event"),
            ("a record of the meta log", head + '"record":{}}', "members of an entry"),
            ("a second number", head + '"event":{},"seq":5}', "members of an entry"),
            ("event and raw", head + '"event":{},"raw":""}', "members of an entry"),
            ("no event", head[:-1] + "}", "members of an entry"),
            ("another member", head.replace("received", "at") + '"event":{}}', "of an entry"),
            ("a time that is null", head.replace('"2026-11-25T18:29:38.600922Z"', "null")
             + '"event":{}}', "when it was received"),
            ("no time", head.replace("Z", "") + '"event":{}}', "when it was received"),
            ("an event that is a list", head + '"event":[["a",{"$c":""}]]}', "no object"),
            ("an event that is text", head + '"event":"x"}', "no object"),
            ("a member twice", head + '"event":{"a":1,"\\u0061":2}}', "a member twice"),
            ("no JSON", head + '"event":{"a":01}}', "no JSON"),
            ("no end", head + '"event":{}', "no JSON"),
            ("no number", head + '"event":{"a":Infinity}}', "no JSON"),
            ("too deep", deep(30_000), "nested too deep"),
            ("too long", head + '"event":{"a":"' + "x" * 65_535 + '"}}', "longer than 65535"),
            ("no UTF-8", head.encode() + b'"event":{"a":"\xff"}}', "not UTF-8"),
        ]:
            with self.subTest(entry=name):
                text = text if isinstance(text, bytes) else text.encode()
                self.refuses(Bundle(9, shown=[0, 4], leaves={4: text}), why)
        for text in [
            deep(510), head + '"event":{"a":' + "9" * 60_000 + "}}",
            head + '"raw":"","bytes":20000000,"sha256":"' + "0" * 64 + '"}',
        ]:
            self.holds(Bundle(9, shown=[0, 4], leaves={4: text.encode()}))

    def test_a_leaf_behind_the_last(self):
        bundle = Bundle(1, leaves={0: make_entry(1)[0]})
        bundle.files[entry(1)], bundle.files[proof(1)] = (
            bundle.files.pop(entry(0)), bundle.files.pop(proof(0)).replace(b"index 0", b"index 1"))
        bundle.seal()
        self.refuses(bundle, "not below the size")

    def test_the_largest_tree(self):
        size, path = (1 << 63) - 1, [sha256(bytes([at])) for at in range(63)]
        root = sha256(b"\0" + make_entry(0)[0])
        for sibling in path:
            root = sha256(b"\1" + root + sibling)
        bundle = Bundle(1, change=lambda note: Bundle.sign(
            None, f"{LOG.name}\n{size}\n{b64(root)}\n"))
        bundle.files[proof(0)] = bundle.proof(0, path).encode()
        bundle.log()["size"] = size
        bundle.seal()
        self.holds(bundle)

    def test_extra_is_read_over(self):
        bundle = Bundle(9)
        bundle.replace(proof(4), "index 4\n", f"extra {b64(b'index 5')}\nindex 4\n")
        bundle.seal()
        self.holds(bundle)

    def test_counts_and_control_characters(self):
        out = self.holds(Bundle(257, shown=[0, 1, 2, 3, 7], spans=(0, 200)))
        for line in [
            "verified: 5 events of 2 logs, in 17 files",
            "prod: 5 of 200 events from 0 to 199 shown",
            "prod: 5 events; 3 of 4 committed values opened", "purpose: case 7\\n\\x1b[2J",
            "prod: seen by w1 2023-11-14T22:13:20Z",
        ]:
            self.assertIn(line, out)
        status, out, err = self.verdict(Bundle(9), [*self.trust, "--quiet"])
        self.assertEqual((status, out, err), (0, "", ""))

    def test_manifests(self):
        whole = Bundle(9)
        text = whole.files["manifest.json"].decode()
        for old, new, why in [
            ('"format": 1', '"format": 1, "format": 1', "twice"), ("{", "[", "no JSON"),
            ('"format": 1', '"format": ' + "1" * 5000, "too long"), ("{", "\ufeff{", "no JSON"),
            ('"purpose"', '"purpose": NaN, "x"', "no JSON"), ("}\n", "} x\n", "no JSON"),
            ('": "' + sha256(POLICY.encode()).hex(), '": "' + "0" * 64, "another SHA-256"),
            (sha256(POLICY.encode()).hex(), sha256(POLICY.encode()).hex().upper(), "no SHA-256"),
            (f'"{sha256(POLICY.encode()).hex()}"', "1", "no SHA-256"),
            (f'    "policy.txt": "{sha256(POLICY.encode()).hex()}",\n', "", "does not list it"),
            ('"prod/checkpoint"', '"prod/Checkpoint"', "has this name"),
            ('"events": 7', '"events": true', "another type"),
        ]:
            with self.subTest(new=new):
                bundle = whole.copy()
                self.assertIn(old, text)
                at = text.rindex(old) if old == "}\n" else text.index(old)
                bundle.write((text[:at] + new + text[at + len(old):]).encode())
                self.refuses(bundle, why)
        for data in (b"", b"\xff", b"[" * 100_000, b"{}"):
            bundle.write(data)
            self.refuses(bundle, "manifest.json")


    def test_manifests_of_other_types(self):
        def spots(value):
            """Every place in the manifest, as its container and key."""
            if isinstance(value, (dict, list)):
                for key in value if isinstance(value, dict) else range(len(value)):
                    yield value, key
                    yield from spots(value[key])

        whole = Bundle(9, spans=(2, 7))
        for at, (_, key) in enumerate(list(spots(whole.manifest))):
            for other in (None, True, -1, 1.5, 1 << 62, 1 << 63, "", "x/y", [], [[]], {}, {"a": 1}):
                if key in ("query", "purpose") and isinstance(other, str):
                    continue
                bundle = whole.copy()
                container, _ = list(spots(bundle.manifest))[at]
                if container[key] is other:
                    continue
                container[key] = other
                bundle.seal(keep_files=True)
                with self.subTest(key=key, other=other):
                    self.refuses(bundle, "FAILED")


class Files(Case):
    """Folders and archives, in processes of their own."""

    def test_folder_and_archive(self):
        folder = pathlib.Path(self.folder.name, "b")
        archive = folder.with_suffix(".tar")
        bundle = Bundle(1000, spans=(100, 300))
        bundle.to_folder(folder)
        bundle.to_tar(archive)
        for place in (folder, archive):
            ended = start(place, *self.trust)
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            self.assertIn("verified: ", ended.stdout)
        # The copy in the bundle checks the bundle it is in.
        ended = subprocess.run(
            [sys.executable, "-B", str(folder / "verify.py")], capture_output=True, text=True)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual(ended.stderr.count("proves nothing to you"), 2)
        for name in ("a", "prod/entries/x", "prod/a/b"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"")
            self.harm(start(folder, *self.trust), f"{name}: the manifest does not list it")
            (folder / name).unlink()
        checkpoint = folder / "prod/checkpoint"
        checkpoint.rename(folder.parent / "outside")
        checkpoint.symlink_to(folder.parent / "outside")
        self.harm(start(folder, *self.trust), "neither a file nor a folder")
        checkpoint.unlink()
        os.mkfifo(checkpoint)
        self.harm(start(folder, *self.trust), "neither a file nor a folder")

    def harm(self, ended, why):
        tried["harms"] += 1
        self.refused(ended.returncode, ended.stdout + ended.stderr, why)

    def test_archives(self):
        path, whole = os.path.join(self.folder.name, "a.tar"), Bundle(9)

        def member(name, data=b"", **header):
            item = tarfile.TarInfo(name)
            item.size = len(data)
            for field, value in header.items():
                setattr(item, field, value)
            return lambda archive: archive.addfile(item, io.BytesIO(data))

        for name, change, why in [
            ("an absolute path", member("/x", b"x"), "leads out"),
            ("a path upwards", member("prod/../../x", b"x"), "leads out"),
            ("a path with a dot", member("prod/./x", b"x"), "leads out"),
            ("a path with two slashes", member("prod//x", b"x"), "leads out"),
            ("a file that is there", member("policy.txt", POLICY.encode()), "twice"),
            ("the same by another name", member("./policy.txt", POLICY.encode()), "twice"),
            ("a file more", member("x", b"x"), "does not list it"),
            ("a symbolic link", member("x", type=tarfile.SYMTYPE, linkname="y"), "no plain file"),
            ("a hard link", member("x", type=tarfile.LNKTYPE, linkname="policy.txt"), "no plain"),
            ("a pipe", member("x", type=tarfile.FIFOTYPE), "no plain file"),
            ("a device", member("x", type=tarfile.CHRTYPE), "no plain file"),
            ("an extension", member("x", b"20 path=policy.txt\n", type=b"x"), "no plain file"),
            ("a long name", member("x", b"policy.txt\0", type=b"L"), "no plain file"),
            ("a sparse file", member("x", b"", type=tarfile.GNUTYPE_SPARSE), "no plain file"),
            ("a folder with bytes", member("x", b"x" * 512, type=tarfile.DIRTYPE), "with bytes"),
        ]:
            with self.subTest(archive=name):
                whole.to_tar(path, change)
                tried["harms"] += 1
                status, out, err = run([path, *self.trust])
                self.refused(status, out + err, why)
        for name in ("./", "./prod/", "prod/entries"):
            whole.to_tar(path, member(name, type=tarfile.DIRTYPE))
            self.assertEqual(run([path, *self.trust])[0], 0)
        data, positions = pathlib.Path(path).read_bytes(), self.positions(path, 300)
        for name, other, why in [
            ("cut off", data[:5000], "ends within"), ("no archive", b"x" * 1024, "no tar archive"),
            ("a header cut off", data[:100], "no tar archive"), ("empty", b"", "it is missing"),
            ("something behind", data + data, "behind its end"),
            ("a checksum", flip(data, 0), "another checksum"),
            ("a size", data[:124] + b"99999999999\0" + data[136:], "checksum"),
        ]:
            with self.subTest(archive=name):
                self.archive(path, other, why)
        for at in positions:
            with self.subTest(flipped=at):
                self.archive(path, flip(data, at, at % 8), "FAILED")

    def positions(self, path, count):
        """Some of the bytes that count: not the padding, nor what a checksum ends with."""
        with tarfile.open(path) as archive:
            spans = [range(item.offset_data, item.offset_data + item.size) for item in archive]
            spans += [range(item.offset, item.offset + 148) for item in archive]
            spans += [range(item.offset + 156, item.offset + 512) for item in archive]
        return random.Random(3).sample([at for span in spans for at in span], count)

    def archived(self, path, data):
        pathlib.Path(path).write_bytes(data)
        return run([path, *self.trust])

    def archive(self, path, data, why):
        tried["harms"] += 1
        status, out, err = self.archived(path, data)
        self.refused(status, out + err, why)

    def test_bounds(self):
        folder = os.path.join(self.folder.name, "d")
        bundle = Bundle(9)
        bundle.to_folder(folder)
        bundle.to_tar(folder + ".tar")
        count = len(bundle.files)
        for place in (folder, folder + ".tar"):
            for most, status in [(count, 0), (count - 1, 1)]:
                with mock.patch.object(verify, "FILES_MAX", most):
                    self.assertEqual(run([place, *self.trust])[0], status)
        for name, limit in [("manifest.json", "MANIFEST_MAX"), ("prod/checkpoint", "NOTE_MAX"),
                            ("verify.py", "SCRIPT_MAX"), ("policy.txt", "POLICY_MAX")]:
            size = len(bundle.files[name])
            for most, status in [(size, 0), (size - 1, 2 if name == "policy.txt" else 1)]:
                with mock.patch.object(verify, limit, most):
                    self.assertEqual(run([folder, *self.trust])[0], status, name)
        # Without a verdict nothing holds, and what is not shown is counted.
        with mock.patch.object(verify, "check_files", side_effect=KeyError("x")):
            self.assertEqual(run([folder])[0], 1)
        for name in ("a", "b", "c"):
            pathlib.Path(folder, name).write_bytes(b"")
        with mock.patch.object(verify, "FAILURES_SHOWN_MAX", 2):
            status, _, err = run([folder, *self.trust])
        self.assertEqual((status, err.count("FAILED")), (1, 2))
        self.assertIn("3 failures, 1 of them not shown", err)

    def test_usage(self):
        folder = os.path.join(self.folder.name, "c")
        Bundle(9).to_folder(folder)
        none = os.path.join(self.folder.name, "none")
        for arguments in ([none], [folder, "--policy", none], [folder, "--export-key", none],
                          [folder, "--export-key", self.file("bad", "x")], [folder, "--nothing"]):
            with self.subTest(arguments=arguments):
                ended = start(*arguments)
                self.assertEqual(ended.returncode, 2, ended.stderr)
                self.assertNotIn("Traceback", ended.stderr)
        ended = start(folder, env={"PATH": none})
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertIn("there is no `openssl`", ended.stderr)
        pathlib.Path(none).mkdir()
        # One that says yes to everything, one that says no, and one that does not run.
        for script, why in [("#!/bin/sh\nexit 0\n", "cannot check"),
                            ("#!/bin/sh\nexit 1\n", "cannot check"), ("\0", "cannot be run")]:
            pathlib.Path(none, "openssl").write_text(script)
            pathlib.Path(none, "openssl").chmod(0o755)
            ended = start(folder, env={"PATH": none})
            self.assertEqual(ended.returncode, 2, ended.stderr)
            self.assertIn(why, ended.stderr)

    def test_time(self):
        """10,000 events with their bodies; the time is printed, and nothing asked of it."""
        bundle = Bundle(20_000, shown=list(range(5_000, 15_000)), spans=(4_000, 16_000))
        folder = os.path.join(self.folder.name, "t")
        archive = folder + ".tar"
        bundle.to_folder(folder)
        bundle.to_tar(archive)
        for place in (folder, archive):
            begin = time.monotonic()
            ended = start(place, *self.trust)
            took = time.monotonic() - begin
            self.assertEqual((ended.returncode, ended.stderr), (0, ""))
            kind = "a folder" if place == folder else "an archive"
            print(f"10000 events in {kind}: {took:.2f} s", file=sys.stderr)


def tearDownModule():
    print(f"{tried['harms']} harms refused, {tried['whole']} whole bundles held", file=sys.stderr)


if __name__ == "__main__":
    unittest.main()
