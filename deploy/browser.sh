#!/usr/bin/env bash
# Chromium, fonts and a voice for the kiosk's tests, from Debian's packages. Called by `make test`.
set -uo pipefail
missing=()
[[ -x /usr/bin/chromium ]] || missing+=(chromium fonts-noto-core)
command -v espeak-ng >/dev/null || missing+=(espeak-ng)
[[ ${#missing[@]} == 0 ]] && exit 0
if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    echo "browser: installing ${missing[*]}"
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}") >/dev/null
fi
command -v espeak-ng >/dev/null ||
    echo "browser: espeak-ng is missing; the tests that read aloud are skipped (Debian: sudo apt-get install espeak-ng)"
[[ -x /usr/bin/chromium ]] && exit 0
echo "browser: /usr/bin/chromium is missing; the kiosk's tests need it (Debian: sudo apt-get install chromium fonts-noto-core)"
exit 2
