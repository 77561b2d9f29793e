#!/usr/bin/env bash
# Install the servers that the tests talk to and that are no Python packages:
# Ceph's radosgw from Debian's or Ubuntu's archive, Azurite from npm, beside this file.
# What cannot be installed is named, and its tests are skipped.
set -uo pipefail
here="$(cd "$(dirname "$0")" && pwd)"

sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo="sudo -n"
fi

if command -v radosgw ceph-mon ceph-osd ceph > /dev/null; then
  echo "radosgw: here"
elif command -v apt-get > /dev/null \
  && $sudo apt-get update -qq \
  && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    ceph-mon ceph-osd radosgw ceph-common > /dev/null; then
  echo "radosgw: installed"
else
  echo "radosgw: not installed, its tests are skipped"
fi

if [ -x "$here/node_modules/.bin/azurite-blob" ] || command -v azurite-blob > /dev/null; then
  echo "azurite: here"
elif command -v npm > /dev/null \
  && npm install --prefix "$here" --no-save --no-audit --no-fund --silent azurite@3.35.0; then
  echo "azurite: installed"
else
  echo "azurite: not installed, its tests are skipped"
fi
