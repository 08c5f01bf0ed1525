#!/bin/sh
# Started by docent-screen.service inside cage: turn the picture if asked to, then the browser.
set -u
page="file:///opt/docent/deploy/screen/boot.html"

# ROTATE=90 or 270 in /etc/docent/screen.env, for a screen that hangs upright.
if [ -n "${ROTATE:-}" ]; then
    output=$(wlr-randr | awk 'NR == 1 { print $1 }')
    wlr-randr --output "$output" --transform "$ROTATE"
fi

exec /usr/bin/chromium \
    --kiosk --incognito --no-first-run --noerrdialogs --ozone-platform=wayland \
    --disable-pinch --overscroll-history-navigation=0 --disable-features=Translate \
    --disable-component-update --disable-sync --disable-background-networking --password-store=basic \
    --user-data-dir="${RUNTIME_DIRECTORY:?is set by docent-screen.service}/profile" \
    "$page${KIOSK_URL:+#$KIOSK_URL}"
