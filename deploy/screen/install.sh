#!/usr/bin/env bash
# Makes this machine a kiosk: users, units, the browser's rules. Run as root, from a checkout in /opt/docent; run it
# again after an update. Undo: systemctl disable --now docent-{service,kiosk,screen}.service docent-nightly.timer
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { echo "kiosk: $1" >&2; exit 2; }
[[ $(id -u) == 0 ]] || fail "run this as root: sudo bash deploy/screen/install.sh"
[[ $here == /opt/docent/deploy/screen ]] || fail "the checkout is in ${here%/deploy/screen}; the units expect it in /opt/docent"
[[ -x /opt/docent/.venv/bin/python ]] || fail "no environment yet; run make install in /opt/docent first"
for program in cage chromium wlr-randr; do
    command -v "$program" >/dev/null ||
        fail "$program is missing: apt-get install cage chromium wlr-randr fonts-noto-core fonts-noto-cjk"
done

id docent >/dev/null 2>&1 || useradd --system --home-dir /var/lib/docent --shell /usr/sbin/nologin docent
id docent-screen >/dev/null 2>&1 || useradd --create-home --shell /usr/sbin/nologin docent-screen
usermod --append --groups audio,video,input,render docent-screen
install -d -m 750 -g docent /etc/docent
[[ -e /etc/docent/docent.env ]] || install -m 640 -g docent /dev/null /etc/docent/docent.env
install -d /etc/chromium/policies/managed
install -m 644 "$here/chromium-policy.json" /etc/chromium/policies/managed/docent.json
install -m 644 "$here"/docent-*.service "$here"/docent-*.timer /etc/systemd/system/
systemctl daemon-reload
systemctl enable docent-service.service docent-kiosk.service docent-screen.service docent-nightly.timer
systemctl restart docent-service.service docent-kiosk.service docent-screen.service
systemctl start docent-nightly.timer
echo "kiosk: installed. The screen comes up by itself, now and at every start; settings: /etc/docent/docent.env"
