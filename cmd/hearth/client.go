package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"hearth/api/native"
	"hearth/auth"
	"hearth/faas"
)

// client speaks the native API with a server.
type client struct {
	base  string
	query url.Values // region and namespace
	http  *http.Client
	// key signs the requests; nil sends them unsigned. keyErr is why it could not be read.
	key    *auth.Credentials
	keyErr error
}

func newClient(v values) *client {
	q := url.Values{}
	q.Set("region", v["region"])
	q.Set("namespace", v["namespace"])
	base := strings.TrimRight(v["server"], "/")
	if !strings.Contains(base, "://") {
		base = "http://" + base // HOST:PORT, as --listen takes it
	}
	c := &client{base: base, query: q, http: &http.Client{}}
	c.key, c.keyErr = findCredentials(v, os.Getenv)
	return c
}

// do sends one request and decodes the answer into out, where that is not nil.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader, out any) error {
	response, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if out == nil {
		return nil
	}
	return c.decode(ctx, response.Body, out)
}

func (c *client) decode(ctx context.Context, body io.Reader, out any) error {
	if err := json.NewDecoder(body).Decode(out); err != nil {
		if ctx.Err() != nil {
			return c.noAnswer(ctx, err)
		}
		return fmt.Errorf("the answer of %s cannot be understood (is it a Hearth server?): %w", c.base, err)
	}
	return nil
}

// send returns the answer of a request that succeeded; the caller closes it.
func (c *client) send(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	return c.sendWith(ctx, method, path, query, nil, body)
}

func (c *client) sendWith(ctx context.Context, method, path string, query url.Values, headers http.Header, body io.Reader) (*http.Response, error) {
	all := url.Values{}
	for _, q := range []url.Values{c.query, query} {
		for k, v := range q {
			all[k] = v
		}
	}
	request, err := c.request(ctx, method, path+"?"+all.Encode(), headers, body)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("no server answers at %s: start one with 'hearth up', or name yours with --server", c.base)
	}
	if err != nil {
		return nil, c.noAnswer(ctx, err)
	}
	if response.StatusCode < 300 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, c.refusal(response)
}

// request makes a request and signs it, where there is a key.
func (c *client) request(ctx context.Context, method, target string, headers http.Header, body io.Reader) (*http.Request, error) {
	if c.keyErr != nil {
		return nil, c.keyErr
	}
	var content []byte
	if c.key != nil && body != nil {
		var err error
		if content, err = io.ReadAll(body); err != nil {
			return nil, err
		}
		body = bytes.NewReader(content)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+"/hearth/v1/"+target, body)
	if err != nil {
		return nil, usageError("--server: %w", err)
	}
	maps.Copy(request.Header, headers)
	if c.key != nil {
		auth.Sign(request, content, *c.key, c.query.Get("region"), "hearth", time.Now())
	}
	return request, nil
}

// noAnswer says in a person's words why a request got no answer.
func (c *client) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; what the server was asked for may still happen")
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the URL, which is long and says nothing new
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("the server at %s ended before it answered; see its log", c.base)
	}
	return fmt.Errorf("no answer from %s: %w", c.base, err)
}

// refusal turns an error answer into the error and exit code of a command.
func (c *client) refusal(response *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	var body native.Error
	if err := json.Unmarshal(raw, &body); err != nil || body.Error.Code == "" {
		return fmt.Errorf("%s answered %s, which is not how a Hearth server answers", c.base, response.Status)
	}
	e := &faas.Error{Code: body.Error.Code, Subject: body.Error.Subject, Message: body.Error.Message}
	code := exitFailure
	switch e.Code {
	case faas.CodeNotFound:
		code = exitNotFound
	case faas.CodeThrottled, faas.CodeNoCapacity, faas.CodeShuttingDown:
		code = exitThrottled
	}
	if id := response.Header.Get(native.HeaderRequestID); id != "" && code == exitThrottled {
		e.Message += "\n'hearth explain " + id + "' says more"
	}
	return &exitError{code, errors.New(e.Message)}
}

// deployed reports whether there is such a function; an error says no.
func (c *client) deployed(ctx context.Context, name string) bool {
	return c.do(ctx, http.MethodGet, "functions/"+url.PathEscape(name), nil, nil, nil) == nil
}

func (c *client) deploy(ctx context.Context, name string, req *native.DeployRequest) (*native.Deployed, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	out := new(native.Deployed)
	return out, c.do(ctx, http.MethodPut, "functions/"+url.PathEscape(name), nil, bytes.NewReader(body), out)
}

func (c *client) invoke(ctx context.Context, name, qualifier string, payload []byte) (*native.Invoked, error) {
	q := url.Values{"tail": {"1"}}
	if qualifier != "" {
		q.Set("qualifier", qualifier)
	}
	out := new(native.Invoked)
	return out, c.do(ctx, http.MethodPost, "functions/"+url.PathEscape(name)+"/invoke", q, bytes.NewReader(payload), out)
}

// accept sends an event and returns when it is durable.
func (c *client) accept(ctx context.Context, name, qualifier, key string, payload []byte) (*native.Accepted, error) {
	q := url.Values{}
	if qualifier != "" {
		q.Set("qualifier", qualifier)
	}
	headers := http.Header{}
	if key != "" {
		headers.Set(native.HeaderIdempotencyKey, key)
	}
	response, err := c.sendWith(ctx, http.MethodPost, functionPath(name, "events"), q, headers, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	out := new(native.Accepted)
	return out, c.decode(ctx, response.Body, out)
}
