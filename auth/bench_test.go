package auth

import (
	"strings"
	"testing"
)

// BenchmarkInvoke verifies a warm Invoke with 1 kB of payload, as the Go SDK signs it.
func BenchmarkInvoke(b *testing.B) {
	payload := strings.Repeat("x", 1024)
	r := signed(b, "POST", "/2015-03-31/functions/hello/invocations", payload, "lambda", noon, nil)
	v := verifierAt(noon, nil)
	data := []byte(payload)
	b.ReportAllocs()
	for b.Loop() {
		r.Body, r.ContentLength = newBody(data, nil), int64(len(data))
		if _, err := v.Authenticate(r, "lambda"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnknownKey is what a stranger costs.
func BenchmarkUnknownKey(b *testing.B) {
	r := signed(b, "POST", "/2015-03-31/functions/hello/invocations", "x", "lambda", noon, nil)
	v := NewVerifier(VerifierOptions{Keys: Ring{}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Authenticate(r, "lambda"); err == nil {
			b.Fatal("accepted")
		}
	}
}
