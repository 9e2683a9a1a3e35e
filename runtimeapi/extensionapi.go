package runtimeapi

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"hearth/internal/uuid"
)

const (
	extensionPrefix          = "/2020-01-01/extension/"
	headerExtensionName      = "Lambda-Extension-Name"
	headerExtensionID        = "Lambda-Extension-Identifier"
	headerExtensionEventID   = "Lambda-Extension-Event-Identifier"
	headerExtensionErrorType = "Lambda-Extension-Function-Error-Type"
	headerExtensionFeature   = "Lambda-Extension-Accept-Feature"

	maxExtensionName = 128     // bytes
	maxExtensionBody = 1 << 20 // bytes of a registration or an error document
)

// route answers a request of an extension. A refusal has Lambda's status, 403.
func (e *Extensions) route(c *conn, q *query) {
	switch {
	case q.path == extensionPrefix+"register" && q.method == http.MethodPost:
		e.register(c, q)
	case q.path == extensionPrefix+"event/next" && q.method == http.MethodGet:
		e.next(c, q)
	case (q.path == telemetryPath || q.path == logsPath) && q.method == http.MethodPut:
		e.subscribe(c, q)
	case q.path == extensionPrefix+"init/error" && q.method == http.MethodPost:
		e.reportError(c, q, TypeExtensionInit)
	case q.path == extensionPrefix+"exit/error" && q.method == http.MethodPost:
		e.reportError(c, q, TypeExtensionExit)
	default:
		c.refuse(q, http.StatusNotFound, "NotFound", "no such Extensions API operation: "+q.method+" "+q.path)
	}
}

func (e *Extensions) register(c *conn, q *query) {
	name, features := q.extension.name, q.extension.feature
	if name == "" || len(name) > maxExtensionName {
		c.refuse(q, http.StatusForbidden, "Extension.InvalidExtensionName", "Empty extension name")
		return
	}
	body, err := e.body(c, q)
	if err != nil {
		return
	}
	var wanted struct {
		Events []string `json:"events"`
	}
	if len(body) > 0 && json.Unmarshal(body, &wanted) != nil {
		c.refuse(q, http.StatusForbidden, "InvalidRequestFormat", "the registration is not the JSON it should be")
		return
	}
	x, errorType, why := e.add(name, wanted.Events, strings.Contains(features, "accountId"))
	if x == nil {
		c.refuse(q, http.StatusForbidden, errorType, why)
		return
	}
	answer := struct {
		Name    string `json:"functionName"`
		Version string `json:"functionVersion"`
		Handler string `json:"handler"`
		Account string `json:"accountId,omitempty"`
	}{Name: e.o.Function, Version: e.o.Version, Handler: e.o.Handler}
	if strings.Contains(features, "accountId") {
		answer.Account = e.o.Account
	}
	c.replyWith(http.StatusOK, eventDocument(answer), q.last, headerExtensionID, x.id)
}

// body reads a request's body; on an error the request is answered.
func (e *Extensions) body(c *conn, q *query) ([]byte, error) {
	if err := c.goOn(q); err != nil {
		return nil, err
	}
	body, err := q.readBody(c.r, maxExtensionBody)
	if err != nil {
		c.refuseBody(q, err)
		return nil, err
	}
	q.length = 0 // a refusal reads no more of it
	return body, nil
}

// add registers an extension: one that was started, or one inside the runtime, which
// may come until the runtime is ready.
func (e *Extensions) add(name string, events []string, features bool) (x *extension, errorType, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := slices.IndexFunc(e.all, func(x *extension) bool { return x.name == name })
	for _, event := range events {
		if event == eventInvoke && e.o.Concurrent {
			return nil, "Extension.InvalidEventType", "INVOKE: the instance holds several invocations at once, of which extensions are not told"
		}
		if event != eventInvoke && (event != eventShutdown || at < 0 || !e.all[at].external) {
			return nil, "Extension.InvalidEventType", event + ": an extension registers for INVOKE, and an external one for SHUTDOWN"
		}
	}
	switch {
	case at >= 0 && e.all[at].id != "":
		return nil, "Extension.InvalidExtensionState", "Extension with this name already registered"
	case e.sealed:
		return nil, "Extension.RegistrationClosed", "Extension registration closed already"
	case at < 0 && len(e.all) >= MaxExtensions:
		return nil, "Extension.TooManyExtensions", "Extension limit (10) reached"
	case at < 0:
		at = len(e.all)
		e.all = append(e.all, &extension{name: name})
	}
	x = e.all[at]
	x.id, x.events, x.features = uuid.New(), slices.Clone(events), features
	slices.Sort(x.events)
	x.events = slices.Compact(x.events)
	e.count.Add(1)
	e.stepLocked()
	return x, "", ""
}

var identifier = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// identify finds the extension that a request is of, or refuses the request.
func (e *Extensions) identify(c *conn, q *query) *extension {
	id := q.extension.id
	switch {
	case id == "":
		c.refuse(q, http.StatusForbidden, "Extension.MissingExtensionIdentifier", "Missing "+headerExtensionID+" header")
		return nil
	case !identifier.MatchString(id):
		c.refuse(q, http.StatusForbidden, "Extension.InvalidExtensionIdentifier", "Invalid "+headerExtensionID)
		return nil
	}
	e.mu.Lock()
	at := slices.IndexFunc(e.all, func(x *extension) bool { return x.id == id })
	var x *extension
	if at >= 0 {
		x = e.all[at]
	}
	e.mu.Unlock()
	if x == nil {
		c.refuse(q, http.StatusForbidden, "Extension.UnknownExtensionIdentifier", "Unknown extension "+id)
	}
	return x
}

// next answers with the extension's next event, when there is one. The extension is
// done with the event before. Of two polls at once the later one gets it.
func (e *Extensions) next(c *conn, q *query) {
	q.skipBody(c.r)
	x := e.identify(c, q)
	if x == nil {
		return
	}
	waiting := make(chan []byte, 1)
	e.mu.Lock()
	if x.waiting != nil {
		close(x.waiting)
		x.waiting = nil
	}
	x.polled, x.working = true, x.undelivered != nil && x.working
	if x.undelivered != nil {
		waiting <- x.undelivered
		x.undelivered = nil
	} else {
		x.waiting = waiting
	}
	e.stepLocked()
	e.mu.Unlock()
	select {
	case document, ok := <-waiting:
		if !ok {
			c.refuse(q, http.StatusForbidden, "Extension.InvalidExtensionState", "a later poll of this extension took the place of this one")
			return
		}
		c.replyWith(http.StatusOK, document, q.last, headerExtensionEventID, uuid.New())
	case <-e.gone:
		q.last = true
	case <-c.server.gone:
		q.last = true
	}
}

// reportError takes an extension's word that it cannot go on; the instance ends.
func (e *Extensions) reportError(c *conn, q *query, errorType string) {
	x := e.identify(c, q)
	if x == nil {
		return
	}
	reason := q.extension.errorType
	if reason == "" {
		c.refuse(q, http.StatusForbidden, "Extension.MissingHeader", headerExtensionErrorType+" not found")
		return
	}
	if _, err := e.body(c, q); err != nil {
		return
	}
	// Noted before the answer, with which the extension ends, as if it had crashed; the
	// instance ends after it.
	e.mu.Lock()
	counts := e.noteLocked(x.name, errorType, reason)
	e.mu.Unlock()
	c.accept()
	if counts {
		close(e.failed)
	}
}
