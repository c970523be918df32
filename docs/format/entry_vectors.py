#!/usr/bin/env python3
"""Builds every entry of entry-vectors.json, and their root, from docs/format/entry.md alone."""
import base64, hashlib, hmac, json, pathlib, re

HERE = pathlib.Path(__file__).parent
MAX = 65535
b64 = lambda data: base64.b64encode(data).decode()
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()
quote = lambda text: json.dumps(text, ensure_ascii=False)
text = lambda runs: "".join(run if isinstance(run, str) else run[0] * run[1] for run in runs)

def shown(vector, name, value):
    salt = mac(base64.b64decode(vector["block_key"]), vector["seq"].to_bytes(8, "big") + name.encode())[:16]
    return '{"$c":"%s"}' % b64(mac(salt, name.encode() + b"\0" + value.encode()))

def members(event):
    """The top-level members of an object: (name, start of the value, end of the value)."""
    decoder, at, found = json.JSONDecoder(), event.index("{") + 1, []
    while event[at] != "}":
        name, at = decoder.raw_decode(event, re.compile(r"[\s,]*").match(event, at).end())
        start = re.compile(r"[\s:]*").match(event, at).end()
        _, at = decoder.raw_decode(event, start)
        found.append((name, start, at))
        at = re.compile(r"\s*").match(event, at).end()
    return found

def entry(vector):
    given = vector["input"]
    head = '{"v":1,"seq":%d,"cluster":%s,"source":%s,"received":"%s",' % (
        vector["seq"], quote(vector["cluster"]), quote(vector["source"]), vector["received"])
    if "event" not in given:
        data = text(given["oversized"]).encode() if "oversized" in given else base64.b64decode(given["raw"])
        more = ',"bytes":%d,"sha256":"%s"' % (len(data), hashlib.sha256(data).hexdigest()) if "oversized" in given else ""
        value = '"%s"' % b64(data[:65536])
        return head + '"raw":' + (shown(vector, "raw", value) if len(data) > 32768 else value) + more + "}"
    event, edits = text(given["event"]), []
    room = MAX - len((head + '"event":}').encode())
    length, rest = len(event.encode()), []
    for name, start, end in members(event):
        is_body = name in ("requestObject", "responseObject") and name not in given.get("redacted", [])
        (edits if is_body else rest).append((name, start, end))
    size = lambda edit: len(event[edit[1]:edit[2]].encode())
    length += sum(53 - size(edit) for edit in edits)
    for edit in sorted(rest, key=size, reverse=True):
        if length <= room or size(edit) <= 53:
            break
        edits, length = edits + [edit], length + 53 - size(edit)
    for name, start, end in sorted(edits, key=lambda edit: -edit[1]):
        event = event[:start] + shown(vector, name, event[start:end]) + event[end:]
    return head + '"event":' + event + "}"

def root(leaves):
    """RFC 6962 §2.1."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()

published = json.loads((HERE / "entry-vectors.json").read_text())
built = [entry(vector) for vector in published["vectors"]]
for vector, mine in zip(published["vectors"], built):
    assert mine == text(vector["entry"]), vector["why"]
assert b64(root([mine.encode() for mine in built])) == published["root"], "root"
print(f"{len(built)} entries and their root agree")
