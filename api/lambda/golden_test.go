package lambda

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

var update = flag.Bool("update", false, "write the answers in testdata/golden as they are now")

// newWorld is a handler over fakes, in which nothing changes from run to run.
func newWorld() (*Handler, *fakeRegistry, *fakeInvoker) {
	r := newFakeRegistry()
	i := &fakeInvoker{registry: r}
	return newHandler(Options{
		Registry: r, Invoker: i, Account: "123456789012", LinkKey: []byte("golden"),
		Clock: func() time.Time { return fakeNow },
	}), r, i
}

// newHandler is a handler whose quotas and settings are those of its registry, a fake.
func newHandler(o Options) *Handler {
	r := o.Registry.(*fakeRegistry)
	o.Quotas, o.Provisioning, o.Events, o.Mappings = r.quotas, r.quotas, r.events, noMappings{}
	o.Policies, o.URLs, o.Layers = noPolicies{}, noURLs{}, noLayers{}
	return New(o)
}

// TestGolden plays the exchanges of each file in testdata/golden in order against
// one server. A file begins with where its answers come from ("# source: …"), and
// says "# world: registry" where the server has the registry itself. A
// request is "> METHOD PATH", headers and, after a line ">", a body; the answer
// follows, with its JSON indented, each line after "< ".
//
// What was recorded is not rewritten by the machine that checks it: -update is
// refused where CI is set, as .ci/run and hosts of CI do.
func TestGolden(t *testing.T) {
	if *update && os.Getenv("CI") != "" {
		t.Fatal("golden files are not rewritten in CI: change them where their differences are read, and commit them")
	}
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(raw, []byte("# source: ")) {
				t.Error("the file does not name its source")
			}
			var h http.Handler
			if h, _, _ = newWorld(); bytes.Contains(raw, []byte("\n# world: registry\n")) {
				h = newRealWorld(t)
			}
			got := play(t, h, string(raw))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(raw) {
				t.Errorf("answers differ; go test ./api/lambda -run Golden -update rewrites them\n%s", difference(string(raw), got))
			}
		})
	}
}

// play sends every request of a file and returns the file with the answers got.
func play(t *testing.T, h http.Handler, file string) string {
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(file, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case strings.HasPrefix(line, "<"):
			continue // the answer that is replaced
		case !strings.HasPrefix(line, ">"):
			out.WriteString(line + "\n")
		default:
			var request []string
			for ; i < len(lines) && strings.HasPrefix(lines[i], ">"); i++ {
				out.WriteString(lines[i] + "\n")
				request = append(request, strings.TrimPrefix(strings.TrimPrefix(lines[i], ">"), " "))
			}
			i--
			out.WriteString(exchange(t, h, request))
		}
	}
	return out.String()
}

func exchange(t *testing.T, h http.Handler, request []string) string {
	if w, ok := h.(*realWorld); ok {
		w.settle(t)
		return w.hide(sendLines(t, h, strings.Split(w.show(strings.Join(request, "\n")), "\n")))
	}
	return sendLines(t, h, request)
}

func sendLines(t *testing.T, h http.Handler, request []string) string {
	method, path, _ := strings.Cut(request[0], " ")
	head, body := request[1:], ""
	if blank := slices.Index(head, ""); blank >= 0 {
		head, body = head[:blank], strings.Join(head[blank+1:], "\n")
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "hearth.test"
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer(t, w)
}

var oneUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func answer(t *testing.T, w *httptest.ResponseRecorder) string {
	var out strings.Builder
	fmt.Fprintf(&out, "< %d\n", w.Code)
	for _, name := range slices.Sorted(maps.Keys(w.Header())) {
		for _, value := range w.Header()[name] {
			switch {
			case name == headerRequestID && oneUUID.MatchString(value):
				value = "<uuid>"
			case name == "Content-Length":
				if value != fmt.Sprint(w.Body.Len()) && w.Body.Len() > 0 {
					t.Errorf("Content-Length %s for %d bytes", value, w.Body.Len())
				}
				continue
			}
			fmt.Fprintf(&out, "< %s: %s\n", name, value)
		}
	}
	out.WriteString("<\n")
	body := w.Body.String()
	if strings.Contains(out.String(), "< Content-Type: "+eventStreamType) {
		body = eventLines(t, w.Body)
	} else if w.Header()["Content-Type"] != nil && w.Header()["Content-Type"][0] == "application/json" {
		var indented bytes.Buffer
		if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
			t.Errorf("the body is not JSON: %v", err)
		} else {
			body = indented.String()
		}
	}
	for _, line := range strings.Split(body, "\n") {
		out.WriteString(strings.TrimRight("< "+line, " ") + "\n")
	}
	return out.String()
}

// eventLines has a line of headers and one of payload for each event of a stream.
func eventLines(t *testing.T, body io.Reader) string {
	var out strings.Builder
	for decoder := eventstream.NewDecoder(); ; {
		message, err := decoder.Decode(body, nil)
		if err == io.EOF {
			return strings.TrimSuffix(out.String(), "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range message.Headers {
			fmt.Fprintf(&out, "%s=%v ", h.Name, h.Value)
		}
		fmt.Fprintf(&out, "\n%s\n", message.Payload)
	}
}

// difference shows the first line that differs, with what is around it.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1, a, b)
		}
	}
	return ""
}
