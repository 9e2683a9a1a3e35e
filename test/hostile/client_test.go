package hostile

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// callTimeout bounds every request; the longest of a row takes a few seconds.
const callTimeout = 2 * time.Minute

// api is a client of the native and the Lambda API that passes on whatever it is
// told, since most of what it sends is wrong.
type api struct{ url string }

// reply is an answer of either API.
type reply struct {
	status int
	kind   string // x-amzn-ErrorType
	body   []byte

	requestID, functionError string // of the Lambda API
}

func (r reply) String() string { return fmt.Sprintf("%d %s %.600s", r.status, r.kind, r.body) }

// call sends one request: in is the body itself, or what becomes JSON. An error
// is one of the connection.
func (a api) call(method, path string, in any) (reply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return a.callAs(ctx, method, path, in)
}

// callAs is call for a caller who goes away when ctx ends.
func (a api) callAs(ctx context.Context, method, path string, in any) (reply, error) {
	body, raw := in.([]byte)
	if !raw && in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return reply{}, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	h := res.Header
	return reply{res.StatusCode, h.Get("X-Amzn-Errortype"), out, h.Get("X-Amzn-Requestid"), h.Get("X-Amz-Function-Error")}, err
}

// must is call for requests that get an answer, whatever it is.
func (a api) must(t testing.TB, method, path string, in any) reply {
	t.Helper()
	r, err := a.call(method, path, in)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

// settings are the fields of a deployment, by the native API's names.
type settings map[string]any

// with returns the settings with those of more in their place.
func (s settings) with(more settings) settings {
	out := settings{}
	for _, from := range []settings{s, more} {
		for name, value := range from {
			out[name] = value
		}
	}
	return out
}

func (a api) deploy(t testing.TB, name string, s settings) {
	t.Helper()
	if r := a.must(t, http.MethodPut, "/hearth/v1/functions/"+name, s); r.status/100 != 2 {
		t.Fatalf("deploy %s: %v", name, r)
	}
}

func (a api) remove(t testing.TB, name string) {
	t.Helper()
	if r := a.must(t, http.MethodDelete, "/hearth/v1/functions/"+name, nil); r.status != http.StatusNoContent {
		t.Errorf("delete %s: %v", name, r)
	}
}

// invoked is the native API's answer to an invocation.
type invoked struct {
	RequestID, FunctionError string
	Payload                  json.RawMessage
	LogTail                  string
	Report                   struct {
		Duration          time.Duration
		Start, Status     string
		Instance          string
		ErrorType         string
		MaxMemory         int64
		Timeline          struct{ Settle time.Duration }
		Cold, Description string
	}
	Error struct{ Code, Subject, Message string }
}

// invoke calls a function; an error is one of the connection or the platform.
func (a api) invoke(name string, event any) (*invoked, error) {
	r, err := a.call(http.MethodPost, "/hearth/v1/functions/"+name+"/invoke?tail=1", event)
	if err != nil {
		return nil, err
	}
	out := &invoked{}
	if err := json.Unmarshal(r.body, out); err != nil {
		return nil, fmt.Errorf("%w in %v", err, r)
	}
	if r.status != http.StatusOK {
		return out, fmt.Errorf("invoke %s: %v", name, r)
	}
	return out, nil
}

func (a api) mustInvoke(t testing.TB, name string, event any) *invoked {
	t.Helper()
	out, err := a.invoke(name, event)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// result decodes what a function returned, and fails where it returned an error.
func result[T any](t testing.TB, in *invoked) (out T) {
	t.Helper()
	if in.FunctionError != "" {
		t.Fatalf("the function failed: %s\n%s", in.Payload, in.LogTail)
	}
	if err := json.Unmarshal(in.Payload, &out); err != nil {
		t.Fatalf("%v in %s", err, in.Payload)
	}
	return out
}

// do is an event for the functions of testdata.
func do(action string, more ...any) map[string]any {
	event := map[string]any{"do": action}
	for i := 0; i+1 < len(more); i += 2 {
		event[more[i].(string)] = more[i+1]
	}
	return event
}

// instances asks how many instances of a function there are.
func (a api) instances(t testing.TB, name string) (busy, idle, starting int) {
	t.Helper()
	var d struct {
		Instances struct{ Starting, Idle, Busy int }
	}
	r := a.must(t, http.MethodGet, "/hearth/v1/functions/"+name, nil)
	if err := json.Unmarshal(r.body, &d); err != nil || r.status != http.StatusOK {
		t.Fatalf("describe %s: %v, %v", name, err, r)
	}
	return d.Instances.Busy, d.Instances.Idle, d.Instances.Starting
}

// pack makes a zip of files, all executable.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for name, content := range files {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err == nil {
			_, err = io.WriteString(f, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// packDir is the files of a directory below testdata, and more.
func packDir(t testing.TB, dir string, more map[string]string) []byte {
	t.Helper()
	files := map[string]string{}
	for name, content := range more {
		files[name] = content
	}
	root := os.DirFS("testdata/" + dir)
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return pack(t, files)
}

// eventually waits until holds does, and fails after a while. The kernel and the
// server give no event for what it is used for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	const patience = time.Minute
	deadline := time.After(patience)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		case <-again.C:
		}
	}
}

// sameJSON compares two documents, whatever their spaces and the order of names.
func sameJSON(got []byte, want string) bool {
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	x, _ := json.Marshal(a) // what was decoded encodes
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// document fills a request's id into a document that names it as ID.
func document(in *invoked, text string) string { return strings.ReplaceAll(text, "ID", in.RequestID) }
