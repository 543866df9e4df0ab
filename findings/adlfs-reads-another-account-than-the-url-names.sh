#!/bin/sh
# One would guess: a URL that names its account (abfs://box@another.dfs.core.windows.net/...) is read from
#   that account, or refused where the credentials at hand are of another one.
# What happens: with AZURE_STORAGE_CONNECTION_STRING set, adlfs reads and writes in the account of the
#   connection string, without a word; the file system still calls itself `another`. An account and a key that
#   the caller hands over lose to the variable as well. The docstring says that the argument
#   `connection_string` overrides the others; it does not say so of the variable or of the account in a URL.
# Who meets it: jobs with inputs in two accounts (production and test, two tenants) on a machine that has the
#   variable set: a container of the same name in the wrong account is read, or overwritten.
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
box.upload_blob("a.txt", b"rows of ours")
another = "abfs://box@another.dfs.core.windows.net"
for options in ({}, {"account_name": "another", "account_key": "bWFkZSB1cA=="}):
    with fsspec.open(f"{another}/a.txt", **options) as file:
        said, read = file.fs.account_name, file.read()
    print(f"options {sorted(options)}: the file system says account {said!r}, read {read!r}")
    assert (said, read) == ("another", b"rows of ours"), (said, read)
with fsspec.open(f"{another}/written.txt", "wb") as file:
    file.write(b"meant for another")
landed = box.download_blob("written.txt").readall()
print("in account 'ours', written.txt holds", landed)
assert landed == b"meant for another", landed
PYTHON
