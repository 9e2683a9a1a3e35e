package nats

import (
	"strings"
	"testing"

	"hearth/engine"
	"hearth/engine/enginetest"
)

func TestKeysStayReadable(t *testing.T) {
	for key, want := range map[string]string{
		"000000000000/us-east-1/default/my_fn": "000000000000.us-east-1.default.my_fn",
		"fn/$LATEST":                           "fn.=24LATEST",
		"a.b/c d":                              "a=2Eb.c=20d",
		"ü/*/>":                                "=C3=BC.=2A.=3E",
	} {
		if got := encodeKey(key); got != want {
			t.Errorf("encodeKey(%q) = %q, want %q", key, got, want)
		}
	}
}

func TestDecodeRefusesOtherSpellings(t *testing.T) {
	for _, subject := range []string{"=41", "=2f", "=2e", "=2F", "=", "=2", "=GG", "a b", "*", ">", "a/b", "é"} {
		if key, err := decodeKey(subject); err == nil {
			t.Errorf("decodeKey(%q) = %q, want an error", subject, key)
		}
	}
}

// FuzzKey: every valid key has one subject that NATS takes and that leads back
// to it, and what decodes encodes to the same subject.
func FuzzKey(f *testing.F) {
	for _, key := range enginetest.HardKeys() {
		f.Add(key)
		f.Add(encodeKey(key))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if key, err := decodeKey(s); err == nil && encodeKey(key) != s {
			t.Errorf("%q decodes to %q, which encodes to %q", s, key, encodeKey(key))
		}
		if engine.CheckKey(s) != nil {
			return
		}
		subject := encodeKey(s)
		if key, err := decodeKey(subject); err != nil || key != s {
			t.Errorf("%q encodes to %q, which decodes to %q, %v", s, subject, key, err)
		}
		for token := range strings.SplitSeq(subject, ".") {
			if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00$") {
				t.Errorf("%q encodes to the invalid subject %q", s, subject)
			}
		}
	})
}
