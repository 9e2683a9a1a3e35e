package auth

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// documented is the example of "Signature calculations for the authorization header:
// transferring payload in multiple chunks" in Amazon S3's API reference.
func documented(t *testing.T) (*http.Request, *Verifier) {
	chunk := func(size int, signature string) string {
		return fmt.Sprintf("%x;chunk-signature=%s\r\n%s\r\n", size, signature, strings.Repeat("a", size))
	}
	text := chunk(65536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648") +
		chunk(1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497") +
		chunk(0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9")
	r, err := http.NewRequest("PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"X-Amz-Date": "20130524T000000Z", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "Content-Encoding": "aws-chunked",
		"X-Amz-Content-Sha256": streamSigned, "X-Amz-Decoded-Content-Length": "66560", "Content-Length": "66824",
		"Authorization": algorithm + " Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
			"SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class," +
			"Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
	} {
		r.Header.Set(name, value)
	}
	c := Credentials{KeyID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	return r, NewVerifier(VerifierOptions{Keys: Ring{c.KeyID: newKey(c, nil)},
		Clock: func() time.Time { return time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC) }})
}

func TestDocumentedChunks(t *testing.T) {
	r, v := documented(t)
	if _, err := v.Authenticate(r, "s3"); err != nil {
		t.Fatal(err)
	}
	if got := body(t, r); got != strings.Repeat("a", 66560) {
		t.Errorf("%d bytes came out", len(got))
	}
	if r.ContentLength != 66560 || r.Header.Get("Content-Encoding") != "" {
		t.Errorf("length %d, encoding %q", r.ContentLength, r.Header.Get("Content-Encoding"))
	}
}

// chunked signs a body in chunks, as an SDK does, with a trailer where the mode has one.
func chunked(t *testing.T, mode string, parts ...string) (*http.Request, string) {
	size := len(strings.Join(parts, ""))
	r := signed(t, "PUT", "/2015-03-31/functions/hello/code", "", "lambda", noon, func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", mode)
		r.Header.Set("X-Amz-Decoded-Content-Length", fmt.Sprint(size))
		r.Header.Set("Content-Encoding", "gzip,aws-chunked")
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32c")
	})
	var c claim
	if err := readClaim(r, &c); err != nil {
		t.Fatal(err)
	}
	key := newKey(example, nil).signingKey(&c)
	before := c.signature
	sign := func(kind, middle, data string) string {
		before = fmt.Sprintf("%x", key.sign(nil, []byte(algorithm+kind+"\n"+c.atText+"\n"+c.scope+"/"+terminator+"\n"+before+"\n"+middle+
			fmt.Sprintf("%x", sha256.Sum256([]byte(data))))))
		return before
	}
	var text strings.Builder
	for _, part := range append(parts, "") {
		fmt.Fprintf(&text, "%x", len(part))
		if mode != streamUnsignedTrailer {
			text.WriteString(";chunk-signature=" + sign("-PAYLOAD", emptyHash+"\n", part))
		}
		text.WriteString("\r\n" + part)
		if part != "" {
			text.WriteString("\r\n")
		}
	}
	if mode != streamSigned {
		const field = "x-amz-checksum-crc32c:sOO8/Q=="
		text.WriteString(field + "\r\n")
		if mode == streamSignedTrailer {
			text.WriteString("x-amz-trailer-signature:" + sign("-TRAILER", "", field+"\n") + "\r\n")
		}
	}
	text.WriteString("\r\n")
	return r, text.String()
}

func TestChunks(t *testing.T) {
	for _, mode := range []string{streamSigned, streamSignedTrailer, streamUnsignedTrailer} {
		t.Run(mode, func(t *testing.T) {
			authenticate := func(change func(string) string) (string, error) {
				r, text := chunked(t, mode, "hello ", "w\r\norld")
				text = change(text)
				r.Body, r.ContentLength = newBody([]byte(text), nil), int64(len(text))
				if _, err := verifierAt(noon, nil).Authenticate(r, "lambda"); err != nil {
					return "", err
				}
				if r.Header.Get("Content-Encoding") != "gzip" {
					t.Errorf("what is left of the encoding is %q", r.Header.Get("Content-Encoding"))
				}
				return body(t, r), nil
			}
			got, err := authenticate(func(s string) string { return s })
			if err != nil || got != "hello w\r\norld" {
				t.Fatalf("%q, %v", got, err)
			}
			for name, change := range map[string]func(string) string{
				"cut":          func(s string) string { return s[:len(s)-3] },
				"half":         func(s string) string { return s[:len(s)/2] },
				"last dropped": func(s string) string { return s[:strings.LastIndex(s, "\r\n0")+2] },
				"size":         func(s string) string { return "7" + s[1:] },
				"no size":      func(s string) string { return "x" + s[1:] },
				"huge":         func(s string) string { return "7fffffff" + s[1:] },
				"line":         func(s string) string { return strings.Repeat("0", 2*maxChunkLine) + s },
				"more":         func(s string) string { return strings.Replace(s, "hello ", "hello hello ", 1) },
			} {
				if got, err := authenticate(change); err == nil {
					t.Errorf("%s: accepted as %q", name, got)
				}
			}
			for name, change := range map[string]func(string) string{
				"content": func(s string) string { return strings.Replace(s, "hello", "hullo", 1) },
				"order": func(s string) string {
					second := strings.Index(s, "7;")
					last := strings.Index(s, "\r\n0;") + 2
					return s[second:last] + s[:second] + s[last:]
				},
				"trailer": func(s string) string { return strings.Replace(s, "sOO8", "xxxx", 1) },
			} {
				if mode == streamUnsignedTrailer || name == "trailer" && mode == streamSigned {
					continue // it is not signed
				}
				if got, err := authenticate(change); kindOf(err) != Invalid {
					t.Errorf("%s: accepted as %q, or %v", name, got, err)
				}
			}
		})
	}
	r, text := chunked(t, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "x")
	r.Body = newBody([]byte(text), nil)
	if _, err := verifierAt(noon, nil).Authenticate(r, "lambda"); kindOf(err) != Invalid {
		t.Errorf("a mode that is not known: %v", err)
	}
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5;chunk-signature=00\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:a\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := claim{payload: streamUnsignedTrailer}
		v := verifierAt(noon, nil)
		s := newChunkReader(newBody(text, nil), &c, nil)
		data, release, err := v.readAll(nil, s, -1)
		release()
		if err == nil && len(data) > len(text) {
			t.Errorf("%d bytes came out of %d", len(data), len(text))
		}
	})
}

// FuzzAuthenticate feeds whole requests: none is accepted, none is a panic.
func FuzzAuthenticate(f *testing.F) {
	f.Add("POST /x?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261128%2Fx%2Flambda%2Faws4_request&X-Amz-Date=20261128T120000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=0 HTTP/1.1\r\nHost: a\r\n\r\n")
	f.Add("POST /%3A HTTP/1.1\r\nHost: a\r\nX-Amz-Date: 20261128T120000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261128/eu/lambda/aws4_request, SignedHeaders=host;x-amz-date, Signature=0\r\nContent-Length: 1\r\n\r\nx")
	v := verifierAt(noon, nil)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		who, err := v.Authenticate(r, "lambda")
		if err == nil || who != nil {
			t.Fatalf("accepted: %q", text)
		}
		if e, ok := err.(*Error); !ok || e.Kind == 0 || e.Message == "" || strings.Contains(e.Message, example.Secret) {
			t.Fatalf("refused with %#v", err)
		}
		_, _ = new(Trusting).Authenticate(r, "lambda")
	})
}
