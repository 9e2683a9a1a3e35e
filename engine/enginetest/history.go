package enginetest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"hearth/engine"
	"hearth/faas"
)

func historyGet(t *testing.T, ctx context.Context, o Queues) {
	q, h := o.Queue(), o.History()
	_, err := h.Get(ctx, ID(1))
	wantIs(t, "Get of nothing", err, engine.ErrNotFound)
	appendAll(t, ctx, q, "a/f", 1, 2)
	_, err = h.Get(ctx, ID(1))
	wantIs(t, "Get of what waits", err, engine.ErrNotFound)
	accepted := wantFetch(t, ctx, q, "a/f", 2, 1, 2)[0].Accepted
	check(t, q.Update(ctx, ID(2), []byte("last header")))
	check(t, q.Settle(ctx, ID(1), engine.Outcome{Status: "done", Details: []byte("fine")}))
	check(t, q.Settle(ctx, ID(2), engine.Outcome{Status: "failed", Keep: true}))
	r := must(h.Get(ctx, ID(1)))(t)
	if r.ID != ID(1) || r.Key != "a/f" || r.Status != "done" || string(r.Details) != "fine" || r.Kept || r.Body != nil || !r.Accepted.Equal(accepted) {
		t.Errorf("the record of 1: %+v", r)
	}
	if r.Settled.Before(r.Accepted) || time.Since(r.Settled) < -time.Microsecond {
		t.Errorf("accepted %v, settled %v", r.Accepted, r.Settled)
	}
	r = must(h.Get(ctx, ID(2)))(t)
	if r.Status != "failed" || !r.Kept || string(r.Header) != "last header" || string(r.Body) != "body 2" {
		t.Errorf("the record of 2: %+v", r)
	}
}

func historyList(t *testing.T, ctx context.Context, o Queues) {
	q, h := o.Queue(), o.History()
	settle := func(n int, key, status string) {
		t.Helper()
		appendAll(t, ctx, q, key, n)
		check(t, q.Settle(ctx, ID(n), engine.Outcome{Status: status, Keep: true}))
	}
	settle(1, "a/f", "done")
	settle(2, "a/f", "failed")
	settle(3, "a/fg", "done")
	settle(4, "a/g", "done")
	settle(5, "b/f", "failed")
	settle(6, "a/f", "done")
	middle := must(h.Get(ctx, ID(4)))(t).Settled
	for _, row := range []struct {
		q    engine.Query
		want []int
	}{
		{engine.Query{}, []int{6, 5, 4, 3, 2, 1}},
		{engine.Query{Limit: 2}, []int{6, 5}},
		{engine.Query{Prefix: "a/f"}, []int{6, 2, 1}},
		{engine.Query{Prefix: "a"}, []int{6, 4, 3, 2, 1}},
		{engine.Query{Status: "failed"}, []int{5, 2}},
		{engine.Query{Prefix: "a/f", Status: "done"}, []int{6, 1}},
		{engine.Query{Prefix: "c"}, nil},
		{engine.Query{Since: middle}, []int{6, 5, 4}},
		{engine.Query{Until: middle}, []int{3, 2, 1}},
	} {
		if row.q.Limit == 0 {
			row.q.Limit = engine.MaxListed
		}
		records := must(h.List(ctx, row.q))(t)
		if got := numbers(t, records); !slices.Equal(got, row.want) {
			t.Errorf("List(%+v) = %v, want %v", row.q, got, row.want)
		}
		for _, r := range records {
			if !r.Kept || r.Body != nil {
				t.Errorf("listed %+v", r)
			}
		}
	}
	for _, bad := range []engine.Query{{}, {Limit: engine.MaxListed + 1}, {Limit: 1, Prefix: "a//"}} {
		if _, err := h.List(ctx, bad); !faas.IsCode(err, faas.CodeInvalid) {
			t.Errorf("List(%+v): %v", bad, err)
		}
	}
}

func numbers(t *testing.T, records []engine.Record) (ns []int) {
	t.Helper()
	for _, r := range records {
		var n int
		if _, err := fmt.Sscanf(r.ID[24:], "%x", &n); err != nil {
			t.Fatal(err)
		}
		ns = append(ns, n)
	}
	return ns
}

// historyOrder pages through what many keys settled: newest first, nothing twice
// and nothing left out.
func historyOrder(t *testing.T, ctx context.Context, o Queues) {
	q, h := o.Queue(), o.History()
	const count = 100
	var want []int
	for n := range count {
		key := fmt.Sprintf("a/%d", n%7)
		appendAll(t, ctx, q, key, n)
		check(t, q.Settle(ctx, ID(n), engine.Outcome{Status: "done"}))
		want = append(want, count-1-n)
	}
	var got []int
	query := engine.Query{Limit: 7}
	for {
		records := must(h.List(ctx, query))(t)
		if len(records) == 0 {
			break
		}
		got = append(got, numbers(t, records)...)
		query.Before = records[len(records)-1].Cursor
	}
	if !slices.Equal(got, want) {
		t.Errorf("paging found %v", got)
	}
}
