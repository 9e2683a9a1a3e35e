package object

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"hearth/faas"
)

// server is an S3 server with the objects of a bucket "packages"; what it was asked
// goes through seen first.
func server(t *testing.T, objects map[string]string, seen func(*http.Request)) *httptest.Server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("packages"); err != nil {
		t.Fatal(err)
	}
	for key, content := range objects {
		if _, err := backend.PutObject("packages", key, nil, strings.NewReader(content), int64(len(content)), nil); err != nil {
			t.Fatal(err)
		}
	}
	s3 := gofakes3.New(backend, gofakes3.WithHostBucketBase("s3.test")).Server()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		s3.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var oddKeys = map[string]string{
	"a.zip": "first", "dir/a b+c&d=e.zip": "second", "ünï//./x": "third", "star*(1)!'.zip": "fourth", "%41": "fifth",
}

func TestGet(t *testing.T) {
	s := open(t, Options{Endpoint: server(t, oddKeys, nil).URL + "/"})
	for key, want := range oddKeys {
		if got, err := s.Get(t.Context(), "packages", key, "", 1<<20); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if _, err := s.Get(t.Context(), "packages", "a.zip", "", 5); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	for _, c := range []struct {
		name, bucket, key, version, want string
		limit                            int64
		code                             faas.ErrorCode
	}{
		{"no key", "packages", "b.zip", "", "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist.", 9, faas.CodeInvalid},
		{"no bucket", "other", "a.zip", "", "Error occurred while GetObject. S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not exist", 9, faas.CodeInvalid},
		{"no version", "packages", "a.zip", "7", "Error occurred while GetObject. S3 Error Code: ", 9, faas.CodeInvalid},
		{"over the limit", "packages", "a.zip", "", "The object is over 4 bytes", 4, faas.CodeTooLarge},
	} {
		_, err := s.Get(t.Context(), c.bucket, c.key, c.version, c.limit)
		var e *faas.Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.HasPrefix(e.Message, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestGetVersion(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("packages"); err != nil {
		t.Fatal(err)
	}
	if err := backend.SetVersioningConfiguration("packages", gofakes3.VersioningConfiguration{Status: gofakes3.VersioningEnabled}); err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, content := range []string{"old", "new"} {
		put, err := backend.PutObject("packages", "a.zip", nil, strings.NewReader(content), 3, nil)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, string(put.VersionID))
	}
	web := httptest.NewServer(gofakes3.New(backend).Server())
	defer web.Close()
	s := open(t, Options{Endpoint: web.URL})
	for version, want := range map[string]string{"": "new", versions[0]: "old", versions[1]: "new"} {
		if got, err := s.Get(t.Context(), "packages", "a.zip", version, 9); err != nil || string(got) != want {
			t.Errorf("version %q: %q, %v", version, got, err)
		}
	}
}

func TestHostStyle(t *testing.T) {
	var host string
	web := server(t, oddKeys, func(r *http.Request) { host = r.Host })
	client := web.Client()
	client.Transport = toServer{web.Listener.Addr().String()}
	s := open(t, Options{Endpoint: "http://s3.test", HostStyle: true, Client: client})
	if got, err := s.Get(t.Context(), "packages", "a.zip", "", 9); err != nil || string(got) != "first" || host != "packages.s3.test" {
		t.Errorf("%q from %s, %v", got, host, err)
	}
}

// toServer sends every request to one address.
type toServer struct{ addr string }

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host, r.URL.Host = r.URL.Host, s.addr
	return http.DefaultTransport.RoundTrip(r)
}

// The signatures are those of AWS's own signer.
func TestSignatures(t *testing.T) {
	now := time.Now() // the server looks at its clock
	var sent *http.Request
	web := server(t, oddKeys, func(r *http.Request) { sent = r })
	s := open(t, Options{Endpoint: web.URL, Region: "eu-central-1", KeyID: "AKID", Secret: "secret", Clock: func() time.Time { return now }})
	for key, want := range oddKeys {
		if got, err := s.Get(t.Context(), "packages", key, "", 9); err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v", key, got, err)
		}
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, web.URL+sent.RequestURI, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
		signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
		if err := signer.SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, r, emptySHA256, "s3", "eu-central-1", now); err != nil {
			t.Fatal(err)
		}
		if got, want := sent.Header.Get("Authorization"), r.Header.Get("Authorization"); got != want {
			t.Errorf("%s:\n got %s\nwant %s", key, got, want)
		}
	}
}

// An endpoint that misbehaves is an error that says what it did.
func TestBadEndpoints(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not S3":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>no", 503) }, "S3 Error Code: 503. S3 Error Message: Service Unavailable"},
		"elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://127.0.0.1:1/", 301) }, "S3 Error Code: 301"},
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "abc")
		}, "did not answer whole: unexpected EOF"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, strings.Repeat("x", 100))
		}, "over 50 bytes"},
		"long error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			io.WriteString(w, strings.Repeat("x", 1<<20))
		}, "S3 Error Code: 500"},
		"hangs up":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "did not answer whole: EOF"},
		"bad length": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99") }, "over 50 bytes"},
	} {
		web := httptest.NewServer(c.answer)
		s := open(t, Options{Endpoint: web.URL})
		if _, err := s.Get(t.Context(), "packages", "a.zip", "", 50); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		web.Close()
	}
	for _, bad := range []Options{{}, {Endpoint: "s3.test"}, {Endpoint: "ftp://s3.test"}, {Endpoint: "http://u:p@s3.test"}, {Endpoint: "http://s3.test", KeyID: "a"}} {
		if _, err := New(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
