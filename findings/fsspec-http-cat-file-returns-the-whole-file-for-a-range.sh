#!/bin/sh
# One would guess: `cat_file(url, start=96, end=100)` returns 4 bytes, or fails on a server that does not serve
#   ranges, as reading from the middle of an opened file does.
# What happens: fsspec's http asks for the range and does not look whether the answer is one. A server that
#   ignores the header answers 200 with the whole file, and `cat_file` and `cat_ranges` return that: the
#   length is wrong, and the first 4 bytes are those of the file's start. An opened file raises ValueError.
# Who meets it: who reads footers or chunks by range (Parquet, Zarr, Kerchunk) from a plain web server, such as
#   `python -m http.server`, or from an application that streams its answers.
# Version: fsspec 2026.9.0, aiohttp 3.14.5. Date: 2026-12-01.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "fsspec==2026.9.0" "aiohttp==3.14.5"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import http.server
import threading
from pathlib import Path

import fsspec


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


whole = bytes(range(100))
Path("part-0.bin").write_bytes(whole)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/part-0.bin"
store = fsspec.filesystem("http")
seen = []
for start, end in ((0, 4), (96, 100), (-4, None)):
    got = store.cat_file(url, start=start, end=end)
    print(f"cat_file from {start} to {end}: {len(whole[start:end])} bytes asked for, {len(got)} returned")
    seen.append(got)
seen += store.cat_ranges([url], [96], [100])
print(f"cat_ranges from 96 to 100: {len(seen[-1])} bytes returned")
try:
    with store.open(url) as file:
        file.seek(96)
        opened = file.read(4)
except ValueError as error:
    opened = type(error).__name__
print("open, seek to 96, read 4:", opened)
server.shutdown()
assert seen == [whole] * 4, seen
assert opened == "ValueError", opened
PYTHON
