#!/bin/sh
# One would guess: an empty blob that marks a folder (`night` or `night/`) leaves the listing of the folder
#   as it is: the data beside the marker are found.
# What happens: where the marker has no metadata, the data are gone, without a word. Beside a marker `night`,
#   `find`, `ls` and `walk` give the marker alone, as a file. Beside a marker `night/`, `ls` and `walk` give
#   the marker alone, while `find` gives the data. `find` of the whole container gives the data in both.
#   A marker with the metadata hdi_isfolder=true, as Hadoop writes it, does no harm.
# Who meets it: pipelines that list a folder on Azure whose marker has no metadata, such as an empty object
#   uploaded by hand, or `night/` copied from S3, where such markers are the custom: the night has no rows.
# Version: adlfs 2026.8.0, azure-storage-blob 12.31.1, fsspec 2026.9.0, Azurite 3.35.0. Date: 2026-12-01.
set -eu
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" && wait "$server" || true; fi; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "adlfs==2026.8.0" "azure-storage-blob==12.31.1" "fsspec==2026.9.0"
npm install --silent --no-audit --no-fund --prefix "$folder" "azurite@3.35.0"
port=$("$folder/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
# The account and its key are made up. Azurite 3.35.0 is older than the service version that this SDK names.
key=$(printf 'made up for this script' | base64)
AZURITE_ACCOUNTS="ours:$key" "$folder/node_modules/.bin/azurite-blob" --blobPort "$port" --location "$folder/store" \
    --skipApiVersionCheck --disableTelemetry --silent >"$folder/log" &
server=$!
export AZURE_STORAGE_CONNECTION_STRING="DefaultEndpointsProtocol=http;AccountName=ours;AccountKey=$key;BlobEndpoint=http://127.0.0.1:$port/ours;"
until grep -q "successfully listens" "$folder/log"; do
    kill -0 "$server"
    sleep 0.2
done
"$folder/venv/bin/python" - <<'PYTHON'
import os

import fsspec
from azure.storage.blob import BlobServiceClient

service = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
box = service.create_container("box")
markers = {
    "none": None,
    "bare": ("bare", {}),
    "slash": ("slash/", {}),
    "hadoop": ("hadoop", {"hdi_isfolder": "true"}),
}
for folder, marker in markers.items():
    if marker:
        box.upload_blob(marker[0], b"", metadata=marker[1])
    box.upload_blob(f"{folder}/a.parquet", b"rows")


def new_store():
    return fsspec.filesystem("abfs", skip_instance_cache=True)


seen = {}
for folder in markers:
    path = f"box/{folder}"
    walked = [name for _, _, files in new_store().walk(path) for name in files]
    seen[folder] = (new_store().find(path), new_store().ls(path), walked)
    print(f"{folder}: find {seen[folder][0]}, ls {seen[folder][1]}, files of walk {walked}")
whole = new_store().find("box")
print("find of the container:", whole)
for folder in ("none", "hadoop"):
    data = [f"box/{folder}/a.parquet"]
    assert seen[folder] == (data, data, ["a.parquet"]), seen
assert seen["bare"] == (["box/bare"], ["box/bare"], [""]), seen
assert seen["slash"] == (["box/slash/a.parquet"], ["box/slash"], [""]), seen
assert {f"box/{folder}/a.parquet" for folder in markers} <= set(whole), whole
PYTHON
