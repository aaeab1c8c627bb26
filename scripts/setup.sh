#!/usr/bin/env bash
# Makes .venv with tinygen in it, and installs the Debian packages given as arguments that are missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
for package in "$@" python3-venv; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
# A Python that brings venv itself needs no package for it.
python3 -c 'import ensurepip, venv' 2>/dev/null && missing=("${missing[@]/python3-venv/}")
read -r -a missing <<<"${missing[*]}"
if [ "${#missing[@]}" -gt 0 ]; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${EXTRAS:+[$EXTRAS]}"
