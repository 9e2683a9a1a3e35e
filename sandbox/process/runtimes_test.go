//go:build linux && amd64

package process

import (
	"os/exec"
	"strings"
	"testing"
)

// The interpreters that people's functions need run under the filter, in this
// root, within the limits. A host without one has nothing to test.
func TestInterpreters(t *testing.T) {
	d := newDriver(t)
	for _, c := range []struct{ name, path, flag, script, want string }{
		{"python", "/usr/bin/python3", "-c", `
import os, threading, subprocess, socket, json, tempfile, pwd, multiprocessing.dummy, select, time, ssl
t = threading.Thread(target=lambda: None); t.start(); t.join()
assert subprocess.run(["/bin/echo", "x"], capture_output=True).stdout == b"x\n"
a, b = socket.socketpair(); a.send(b"x"); assert b.recv(1) == b"x"
s = socket.create_server(("127.0.0.1", 0)); socket.create_connection(s.getsockname())
with tempfile.TemporaryFile() as f: f.write(b"x")
assert pwd.getpwuid(os.getuid()).pw_dir == "/tmp"
assert os.path.expanduser("~") == "/tmp"
try: socket.getaddrinfo("example.com", 80); print("resolved")
except socket.gaierror: pass
print("ok", os.cpu_count() > 0)
`, "ok True"},
		{"node", "/usr/bin/node", "-e", `
const os = require('os'), fs = require('fs'), cp = require('child_process'), net = require('net'), w = require('worker_threads');
os.userInfo(); os.homedir(); os.networkInterfaces(); os.cpus();
fs.writeFileSync('/tmp/x', 'x');
if (cp.execSync('echo x').toString() !== 'x\n') throw new Error('child');
new w.Worker('0', {eval: true}).on('exit', () => {
  const s = net.createServer(c => c.end('x')).listen(0, '127.0.0.1', () =>
    net.connect(s.address().port, '127.0.0.1').on('data', () => require('dns').lookup('example.com', e => {
      fs.promises.readFile('/etc/passwd').then(() => { console.log('ok', e.code); process.exit(0) }) })));
});`, "ok ECONNREFUSED|ok EAI_AGAIN|ok ENOTFOUND"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.path); err != nil {
				t.Logf("%s is not installed here", c.path)
				return
			}
			spec := testSpec()
			spec.MemoryMB = 512
			out, exit := run(t, d, spec, c.path, c.flag, c.script)
			ok := false
			for _, want := range strings.Split(c.want, "|") {
				ok = ok || strings.TrimSpace(out) == want
			}
			if !ok || exit.Code != 0 {
				t.Errorf("exit %+v, output:\n%s", exit, out)
			}
		})
	}
}
