package runtimeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"hearth/faas"
)

func newExtensionServer(t *testing.T, o ExtensionOptions) (*Extensions, *client) {
	t.Helper()
	e := NewExtensions(o)
	_, c := newServer(t, ServerOptions{Extensions: e, OnlyExtensions: true})
	t.Cleanup(e.Close)
	return e, c
}

// register registers an extension and returns its identifier, or the type of the error.
func (c *client) register(name, events string) (id, errorType string) {
	c.t.Helper()
	resp, body := c.do("POST", extensionPrefix+"register", http.Header{headerExtensionName: {name}}, strings.NewReader(`{"events":[`+events+`]}`))
	if resp.StatusCode == http.StatusOK {
		return resp.Header.Get(headerExtensionID), ""
	}
	return "", c.errorOf(resp, body)
}

// errorOf is the type of a refusal, which is a 403.
func (c *client) errorOf(resp *http.Response, body string) string {
	c.t.Helper()
	var doc struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(body), &doc); err != nil || resp.StatusCode != http.StatusForbidden || doc.ErrorMessage == "" {
		c.t.Errorf("refused with %d %s", resp.StatusCode, body)
	}
	return doc.ErrorType
}

func (c *client) nextEvent(id string) (event map[string]any) {
	c.t.Helper()
	resp, body := c.do("GET", extensionPrefix+"event/next", http.Header{headerExtensionID: {id}}, nil)
	if err := json.Unmarshal([]byte(body), &event); err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get(headerExtensionEventID) == "" {
		c.t.Errorf("next event: %d %s", resp.StatusCode, body)
	}
	return event
}

func TestExtensionsProtocol(t *testing.T) {
	e, c := newExtensionServer(t, ExtensionOptions{Function: "f", Version: "3", Handler: "a.b", Account: "1", External: []string{"out", "other"}})
	ctx := soon(t)
	out, _ := c.register("out", `"INVOKE","SHUTDOWN","INVOKE"`)
	other, _ := c.register("other", ``)
	in, _ := c.register("in", `"INVOKE"`)
	if err := e.AwaitRegistered(ctx); err != nil {
		t.Fatal(err)
	}
	events := make(chan string, 8)
	// Some polls are still there at the end, and then end without an answer.
	poll := func(name, id string) {
		go func() {
			r, err := http.NewRequest("GET", c.base+extensionPrefix+"event/next", nil)
			if err != nil {
				return
			}
			r.Header[headerExtensionID] = []string{id}
			var event struct{ EventType string }
			if resp, err := c.http.Do(r); err == nil {
				defer resp.Body.Close()
				if json.NewDecoder(resp.Body).Decode(&event) == nil {
					events <- name + " " + event.EventType
				}
			}
		}()
	}
	for name, id := range map[string]string{"out": out, "other": other, "in": in} {
		poll(name, id)
	}
	if err := e.AwaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	e.Begin(&faas.Event{RequestID: "r", Deadline: time.Now().Add(time.Minute)})
	got := map[string]bool{<-events: true, <-events: true}
	if !got["out INVOKE"] || !got["in INVOKE"] {
		t.Errorf("events %v", got)
	}
	working := e.Working()
	poll("in", in)
	select {
	case <-working:
		t.Error("done, and one extension is not")
	default:
	}
	poll("out", out)
	<-working
	if e.Working() != nil {
		t.Error("still at work")
	}
	if !e.Shutdown("spindown", time.Now()) {
		t.Error("nobody was told of the end")
	}
	if got := <-events; got != "out SHUTDOWN" {
		t.Errorf("event %s", got)
	}
	e.Fail("out", TypeExtensionCrash, "exit code 1")
	if e.Failure() != nil {
		t.Error("an extension that ends when told has failed")
	}
}

// What an extension gets that does not keep to the rules.
func TestExtensionsRefuse(t *testing.T) {
	e, c := newExtensionServer(t, ExtensionOptions{External: []string{"out"}})
	id, _ := c.register("out", `"INVOKE"`)
	for _, r := range []struct{ name, events, want string }{
		{"", ``, "Extension.InvalidExtensionName"},
		{strings.Repeat("x", 200), ``, "Extension.InvalidExtensionName"},
		{"out", ``, "Extension.InvalidExtensionState"},
		{"in", `"SHUTDOWN"`, "Extension.InvalidEventType"},
		{"in", `"COFFEE"`, "Extension.InvalidEventType"},
		{"in", `{`, "InvalidRequestFormat"},
	} {
		if _, got := c.register(r.name, r.events); got != r.want {
			t.Errorf("register %.20q for %s: %s, want %s", r.name, r.events, got, r.want)
		}
	}
	for i := range MaxExtensions {
		if _, got := c.register(fmt.Sprint("in", i), ``); (got != "") != (i == MaxExtensions-1) {
			t.Errorf("extension %d: %s", i+2, got)
		}
	}
	const unknown = "00000000-0000-4000-8000-000000000000"
	for _, r := range []struct {
		method, path, id, errorType, want string
	}{
		{"GET", "event/next", "", "", "Extension.MissingExtensionIdentifier"},
		{"GET", "event/next", "x", "", "Extension.InvalidExtensionIdentifier"},
		{"GET", "event/next", unknown, "", "Extension.UnknownExtensionIdentifier"},
		{"POST", "init/error", unknown, "a", "Extension.UnknownExtensionIdentifier"},
		{"POST", "init/error", id, "", "Extension.MissingHeader"},
		{"POST", "exit/error", "", "a", "Extension.MissingExtensionIdentifier"},
	} {
		resp, body := c.do(r.method, extensionPrefix+r.path, http.Header{headerExtensionID: {r.id}, headerExtensionErrorType: {r.errorType}}, strings.NewReader("{}"))
		if got := c.errorOf(resp, body); got != r.want {
			t.Errorf("%s with %q: %s, want %s", r.path, r.id, got, r.want)
		}
	}
	if resp, _ := c.do("GET", invocationPrefix+"next", nil, nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("an extension that plays runtime: %d", resp.StatusCode)
	}
	if resp, _ := c.do("GET", extensionPrefix+"coffee", nil, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown operation: %d", resp.StatusCode)
	}
	if e.Failure() != nil {
		t.Errorf("a refused request failed the instance: %v", e.Failure())
	}
	if resp, body := c.do("POST", extensionPrefix+"exit/error", http.Header{headerExtensionID: {id}, headerExtensionErrorType: {"My.Error"}}, strings.NewReader("{}")); resp.StatusCode != http.StatusAccepted {
		t.Errorf("exit/error: %d %s", resp.StatusCode, body)
	}
	var failure *ExtensionError
	if err := e.AwaitReady(soon(t)); !errors.As(err, &failure) || failure.Type != TypeExtensionExit || failure.Reason != "My.Error" {
		t.Errorf("after exit/error: %v", err)
	}
}

// An event is not lost with a poll that another replaced, nor where nobody polls.
func TestExtensionsPollAgain(t *testing.T) {
	e, c := newExtensionServer(t, ExtensionOptions{External: []string{"out"}})
	id, _ := c.register("out", `"INVOKE"`)
	first, cancel := context.WithCancel(soon(t))
	r, err := http.NewRequestWithContext(first, "GET", c.base+extensionPrefix+"event/next", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header[headerExtensionID] = []string{id}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := c.http.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	if err := e.AwaitReady(soon(t)); err != nil { // it has polled
		t.Fatal(err)
	}
	got := make(chan any, 1)
	go func() { got <- c.nextEvent(id)["requestId"] }()
	<-ended // the poll that was replaced has ended
	cancel()
	e.Begin(&faas.Event{RequestID: "one", Deadline: time.Now().Add(time.Minute)})
	if id := <-got; id != "one" {
		t.Errorf("got the event of %v", id)
	}
	e.Begin(&faas.Event{RequestID: "two", Deadline: time.Now().Add(time.Minute)})
	if event := c.nextEvent(id); event["requestId"] != "two" {
		t.Errorf("got %v", event)
	}
	if e.Working() == nil {
		t.Error("done with an event that it has just got")
	}
}

func TestExtensionsAreGivenUp(t *testing.T) {
	e, c := newExtensionServer(t, ExtensionOptions{External: []string{"out"}, Concurrent: true})
	if _, got := c.register("out", `"INVOKE"`); got != "Extension.InvalidEventType" {
		t.Errorf("told of invocations beside each other: %s", got)
	}
	e, c = newExtensionServer(t, ExtensionOptions{External: []string{"out"}})
	c.register("out", `"INVOKE"`)
	e.Begin(&faas.Event{RequestID: "one", Deadline: time.Now()})
	select {
	case <-e.Failed():
	case <-soon(t).Done():
		t.Fatal("an extension that never comes for its event is not given up")
	}
	if f := e.Failure(); f.Name != "out" {
		t.Errorf("%v", f)
	}
	e.Close()
	if e.Working() != nil {
		t.Error("closed, and at work")
	}
}
