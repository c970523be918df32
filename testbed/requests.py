"""Sends requests to API servers of a testbed, as its users: what is asked, by whom, is on standard
input, a JSON object a line; the status of each goes to standard output, in the same order. What has
to come of them is left to whoever asks. Standard library only.

{"kubeconfig": PATH or null, "server": URL, "authority": PATH of a kubeconfig, "method": "GET",
 "path": "/api", "type": "application/json", "body": TEXT or null, "agent": TEXT, "token": TEXT or null}
"""

import base64
import http.client
import json
import os
import re
import ssl
import sys
import tempfile
import urllib.parse

TIMEOUT = 30


def data(text, name):
    """A member of a kubeconfig that client-go has written, decoded."""
    found = re.search(rf"^\s*{name}: (\S+)$", text, re.M)
    return base64.b64decode(found[1]) if found else None


def context(path, is_somebody):
    """TLS as a kubeconfig says, and its token."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    authority = re.search(r"^\s*certificate-authority: (\S+)$", text, re.M)
    made = ssl.create_default_context(cafile=authority[1])
    token = re.search(r"^\s*token: (\S+)$", text, re.M)
    certificate, key = data(text, "client-certificate-data"), data(text, "client-key-data")
    if is_somebody and certificate:
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("crt", "key")]
            for name, content in zip(paths, (certificate, key)):
                with open(name, "wb") as file:
                    file.write(content)
            made.load_cert_chain(*paths)
    return made, token[1] if is_somebody and token else None


def main():
    connections = {}
    for line in sys.stdin:
        request = json.loads(line)
        place = (request["kubeconfig"], request["server"])
        if place not in connections:
            is_somebody = request["kubeconfig"] is not None
            made, token = context(request["kubeconfig"] or request["authority"], is_somebody)
            host = urllib.parse.urlsplit(request["server"]).netloc
            connection = http.client.HTTPSConnection(host, timeout=TIMEOUT, context=made)
            connections[place] = (connection, token)
        connection, token = connections[place]
        headers = {"User-Agent": request["agent"], "Accept": "application/json"}
        if request["body"] is not None:
            headers["Content-Type"] = request["type"]
        token = request["token"] or token
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request(request["method"], request["path"], request["body"], headers)
        answer = connection.getresponse()
        answer.read()
        print(answer.status, flush=True)


if __name__ == "__main__":
    main()
