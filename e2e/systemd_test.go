package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/flexgw/flexgw/e2e/harness"
	"github.com/flexgw/flexgw/reconcile/envoy"
)

// manager stands for systemd: it has the sockets and the notify socket, and runs what the units say.
type manager struct {
	t         *testing.T
	dir       string // for /run/flexgw and /var/lib/flexgw
	gateway   string // for /etc/flexgw/gateway
	envoy     string
	listeners []*os.File

	*notified
}

func newManager(t *testing.T, gateway string) *manager {
	t.Helper()
	dir, err := os.MkdirTemp("", "fg-unit") // short: of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o700); err != nil { // LogsDirectory
		t.Fatal(err)
	}
	found, err := envoy.Find(t.Context(), envoy.FindOptions{Choice: "auto", Getenv: os.LookupEnv, Log: func(string) {}})
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{t: t, dir: dir, gateway: gateway, envoy: found.Path}
	for _, line := range m.unit("flexgw.socket")["ListenStream"] {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: line, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		t.Cleanup(func() { f.Close() })
		m.listeners = append(m.listeners, f)
	}
	m.notified = newNotified(t, filepath.Join(dir, "notify"))
	return m
}

// unit is a unit of docs/systemd with the paths of this test.
func (m *manager) unit(name string) map[string][]string {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "systemd", name))
	if err != nil {
		m.t.Fatal(err)
	}
	text := strings.NewReplacer("/run/flexgw", m.dir, "/var/lib/flexgw", m.dir, "/var/log/flexgw", filepath.Join(m.dir, "log"), "/usr/bin/flexgw", harness.Binary(m.t), "/usr/bin/envoy", m.envoy, "/etc/flexgw/gateway", m.gateway).Replace(string(b))
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			out[key] = append(out[key], value)
		}
	}
	return out
}

// command is a line of a unit as systemd would run it; it is killed when the test ends.
func (m *manager) command(unit, key string, env ...string) *exec.Cmd {
	m.t.Helper()
	u := m.unit(unit)
	if len(u[key]) != 1 {
		m.t.Fatalf("%s has %d %s", unit, len(u[key]), key)
	}
	variables := map[string]string{}
	for _, x := range u["Environment"] {
		name, value, _ := strings.Cut(x, "=")
		variables[name] = value
	}
	var words []string
	for _, w := range strings.Fields(strings.TrimPrefix(u[key][0], "-")) {
		switch {
		case strings.HasPrefix(w, "${"):
			words = append(words, variables[strings.Trim(w, "${}")])
		case strings.HasPrefix(w, "$"):
			words = append(words, strings.Fields(variables[w[1:]])...)
		default:
			words = append(words, w)
		}
	}
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ WATCHDOG_PID=$$ exec "$0" "$@"`}, words...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "STATE_DIRECTORY=" + m.dir, "RUNTIME_DIRECTORY=" + m.dir}, env...)
	out, err := os.Create(filepath.Join(m.t.TempDir(), "out"))
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	m.t.Cleanup(func() {
		if cmd.Process != nil && cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if b, _ := os.ReadFile(out.Name()); m.t.Failed() {
			m.t.Logf("%s %s said:\n%s", unit, key, b[max(0, len(b)-10_000):])
		}
	})
	return cmd
}

func (m *manager) start(unit, key string, env ...string) *exec.Cmd {
	m.t.Helper()
	cmd := m.command(unit, key, env...)
	if strings.HasPrefix(unit, "flexgw.") {
		cmd.ExtraFiles = m.listeners
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	return cmd
}

// daemon starts flexgw.service, and returns when it is ready.
func (m *manager) daemon() *exec.Cmd {
	m.t.Helper()
	m.forget()
	cmd := m.start("flexgw.service", "ExecStart", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=900000",
		"LISTEN_FDS="+strconv.Itoa(len(m.listeners)), "LISTEN_FDNAMES=flexgw:flexgw:flexgw")
	m.wait(`(?m)^READY=1$`)
	return cmd
}

func (m *manager) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = nil
}

// wait waits for a message.
func (m *manager) wait(pattern string) {
	m.t.Helper()
	re := regexp.MustCompile(pattern)
	harness.Until(m.t, func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, x := range m.told {
			if re.MatchString(x) {
				return nil
			}
		}
		return fmt.Errorf("no message like %q in %q", pattern, m.told)
	})
}

// end sends a signal, and waits.
func (m *manager) end(cmd *exec.Cmd, sig os.Signal) int {
	m.t.Helper()
	if err := cmd.Process.Signal(sig); err != nil {
		m.t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// TestUnits runs the command lines of the units by hand: Envoy waits for the daemon, and nothing that happens to the daemon,
// not even while it decides about requests, is seen at Envoy.
func TestUnits(t *testing.T) {
	t.Parallel()
	g := prepare(t, "\n-- gateway.yaml --\n"+policyAPI("limited", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 100000000\n    timePeriodInMilliseconds: 3600000\n"))
	m := newManager(t, g.Dir)
	if err := m.command("flexgw-envoy.service", "ExecStartPre").Run(); err != nil {
		t.Fatal(err)
	}
	gateway := m.start("flexgw-envoy.service", "ExecStart")
	admin := envoy.NewAdmin(filepath.Join(m.dir, "envoy-admin.sock"))
	pid := func() (pid int) {
		harness.Until(t, func() (err error) { pid, err = admin.PID(t.Context()); return err })
		return pid
	}
	before := pid()
	url := g.url(8081, "/limited")
	harness.Until(t, func() error { // it has come to where it waits for the daemon
		stats, err := admin.Stats(t.Context(), `^cluster\..*upstream_cx_total$`)
		for _, n := range stats {
			if n > 0 {
				return nil
			}
		}
		return fmt.Errorf("Envoy has asked nobody yet: %v %v", stats, err)
	})
	if c, err := net.Dial("tcp", strings.TrimPrefix(strings.TrimSuffix(url, "/limited"), "http://")); err == nil {
		c.Close()
		t.Fatal("a port is open before the daemon began")
	}

	d := m.daemon()
	m.wait(`STATUS=serving sha256:[0-9a-f]{12}, 1 Envoy connected$`)
	m.forget()
	m.wait(`^WATCHDOG=1$`)
	if s, err := os.ReadFile("/proc/" + strconv.Itoa(d.Process.Pid) + "/environ"); err != nil || !strings.Contains(string(s), "NOTIFY_SOCKET") {
		t.Fatalf("the daemon was run without a notify socket: %v", err)
	}
	load := patient(t, 3, url)
	harness.Until(t, func() error {
		if load.Requests.Load() < 50 {
			return fmt.Errorf("%d requests", load.Requests.Load())
		}
		return nil
	})

	m.forget() // a reload looks at the source
	g.write("more.yaml", policyAPI("more", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 100000000\n    timePeriodInMilliseconds: 3600000\n"))
	if err := d.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.wait(`^RELOADING=1\nMONOTONIC_USEC=\d+$`)
	m.wait(`(?m)^READY=1$`)

	m.forget() // a restart in good order
	if code := m.end(d, syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	m.wait(`^STOPPING=1\nEXTEND_TIMEOUT_USEC=\d+\nSTATUS=`)
	time.Sleep(300 * time.Millisecond)
	d = m.daemon()

	if code := m.end(d, syscall.SIGKILL); code == 0 { // an end at any instruction
		t.Error("a killed daemon ended with 0")
	}
	if err := os.Rename(g.Dir, g.Dir+".away"); err != nil {
		t.Fatal(err)
	}
	d = m.daemon() // with what is on disk alone
	m.wait(`STATUS=serving sha256:[0-9a-f]{12}, 1 Envoy connected; the source is away since \d{4}-\d\d-\d\dT\S+: .*no such file`)
	if err := os.Rename(g.Dir+".away", g.Dir); err != nil {
		t.Fatal(err)
	}
	m.forget()
	if err := d.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.wait(`STATUS=serving sha256:[0-9a-f]{12}, 1 Envoy connected$`)
	load.End(t, 3)
	if after := pid(); after != before {
		t.Errorf("Envoy was %d and is %d", before, after)
	}
	if err := m.command("flexgw-envoy.service", "ExecStop").Run(); err != nil {
		t.Fatalf("ExecStop: %v", err)
	}
	if code := m.end(gateway, syscall.SIGTERM); code != 0 {
		t.Errorf("Envoy ended with %d", code)
	}
	if code := m.end(d, syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
}

// bootScript makes a machine of namespaces, in which systemd itself is the first process and runs the units. A systemd that boots
// empties /tmp, among other things: nothing of the host may be writable before it begins, but for /srv, a folder of the test.
const bootScript = `set -e
mount --make-rprivate /
out=$1 flexgw=$2 envoy=$3 gateway=$4 units=$5
mkdir -p /srv /mnt
mount --bind "$out" /srv
mount -t tmpfs tmpfs /mnt
cp "$flexgw" /mnt/flexgw
cp "$envoy" /mnt/envoy
cp -r "$gateway" /mnt/gateway
chmod -R a+rX /mnt
cp -a /etc /mnt/etc
rm -rf /mnt/etc/systemd/system
mkdir -p /mnt/etc/systemd/system /mnt/lib
for u in "$units"/*.service "$units"/*.socket; do
  sed 's#/usr/bin/flexgw#/mnt/flexgw#; s#/usr/bin/envoy#/mnt/envoy#; s#/etc/flexgw/gateway#/mnt/gateway#' "$u" >/mnt/etc/systemd/system/"${u##*/}"
done
cat >/mnt/etc/systemd/system/drive.service <<'END'
[Unit]
After=basic.target
Requires=sysinit.target
[Service]
Type=oneshot
Environment=HOME=/root
ExecStart=/bin/sh /srv/drive.sh
StandardOutput=file:/srv/drive.log
StandardError=inherit
ExecStopPost=/bin/kill -RTMIN+14 1
END
mount --bind /mnt/etc /etc
mount --bind /mnt/lib /var/lib
systemd-sysusers "$units"/flexgw.sysusers.conf
for at in /run /tmp /var/tmp /var/log /var/cache /sys/fs/cgroup; do mount -t tmpfs tmpfs $at; done
mount -t cgroup2 none /sys/fs/cgroup
while read -r what at kind more; do
  case "$at" in
  /srv | /mnt | /etc | /var/lib | /run | /tmp | /var/tmp | /var/log | /var/cache | /sys/fs/cgroup | /proc) ;;
  *) if mountpoint -q "$at"; then mount -o remount,bind,ro "$at"; fi ;; # others are below one of ours, and out of sight
  esac
done </proc/self/mounts
if touch /usr/bin/.writable 2>/dev/null; then
  echo "the host could be written to"
  exit 1
fi
for at in /tmp /var/tmp /run /var/log; do [ "$(stat -f -c %T $at)" = tmpfs ]; done
export container=docker
exec /lib/systemd/systemd --system --unit=drive.service --log-target=console </dev/null >/srv/systemd.log 2>&1
`

// driveScript is what an operator does there. Each line of interest begins with ">".
const driveScript = `
show() { systemctl show -p "$2" --value "$1"; }
say() { echo "> $*"; }
until_status() {
  for i in $(seq 1000); do
    case "$(show flexgw.service StatusText)" in *"$1"*) return 0;; esac
    sleep 0.1
  done
  say "timeout: $(show flexgw.service StatusText)"
  journalctl --no-pager -o cat -u flexgw.service | tail -n 20
  exit 1
}
echo token >/run/token; chmod 600 /run/token
mkdir -p /run/systemd/system/flexgw.service.d
printf '[Service]\nLoadCredential=git-token:/run/token\n' >/run/systemd/system/flexgw.service.d/token.conf
systemctl daemon-reload
systemctl start flexgw.socket flexgw-envoy.service
until_status "1 Envoy connected"
envoy=$(show flexgw-envoy.service MainPID)
say "started $(show flexgw.service ActiveState) $(show flexgw-envoy.service ActiveState): $(show flexgw.service StatusText)"
say "users $(stat -c %U /proc/"$envoy" /proc/"$(show flexgw.service MainPID)" | tr '\n' ' ')"
say "credential $(tr '\0' '\n' </proc/"$(show flexgw.service MainPID)"/environ | grep -c '^CREDENTIALS_DIRECTORY=')"
say "envoy sees $(nsenter -t "$envoy" -m ls -A /var/lib/flexgw | tr '\n' ' ')"
/mnt/flexgw status | sed -n 's/^Programmed/> &/p'
/mnt/flexgw probe && say "probe 0"
port=$(/mnt/flexgw status | sed -n 's/^declares *[^:]*:\([0-9]*\).*/\1/p')
ask() { for i in 1 2 3; do curl -s -o /dev/null "http://127.0.0.1:$port/limited"; done; }
ask
systemctl reload flexgw.service && say "reloaded"
before=$(show flexgw.service MainPID)
systemctl restart flexgw.service
until_status "1 Envoy connected"
[ "$before" = "$(show flexgw.service MainPID)" ] || say "restarted"
kill -9 "$(show flexgw.service MainPID)"
for i in $(seq 1000); do [ "$(show flexgw.service NRestarts)" = 1 ] && break; sleep 0.1; done
until_status "1 Envoy connected"
say "killed, restarts $(show flexgw.service NRestarts), $(show flexgw.service ActiveState)"
mkdir -p /run/systemd/system/flexgw.service.d
printf '[Service]\nWatchdogSec=5\n' >/run/systemd/system/flexgw.service.d/dog.conf
systemctl daemon-reload
systemctl restart flexgw.service
until_status "1 Envoy connected"
sleep 6
say "watched, restarts $(show flexgw.service NRestarts)"
kill -STOP "$(show flexgw.service MainPID)"
for i in $(seq 1000); do [ "$(show flexgw.service NRestarts)" = 1 ] && break; sleep 0.1; done
until_status "1 Envoy connected"
say "hung, restarts $(show flexgw.service NRestarts), $(show flexgw.service ActiveState)"
ask
/mnt/flexgw usage flush >/dev/null 2>&1 # there is no registration, but the log is read
/mnt/flexgw usage show | sed -n 's/^requests */> requests: /p'
[ "$envoy" = "$(show flexgw-envoy.service MainPID)" ] && say "envoy untouched, restarts $(show flexgw-envoy.service NRestarts)"
systemctl stop flexgw-envoy.service
say "stopped $(show flexgw-envoy.service ActiveState) $(show flexgw-envoy.service Result)"
systemctl stop flexgw.socket flexgw.service
say "stopped $(show flexgw.service ActiveState) $(show flexgw.service Result)"
journalctl --no-pager -o cat -u flexgw.service
`

// TestSystemd has systemd itself run the units, on a machine made of namespaces. Who may not make one has TestUnits.
func TestSystemd(t *testing.T) {
	if os.Getuid() != 0 || exec.Command("unshare", "--pid", "--mount", "--ipc", "--net", "--fork", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup").Run() != nil {
		t.Skip("namespaces with a cgroup2 of their own need root")
	}
	g := prepare(t, "\n-- gateway.yaml --\n"+policyAPI("limited", "rate-limiting-flex", "rateLimits:\n  - maximumRequests: 100\n    timePeriodInMilliseconds: 3600000\n"))
	m := newManager(t, g.Dir)
	out := t.TempDir()
	units, err := filepath.Abs("../docs/systemd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "drive.sh"), []byte(driveScript), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", bootScript, "boot", out, harness.Binary(t), m.envoy, g.Dir, units)
	cmd.WaitDelay = 5 * time.Second
	said, err := cmd.CombinedOutput()
	b, _ := os.ReadFile(filepath.Join(out, "drive.log"))
	var lines []string
	for line := range strings.Lines(string(b)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "> "); ok {
			lines = append(lines, regexp.MustCompile(`[0-9a-f]{12}`).ReplaceAllString(text, "REVISION"))
		}
	}
	want := `started active active: serving sha256:REVISION, 1 Envoy connected
users flexgw flexgw
credential 1
envoy sees files
Programmed=True (Live)
probe 0
reloaded
restarted
killed, restarts 1, active
watched, restarts 0
hung, restarts 1, active
requests: 0 counted, 0 reported, 0 waiting, 6 without a registration
envoy untouched, restarts 0
stopped inactive success
stopped inactive success`
	if got := strings.Join(lines, "\n"); got != want {
		log, _ := os.ReadFile(filepath.Join(out, "systemd.log"))
		t.Errorf("got\n%s\nwant\n%s\n%v %s\n%s\n%s", got, want, err, said, b, log[max(0, len(log)-4000):])
	}
}
