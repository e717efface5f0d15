#!/usr/bin/env bash
# Watch a bad change being refused, rolled back and held, in the terminal: docs/guide.md shows what this prints.
# usage: watch.sh [PORT [BUSY]]: a free port for the API, and one for something else. Needs flexgw and python3 on PATH.
set -euo pipefail
port=${1:-8081} busy=${2:-8090}
from=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
touch said
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT

show() { echo "\$ $1"; eval "$1"; }
later() { echo "\$ $1 &"; eval "$1 >>${2:-/dev/null} 2>&1 &"; }
# elsewhere starts what has the other port, and waits until it has it.
elsewhere() {
	later "python3 -m http.server $busy"
	until (: >"/dev/tcp/127.0.0.1/$busy") 2>/dev/null; do sleep 0.1; done
}
# said waits until the daemon says something, and prints what it said since the last time, its log aside.
said() {
	for _ in $(seq 1200); do
		if grep -q "$1" said; then grep -v '^time=\|^try: ' said; : >said; return; fi
		sleep 0.1
	done
	echo "the daemon did not say $1 in two minutes:" >&2; cat said >&2; exit 1
}
# settled waits, unseen, until a command shows something: the daemon goes on after what it said.
settled() {
	for _ in $(seq 1200); do
		if eval "$1" | grep "$2" >/dev/null; then return; fi
		sleep 0.1
	done
	echo "$1 did not show $2 in two minutes" >&2; exit 1
}

cp -r "$from" shop && rm shop/watch.sh
[ "$port" = 8081 ] || sed -i "s/:8081/:$port/" shop/gateway.yaml
[ -z "${ECHO_PORT:-}" ] || sed -i "s/:9081/:$ECHO_PORT/" shop/*.yaml
echo '$ cp -r examples/quickstart shop'
elsewhere
later "flexgw run --state-dir state shop" said
said '^ready '
show "sed -i 's/^  address/  adress/' shop/gateway.yaml"
said 'did you mean'
show "sed -i 's/adress/address/; s/0.0.0.0:$port/0.0.0.0:$busy/' shop/gateway.yaml"
said 'hint: free the address'
show "curl -s -o answer -w '%{http_code}\n' -u alice:open-sesame http://127.0.0.1:$port/hello"
settled "flexgw history --limit 3 --state-dir state" RolledBack
show "flexgw history --limit 3 --state-dir state"
show "kill %1"
wait %1 || true # until then it has the port
show "flexgw sync --state-dir state"
show "curl -s -o answer -w '%{http_code}\n' -u alice:open-sesame http://127.0.0.1:$busy/hello"
show "sed -i 's/0.0.0.0:$busy/0.0.0.0:$port/' shop/gateway.yaml"
show "flexgw sync --state-dir state"
show "kill %2; wait %2"
: >said
elsewhere
later "flexgw run --on-invalid hold --state-dir state shop" said
said '^ready '
show "sed -i 's/0.0.0.0:$port/0.0.0.0:$busy/' shop/gateway.yaml"
said 'hint: free the address'
settled "flexgw status --state-dir state" '(Held)'
settled "flexgw status --state-dir state" 'Programmed=True'
show "flexgw status --state-dir state"
show "curl -s -o answer -w '%{http_code}\n' -u alice:open-sesame http://127.0.0.1:$port/hello"
