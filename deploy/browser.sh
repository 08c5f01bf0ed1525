#!/usr/bin/env bash
# Chromium and fonts for the kiosk's tests, from Debian's packages. Called by `make test`.
set -uo pipefail
[[ -x /usr/bin/chromium ]] && exit 0
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "browser: installing chromium and fonts-noto-core"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-core) >/dev/null
fi
[[ -x /usr/bin/chromium ]] && exit 0
echo "browser: /usr/bin/chromium is missing; the kiosk's tests need it (Debian: sudo apt-get install chromium fonts-noto-core)"
exit 2
