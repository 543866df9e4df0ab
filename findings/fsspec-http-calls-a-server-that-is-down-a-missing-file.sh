#!/bin/sh
# One would guess: a web server that refuses the connection is told from one that answers 404: the
#   first is an error of the connection, to be tried again; the second means that there is no file.
# What happens: `open`, `info` and `size` of fsspec's http raise FileNotFoundError for both, and `exists`
#   is False for both: what was wrong stands only in `__cause__`. `cat_file` alone tells them apart.
# Who meets it: a nightly job over http(s) inputs that takes "no such file" for "no data tonight" and
#   ends well while the server is down.
# Version: fsspec 2026.9.0, aiohttp 3.14.5. Date: 2026-12-01.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "fsspec==2026.9.0" "aiohttp==3.14.5"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import socket
import threading

import fsspec


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    nobody = free.getsockname()[1]
store = fsspec.filesystem("http")
seen, causes = {}, {}
for name, port in (("404", server.server_port), ("refused", nobody)):
    url = f"http://127.0.0.1:{port}/part-0.parquet"
    kinds = {}
    for call in ("open", "info", "size", "exists", "cat_file"):
        try:
            kinds[call] = getattr(store, call)(url)
        except Exception as error:
            kinds[call] = type(error).__name__
            if call == "info":
                causes[name] = type(error.__cause__).__name__
    seen[name] = kinds
    print(name, kinds)
server.shutdown()
print("cause", causes)
told = {name: kinds.pop("cat_file") for name, kinds in seen.items()}
assert told == {"404": "FileNotFoundError", "refused": "ClientConnectorError"}, told
assert seen["404"] == seen["refused"], seen
PYTHON
