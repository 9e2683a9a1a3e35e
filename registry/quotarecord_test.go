package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"hearth/engine"
	"hearth/engine/fake"
	"hearth/faas"
	"hearth/internal/uuid"
	"hearth/quota"
)

// FuzzDecodeQuota: what is read is written as bytes that are read as the same,
// and joins with functions without a panic.
func FuzzDecodeQuota(f *testing.F) {
	f.Add([]byte(`{"format":1,"limits":{}}`))
	f.Add([]byte(`{"format":1,"limits":{"memoryMB":1},"functions":{"default/f":{"incarnation":"i","reserved":{"unit":"MB","value":7},"provisioned":[{"qualifier":"a","amount":{"unit":"executions","value":3}},{"qualifier":"1","amount":{"unit":"MB","value":-3}}]}}}`))
	f.Add([]byte(`{"format":1,"functions":{"default/f":null}}`))
	f.Add([]byte(`{"format":2}`))
	s := newSnapshot(tableID(), 1, &record{
		Incarnation: "i", Head: &faas.Version{},
		Published: []published{{Number: 1}}, Aliases: []faas.Alias{{Name: "a", Version: "1"}},
	}, map[int64]storedVersion{1: {content: &versionRecord{Incarnation: "i", Version: &faas.Version{ID: faas.VersionID{Number: "1"}}}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decodeQuota("quota/a/b", b)
		if err != nil {
			return
		}
		once, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeQuota("quota/a/b", once)
		if err != nil {
			t.Fatalf("written, and not read: %v", err)
		}
		if twice, _ := json.Marshal(again); !bytes.Equal(once, twice) {
			t.Fatalf("%s became %s", once, twice)
		}
		account := quota.Account{ID: "123456789012", Region: "us-east-1"}
		settings := rec.settings(account, func(faas.FunctionID) *snapshot { return s })
		_ = quota.Check(account, settings)
		for _, id := range rec.ids(account) {
			if quotaName(id) != id.Namespace+"/"+id.Name || rec.Functions[quotaName(id)] == nil {
				t.Fatalf("%v is no function of the record", id)
			}
			rec.live(id, s)
		}
	})
}

// 12,000 functions of one account may have a reservation, and a small record stays
// readable for people.
func TestManyReservations(t *testing.T) {
	for _, n := range []int{100, 12_000} {
		rec := (&quotaRecord{Format: quotaFormat}).clone()
		for i := range n {
			rec.Functions[fmt.Sprint("default/a-function-of-many-", i)] = &functionQuota{Incarnation: uuid.New(), Reserved: &faas.Amount{Unit: faas.UnitExecutions, Value: i}}
		}
		b, err := rec.encode()
		if err != nil {
			t.Fatalf("%d reservations: %v", n, err)
		}
		if plain := json.Valid(b); plain != (n == 100) || len(b) > engine.MaxValue {
			t.Errorf("%d reservations: %d bytes, readable %t", n, len(b), plain)
		}
		got, err := decodeQuota("quota/a/b", b)
		if err != nil || !reflect.DeepEqual(got, rec) {
			t.Errorf("%d reservations are not read as they were written: %v", n, err)
		}
	}
}

// A record that would fill the memory is refused.
func TestQuotaRecordBomb(t *testing.T) {
	bomb, err := compress(append([]byte(`{"format":1}`), bytes.Repeat([]byte(" "), quotaMost)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeQuota("quota/a/b", bomb); err == nil {
		t.Error("it is read")
	}
}

func TestQuotaRecordIsBounded(t *testing.T) {
	rec := (&quotaRecord{Format: quotaFormat}).clone()
	var err error
	for i := 0; err == nil && i < 100_000; i++ {
		rec.Functions[fmt.Sprint("default/f", i)] = &functionQuota{Incarnation: uuid.New(), Reserved: &faas.Amount{Unit: faas.UnitExecutions}}
		if i%1000 == 0 {
			_, err = rec.encode()
		}
	}
	if !faas.IsCode(err, faas.CodeStorageLimit) {
		t.Errorf("%v with %d functions", err, len(rec.Functions))
	}
	if len(rec.Functions) < 3000 {
		t.Errorf("only %d functions can have a reservation", len(rec.Functions))
	}
}

// TestOldQuotasChangeNothing delivers changes of one record out of order.
func TestOldQuotasChangeNothing(t *testing.T) {
	r := newRegistry(Options{})
	defer r.stop()
	account := quota.Account{ID: "123456789012", Region: "us-east-1"}
	change := func(revision uint64, executions int) engine.Change {
		c := engine.Change{Entry: engine.Entry{Key: quotaKey(account), Revision: revision}, Deleted: executions == 0}
		if executions > 0 {
			c.Value = fmt.Appendf(nil, `{"format":1,"limits":{"executions":%d}}`, executions)
		}
		return c
	}
	for _, c := range []struct {
		change engine.Change
		want   int
		last   uint64
	}{
		{change(5, 500), 500, 5},
		{change(4, 400), 500, 5},
		{change(5, 501), 500, 5},
		{change(8, 0), 1000, 0}, // deleted
		{change(7, 700), 1000, 0},
		{change(9, 900), 900, 9},
	} {
		if err := r.apply(c.change); err != nil {
			t.Fatal(err)
		}
		now := r.quotas.load(account)
		if got := now.record.limits().Executions; got != c.want || now.last() != c.last {
			t.Errorf("after revision %d: %d executions, next write over %d; want %d over %d", c.change.Revision, got, now.last(), c.want, c.last)
		}
	}
}

// told counts what the allocator was told.
type told struct{ times int }

func (c *told) Configure(quota.Account, quota.Settings) { c.times++ }

// TestQuotaIsInForceWhenItIsAnswered: also where the watch took in the record first and
// has not told the allocator yet.
func TestQuotaIsInForceWhenItIsAnswered(t *testing.T) {
	e := fake.New()
	defer e.Close()
	allocator := new(told)
	r := newRegistry(Options{Meta: e.Meta(), Quota: allocator})
	defer r.stop()
	r.loaded.Store(true)
	account := quota.Account{ID: "123456789012", Region: "us-east-1"}
	rec := (&quotaRecord{}).clone()
	r.quotas.put(account, storedQuota{1, rec, true}) // as the watch does
	if err := r.commitQuota(t.Context(), account, rec, 0); err != nil {
		t.Fatal(err)
	}
	if now := r.quotas.load(account); now.revision != 1 || allocator.times != 1 {
		t.Errorf("revision %d, the allocator was told %d times", now.revision, allocator.times)
	}
}
