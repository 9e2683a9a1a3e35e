package auth

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newKey(c Credentials, change func(*Key)) *Key {
	k := KeyOf(c, NewKey{Account: "123456789012"})
	if change != nil {
		change(k)
	}
	return k
}

var (
	example = Credentials{KeyID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	noon    = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
)

// verifierAt knows the example's key and no other.
func verifierAt(now time.Time, change func(*Key)) *Verifier {
	return NewVerifier(VerifierOptions{Keys: Ring{example.KeyID: newKey(example, change)}, Clock: func() time.Time { return now }})
}

// received is a request as a server gets it that a client would send.
func received(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire strings.Builder
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(wire.String(), "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	method, rest, _ := strings.Cut(lines[0], " ")
	target, _, _ := strings.Cut(rest, " ")
	in := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		in.Body, in.ContentLength = http.NoBody, 0
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if name == "Host" {
			in.Host = strings.TrimSpace(value)
			continue
		}
		in.Header.Add(name, value[1:]) // what a server would trim is left to the verifier
	}
	return in
}

func body(t testing.TB, r *http.Request) string {
	t.Helper()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("the verified body: %v", err)
	}
	return string(text)
}

func kindOf(err error) Kind {
	if e, ok := err.(*Error); ok {
		return e.Kind
	}
	return 0
}
