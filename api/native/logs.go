package native

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"hearth/faas"
	"hearth/logs"
)

// logs answers with lines of a function's log, one JSON object a line, oldest
// first; with ?follow=1 it goes on with new ones until the client leaves.
func (a *API) logs(w http.ResponseWriter, r *http.Request) error {
	query, err := a.logQuery(r)
	if err != nil {
		return err
	}
	flush := http.NewResponseController(w)
	out := json.NewEncoder(w)
	if r.URL.Query().Get("follow") != "1" {
		lines, err := a.Logs.Find(r.Context(), query)
		if err != nil {
			return err
		}
		if len(lines) == 0 {
			if err := a.wrote(r.Context(), query.Function); err != nil {
				return err
			}
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, line := range lines {
			_ = out.Encode(line)
		}
		return nil
	}
	if err := a.wrote(r.Context(), query.Function); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(a.stopping, cancel)()
	w.Header().Set("Content-Type", "application/x-ndjson")
	_ = flush.Flush()
	err = a.Logs.Follow(ctx, query, func(line logs.Line) error {
		if err := out.Encode(line); err != nil {
			return err
		}
		return flush.Flush()
	})
	if err != nil && ctx.Err() == nil {
		// The status is sent; the log is where this can still be told.
		a.Logger.Warn("following logs ended", "function", query.Function, "error", err)
	}
	return nil
}

// wrote refuses a function that is not there and left no log: a misspelt name must
// not look like one that is silent.
func (a *API) wrote(ctx context.Context, id faas.FunctionID) error {
	_, missing := a.Registry.Get(ctx, id, "")
	if !faas.IsCode(missing, faas.CodeNotFound) {
		return missing
	}
	lines, err := a.Logs.Find(ctx, logs.Query{Function: id, Tail: 1})
	if err == nil && len(lines) == 0 {
		return missing
	}
	return err
}

func (a *API) logQuery(r *http.Request) (logs.Query, error) {
	q := r.URL.Query()
	query := logs.Query{
		Function:  faas.FunctionID{Scope: a.scope(r), Name: q.Get("function")},
		Version:   q.Get("version"),
		RequestID: q.Get("requestId"),
		Contains:  q.Get("contains"),
	}
	if query.Function.Name == "" {
		return query, faas.Errorf(faas.CodeInvalid, "function", "name the function whose log you want: ?function=NAME")
	}
	var err error
	if query.Since, err = instant(q.Get("since"), "since", a.Now()); err != nil {
		return query, err
	}
	if query.Until, err = instant(q.Get("until"), "until", a.Now()); err != nil {
		return query, err
	}
	if s := q.Get("tail"); s != "" {
		if query.Tail, err = strconv.Atoi(s); err != nil || query.Tail < 0 {
			return query, faas.Errorf(faas.CodeInvalid, "tail", "tail must be a number of lines, not %q", s)
		}
	}
	return query, nil
}

// instant parses a time (RFC 3339) or an age (10m).
func instant(s, field string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, faas.Errorf(faas.CodeInvalid, field, "%s must be a time such as 2026-01-02T15:04:05Z or an age such as 10m, not %q", field, s)
	}
	return t, nil
}
