package nats_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hearth/engine"
	"hearth/engine/enginetest"
	"hearth/engine/nats"
)

// outcome is what a dispatcher would record of an event that went well.
var outcome = engine.Outcome{Status: "done", Details: make([]byte, 100)}

// openShards opens an engine whose queues have so many shards.
func openShards(b *testing.B, shards int) engine.Queue {
	e, dir, err := openPlain(b.TempDir(), func(o nats.Options) nats.Options { o.Queue.Shards = shards; return o })
	check(b, err)
	b.Cleanup(func() { (&opened{Engine: e, dir: dir}).stop() })
	return e.Queue()
}

// BenchmarkAppend stores messages of 1 KiB from so many callers, over 20 keys. With
// one shard, as usual, the number of callers is the name; package bench asks for it.
func BenchmarkAppend(b *testing.B) {
	for _, row := range []struct{ shards, callers int }{{4, 1}, {4, 16}, {4, 64}, {4, 256}, {1, 1}, {1, 16}, {1, 64}, {1, 256}} {
		name := fmt.Sprintf("%d shards, %d callers", row.shards, row.callers)
		if row.shards == 1 {
			name = fmt.Sprint(row.callers)
		}
		b.Run(name, func(b *testing.B) {
			q, callers := openShards(b, row.shards), row.callers
			body := make([]byte, 1<<10)
			var next atomic.Int64
			latencies := make([][]time.Duration, callers)
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range callers {
				wg.Go(func() {
					for {
						n := int(next.Add(1))
						if n > b.N {
							return
						}
						began := time.Now()
						_, err := q.Append(b.Context(), engine.Message{ID: enginetest.ID(n), Key: fmt.Sprintf("a/r/n/f%d", n%20), Body: body}, engine.Caps{})
						if err != nil {
							b.Error(err)
							return
						}
						latencies[c] = append(latencies[c], time.Since(began))
					}
				})
			}
			wg.Wait()
			report(b, slices.Concat(latencies...))
		})
	}
}

func report(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkAppendToReady measures from the call of Append until Notify.
func BenchmarkAppendToReady(b *testing.B) {
	q := start(b, b.TempDir()).Queue()
	ready := make(chan struct{}, 1)
	q.Notify(func(string) { ready <- struct{}{} })
	body := make([]byte, 1<<10)
	var all []time.Duration
	for n := 0; b.Loop(); n++ {
		began := time.Now()
		go q.Append(b.Context(), engine.Message{ID: enginetest.ID(n), Key: "a/r/n/f", Body: body}, engine.Caps{})
		<-ready
		events, err := q.Fetch(b.Context(), "a/r/n/f", 1)
		if err != nil || len(events) != 1 {
			b.Fatalf("%d events, %v", len(events), err)
		}
		all = append(all, time.Since(began))
	}
	report(b, all)
}

// BenchmarkDrain fetches and settles a backlog of one key with so many workers.
func BenchmarkDrain(b *testing.B) {
	for _, workers := range []int{1, 50, 250} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			q := start(b, b.TempDir()).Queue()
			fillQueue(b, q, b.N, func(int) string { return "a/r/n/f" }, 1<<10)
			b.ResetTimer()
			drain(b, q, "a/r/n/f", workers, b.N)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

// drain has workers fetch one message and settle it, one after another, as calls of
// a function that takes no time.
func drain(b *testing.B, q engine.Queue, key string, workers, count int) {
	var left atomic.Int64
	left.Store(int64(count))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				events, err := q.Fetch(b.Context(), key, 1)
				if err != nil || len(events) != 1 {
					b.Errorf("%d events, %v", len(events), err)
					return
				}
				if err := q.Settle(b.Context(), events[0].ID, outcome); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// fillQueue stores messages from many callers.
func fillQueue(t testing.TB, q engine.Queue, count int, key func(n int) string, size int) {
	t.Helper()
	body := make([]byte, size)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(count, 512) {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < count; n = int(next.Add(1)) - 1 {
				_, err := q.Append(t.Context(), engine.Message{ID: enginetest.ID(n), Key: key(n), Body: body}, engine.Caps{})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRestart opens a data directory with a backlog, after kill -9, in a
// process of its own, and prints the time until it is ready and its memory.
func BenchmarkRestart(b *testing.B) {
	for _, row := range []struct{ events, keys int }{{1_000_000, 1}, {1_000_000, 5000}, {20_000, 5000}} {
		b.Run(fmt.Sprintf("%d events, %d keys", row.events, row.keys), func(b *testing.B) {
			if os.Getenv("HEARTH_LONG") == "" {
				b.Skip("HEARTH_LONG=1 stores a million messages")
			}
			path := b.TempDir()
			e := start(b, path)
			fillQueue(b, e.Queue(), row.events, func(n int) string { return fmt.Sprintf("a/r/n/f%d", n%row.keys) }, 256)
			killed := b.TempDir() // what is on disk now is what kill -9 leaves
			if out, err := exec.Command("cp", "-r", path+"/.", killed).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
			e.stop()
			for b.Loop() {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), childVariable+"=reopen:"+killed)
				out, err := cmd.CombinedOutput()
				b.Logf("%s", out)
				check(b, err)
			}
		})
	}
}

// reopen is the child of BenchmarkRestart.
func reopen(path string) error {
	began := time.Now()
	e, dir, err := openPlain(path)
	if err != nil {
		return err
	}
	ready := time.Since(began)
	events, keys := 0, 0
	for _, b := range e.Queue().Backlogs() {
		events += b.Ready
		keys++
	}
	first := time.Now()
	for _, b := range e.Queue().Backlogs()[:min(keys, 100)] {
		if _, err := e.Queue().Fetch(context.Background(), b.Key, 1); err != nil {
			return err
		}
	}
	fetched := time.Since(first) / time.Duration(min(keys, 100))
	status, err := os.ReadFile("/proc/self/status") // the peak since exec; rusage has the parent's
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	peak, _, _ = strings.Cut(peak, "\n")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("ready after %v: %d events of %d keys, peak RSS %s, heap %d MiB, first fetches %v each\n",
		ready, events, keys, strings.TrimSpace(peak), m.HeapAlloc>>20, fetched)
	e.Close(context.Background())
	return dir.Close()
}
