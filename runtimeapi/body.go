package runtimeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// oversizeError is a body over the limit.
type oversizeError struct {
	atLeast int64 // bytes: what was announced or read
	limit   int
}

func (e *oversizeError) Error() string {
	return fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", e.limit)
}

// readBody reads a request's body of at most limit bytes, else it returns an
// *oversizeError after reading on for a bounded while. Memory is taken as bytes
// arrive, not as they are announced.
func readBody(r *http.Request, limit int) ([]byte, error) {
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= 256<<10 {
		buf.Grow(int(n) + bytes.MinRead) // ReadFrom wants room to see the end
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if n <= int64(limit) {
		return buf.Bytes(), nil
	}
	// An error here is the client's own: it does not hear the answer then.
	m, _ := io.CopyN(io.Discard, r.Body, drainLimit)
	return nil, &oversizeError{atLeast: max(n+m, r.ContentLength), limit: limit}
}

// refuseBody answers a post whose body could not be taken.
func (s *Server) refuseBody(w http.ResponseWriter, err error) {
	if size, ok := err.(*oversizeError); ok {
		w.Header().Set("Connection", "close") // what is left of the body is not read
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", size.Error())
		return
	}
	refuse(w, http.StatusBadRequest, "InvalidRequest", "the request's body could not be read")
}

func accept(w http.ResponseWriter) {
	reply(w, http.StatusAccepted, []byte(`{"status":"OK"}`+"\n"))
}

// refuse answers with the Runtime API's error document.
func refuse(w http.ResponseWriter, status int, errorType, message string) {
	body, err := json.Marshal(struct {
		Message string `json:"errorMessage"`
		Type    string `json:"errorType"`
	}{message, errorType})
	if err != nil { // strings always marshal
		body = []byte("{}")
	}
	reply(w, status, append(body, '\n'))
}

func reply(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// A client that does not hear the answer has ended; its sandbox tells that.
	_, _ = w.Write(body)
}
