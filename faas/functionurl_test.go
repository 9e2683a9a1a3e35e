package faas

import "testing"

func TestFunctionURLAddress(t *testing.T) {
	u := FunctionURL{ID: "abc"}
	for base, want := range map[string]string{
		"http://127.0.0.1:9000":    "http://abc.lambda-url.eu-west-1.localhost:9000/",
		"http://[::1]:9000":        "http://abc.lambda-url.eu-west-1.localhost:9000/",
		"http://localhost:9000":    "http://abc.lambda-url.eu-west-1.localhost:9000/",
		"https://faas.example":     "https://abc.lambda-url.eu-west-1.faas.example/",
		"http://192.0.2.1:9000":    "http://192.0.2.1:9000/lambda-url/abc/",
		"http://[2001:db8::1]":     "http://[2001:db8::1]/lambda-url/abc/",
		"https://faas.example:444": "https://abc.lambda-url.eu-west-1.faas.example:444/",
	} {
		if got := u.Address(base, "eu-west-1"); got != want {
			t.Errorf("at %s: %s, want %s", base, got, want)
		}
	}
}
