package soak

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// callTimeout bounds every request. No call may wait longer than an init and its
// function's timeout take.
const callTimeout = 3 * time.Minute

// api is a client of the server.
type api struct {
	url  string
	http *http.Client
}

func newAPI(url string) *api {
	return &api{url: url, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2 * callers}}}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r *reply) String() string {
	return fmt.Sprintf("%d %s %s %.400s", r.status, r.header.Get("X-Amzn-Errortype"), r.header.Get("X-Amz-Function-Error"), r.body)
}

func (a *api) call(ctx context.Context, method, path string, body []byte, header http.Header) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	out, err := io.ReadAll(res.Body)
	return &reply{res.StatusCode, res.Header, out}, err
}

// want sends a request that has to succeed, and decodes its answer into out.
func (a *api) want(method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := a.call(context.Background(), method, path, body, nil)
	if err != nil {
		return err
	}
	if r.status/100 != 2 {
		return fmt.Errorf("%s %s: %v", method, path, r)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(r.body, out)
}

// invoke calls a function through the Lambda API and asks for the log's tail.
func (a *api) invoke(ctx context.Context, name, qualifier, kind string, event any) (*reply, error) {
	body, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	path := lambdaFunctions + name + "/invocations"
	if qualifier != "" {
		path += "?Qualifier=" + url.QueryEscape(qualifier)
	}
	return a.call(ctx, http.MethodPost, path, body, http.Header{
		"X-Amz-Log-Type": {"Tail"}, "X-Amz-Invocation-Type": {kind},
	})
}

// tail is the end of the invocation's log, as lines; the first one is left out
// where it may be cut off.
func (r *reply) tail() ([]string, error) {
	text, err := base64.StdEncoding.DecodeString(r.header.Get("X-Amz-Log-Result"))
	if err != nil || len(text) == 0 {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(text) >= 4096 {
		lines = lines[1:]
	}
	return lines, nil
}
