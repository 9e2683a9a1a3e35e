package runtimes

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"hearth/faas"
	"hearth/logs"
)

// storedLogs is the real log store.
type storedLogs struct{ store *logs.Store }

func (s storedLogs) Stream(source LogSource, pipe *os.File) LogStream {
	return s.store.Stream(logs.Source{Function: source.Function, Version: source.Version, Instance: source.Instance}, pipe)
}

func openLogs(t *testing.T) *logs.Store {
	t.Helper()
	store, err := logs.Open(t.Context(), logs.Options{Dir: t.TempDir(), Barrier: patience, Rate: 1 << 30, Burst: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// Both handlers print 20 lines or more of each kind, and name the request in each.
const nodeChatter = `const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
exports.handler = async (e, c) => {
  const id = c.awsRequestId;
  for (let k = 0; k < 5; k++) {
    console.log('%s log %d', id, k);
    console.error(id + ' two\n' + id + ' lines');
    process.stdout.write(id + ' be');
    await sleep(Math.random() * 3);
    process.stderr.write('gun and ended\n' + id + ' next\n');
    console.dir({ id, k });
    console.log(id + ' ' + 'long'.repeat(1500));
  }
  process.stdout.write(id + ' no end');
  return 1;
}`

const pythonChatter = `import logging, random, sys, time
logging.getLogger().setLevel('INFO')
def handler(e, c):
  id = c.aws_request_id
  for k in range(5):
    print(id, 'print', k)
    print(id + ' two\n' + id + ' lines')
    sys.stdout.write(id + ' be')
    time.sleep(random.random() * 0.003)
    sys.stdout.write('gun and ended\n' + id + ' next\n')
    sys.stderr.write(id + ' stderr\n')
    sys.stdout.buffer.write((id + ' bytes\n').encode())
    logging.info('%s logged', id)
    print(id + ' ' + 'long' * 1500)
  print(id + ' no end', end='')
  return 1
`

// TestOverlappingLogs has 50 invocations in one instance that print at the same
// time: each line is found under its own request id, and under no other.
func TestOverlappingLogs(t *testing.T) {
	const calls = 50
	named := regexp.MustCompile(`call-\d{3}`)
	for driver, open := range drivers(t) {
		for _, program := range []struct {
			name, runtime string
			files         map[string]string
			lines         int // of one invocation's own
		}{
			{"node", hostNode(t), js(nodeChatter), 5*6 + 1},
			{"python", "python3.11", py(pythonChatter), 5*9 + 1},
		} {
			for _, format := range []string{"Text", "JSON"} {
				t.Run(driver+"/"+program.name+"/"+format, func(t *testing.T) {
					store := openLogs(t)
					b := newBenchWithLogs(t, open(), storedLogs{store})
					v := b.with(calls, b.version(program.runtime, "index.handler", program.files))
					v.Config.Logging.Format = format
					i := b.start(v).ready()
					tails := map[string]string{}
					for _, f := range i.overlap(calls, same("{}")) {
						if f.err != nil || string(f.out.Payload) != "1" {
							t.Errorf("%s: %s, %v", f.id, f.out.Payload, f.err)
						}
						tails[f.id] = f.tail
					}
					i.kill()
					checkLogs(t, store, v.ID.Function, named, program.lines)
					for id, tail := range tails {
						for _, other := range named.FindAllString(tail, -1) {
							if other != id {
								t.Fatalf("the tail of %s has a line of %s:\n%s", id, other, tail)
							}
						}
						if strings.Contains(tail, "\x1e") || !strings.Contains(tail, id+" no end") {
							t.Errorf("tail of %s:\n%q", id, tail)
						}
					}
				})
			}
		}
	}
}

// checkLogs finds each request's lines, and that no line is nobody's.
func checkLogs(t *testing.T, store *logs.Store, function faas.FunctionID, named *regexp.Regexp, want int) {
	t.Helper()
	for k := range 50 {
		id := fmt.Sprintf("call-%03d", k)
		lines, err := store.Find(t.Context(), logs.Query{Function: function, RequestID: id})
		if err != nil {
			t.Fatal(err)
		}
		own, platform := 0, 0
		for _, line := range lines {
			text := line.Text
			switch {
			case strings.HasPrefix(text, "START ") || strings.HasPrefix(text, "END ") || strings.HasPrefix(text, "REPORT ") ||
				strings.Contains(text, `"type":"platform.`):
				platform++
			default:
				own++
			}
			for _, other := range named.FindAllString(text, -1) {
				if other != id {
					t.Fatalf("%s has a line of %s: %.200q", id, other, text)
				}
			}
			if strings.Contains(text, "\x1e") || strings.HasPrefix(text, "gun and") {
				t.Fatalf("%s has a torn line: %.200q", id, text)
			}
		}
		if own != want || platform != 3 && platform != 2 {
			t.Errorf("%s has %d lines of its own and %d of the platform, want %d, and START, END and REPORT", id, own, platform, want)
		}
	}
	all, err := store.Find(t.Context(), logs.Query{Function: function})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all {
		if line.RequestID == "" {
			t.Errorf("a line is nobody's: %.200q", line.Text)
		}
	}
}
