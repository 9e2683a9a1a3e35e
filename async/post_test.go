package async

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"hearth/faas"
)

// poster is a deliverer that calls what the networks allow.
func poster(networks ...netip.Prefix) *deliverer {
	return &deliverer{dispatcher: &dispatcher{client: newClient(AllowDestinations(networks))}}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func TestPostSendsTheRecordAndItsNames(t *testing.T) {
	var got *http.Request
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	client, err := json.Marshal(map[string]deadLetter{"custom": {"req", "200", "it\r\nbroke: ü"}})
	if err != nil {
		t.Fatal(err)
	}
	o := outgoing{Delivery: faas.Delivery{Kind: faas.DeliverDeadLetter, Destination: faas.Destination(s.URL + "/a?b=c")},
		From: "req", Client: client, Invoked: 3}
	v := poster(loopback)
	defer v.client.CloseIdleConnections()
	if err := v.post(t.Context(), "id", o, []byte(`{"x":1}`)); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.URL.String() != "/a?b=c" || string(body) != `{"x":1}` {
		t.Errorf("%s %s %s", got.Method, got.URL, body)
	}
	for name, want := range map[string]string{"Hearth-Request-Id": "req", "Hearth-Delivery-Id": "id", "Hearth-Delivery": "dead-letter",
		"Hearth-Attempt": "3", "RequestID": "req", "ErrorCode": "200", "ErrorMessage": "it  broke: ", "Content-Type": "application/json"} {
		if value := got.Header.Get(name); strings.TrimSpace(value) != strings.TrimSpace(want) {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
}

func TestPostTakesNoOtherAnswerForAReceipt(t *testing.T) {
	reached := false
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer inner.Close()
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", inner.URL)
		w.WriteHeader(status)
	}))
	defer s.Close()
	v := poster(loopback)
	defer v.client.CloseIdleConnections()
	o := outgoing{Delivery: faas.Delivery{Destination: faas.Destination(s.URL)}}
	for status = range map[int]bool{302: true, 307: true, 400: true, 404: true, 500: true, 503: true} {
		if err := v.post(t.Context(), "id", o, nil); err == nil {
			t.Errorf("%d is taken for a receipt", status)
		}
	}
	if reached {
		t.Error("a redirect was followed")
	}
}

// TestPostReachesNoAddressThatIsNotAllowed has names too: what they resolve to counts.
func TestPostReachesNoAddressThatIsNotAllowed(t *testing.T) {
	reached := false
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer s.Close()
	v := poster()
	for _, url := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1), strings.Replace(s.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		err := v.post(t.Context(), "id", outgoing{Delivery: faas.Delivery{Destination: faas.Destination(url)}}, nil)
		if err == nil || !strings.Contains(err.Error(), "destination-networks") || strings.Contains(err.Error(), url) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if reached {
		t.Error("an address was reached that is not allowed")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(`{"q":"live","n":2,"a":[{"number":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeHeader(b)
		if err != nil {
			return
		}
		again, err := decodeHeader(h.encode())
		if err != nil || again.Failed != h.Failed || again.Qualifier != h.Qualifier || len(again.Attempts) != len(h.Attempts) {
			t.Errorf("%s: %v", b, err)
		}
	})
}

func FuzzKeyAndMarker(f *testing.F) {
	f.Add("000000000000/us-east-1/default/f", "e30")
	f.Fuzz(func(t *testing.T, key, marker string) {
		if id, delivery, ok := functionOf(key); ok && !delivery && keyOf(id) != key || ok && delivery && deliveryKey(id) != key {
			t.Errorf("%q is read as %+v", key, id)
		}
		if p, err := parseMarker(marker); err == nil {
			if again, err := parseMarker(p.marker()); err != nil || again.After != p.After || again.Cursor != p.Cursor {
				t.Errorf("marker %q", marker)
			}
		}
	})
}
