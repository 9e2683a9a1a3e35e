package logs

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// FuzzRecord: any bytes come back as they were, are one line on disk, and are
// found by what peek reads.
func FuzzRecord(f *testing.F) {
	f.Add("r1", "$LATEST", []byte("hello\nworld"))
	f.Add("", "7", []byte("\x1b[31m\x00\xff\n\n"))
	f.Add(`r"\`, "1", []byte("\u2028\t\r"))
	f.Fuzz(func(t *testing.T, request, version string, text []byte) {
		request = validString(request)
		src := Source{Version: validString(version), Instance: "i"}
		raw := appendRecord(nil, 12345, &src, request, append(text, '\n'))
		if bytes.IndexByte(raw, '\n') != len(raw)-1 {
			t.Fatalf("not one line: %q", raw)
		}
		r, ok := parseRecord(raw)
		if !ok || r.Time != 12345 || r.Request != request || r.Version != src.Version || r.Instance != "i" {
			t.Fatalf("%q came back as %+v", raw, r)
		}
		if got := strings.Join(r.Lines, "\n"); got != string(text) {
			t.Fatalf("%q came back as %q", text, got)
		}
		at, id, ok := peek(raw)
		if !ok || at != 12345 || !bytes.Equal(id, written(request)) {
			t.Fatalf("peek %d %q %v", at, id, ok)
		}
		if len(raw) > 6*(len(text)+len(request)+len(version))+200 {
			t.Fatalf("%d bytes became %d", len(text), len(raw))
		}
	})
}

// FuzzSegment: a damaged segment never panics, and what survey calls whole ends
// with a record.
func FuzzSegment(f *testing.F) {
	src := Source{Version: "1", Instance: "i"}
	whole := appendRecord(appendRecord(nil, 1, &src, "a", []byte("x\n")), 2, &src, "b", []byte("\xff\n"))
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte("\n\n{\"t\":"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, filter, end, err := survey(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if end < 0 || end > int64(len(raw)) || end > 0 && raw[end-1] != '\n' || bytes.IndexByte(raw[end:], '\n') >= 0 {
			t.Fatalf("whole up to %d of %q", end, raw)
		}
		for line := range bytes.Lines(raw[:end]) {
			parseRecord(line)
			if _, id, ok := peek(line); ok && len(id) > 0 && !filter.has(id) {
				t.Fatalf("%q is not in the filter", id)
			}
		}
	})
}

func TestLongRecordsAreSkipped(t *testing.T) {
	src := Source{Version: "1", Instance: "i"}
	good := appendRecord(nil, 1, &src, "a", []byte("x\n"))
	raw := append(bytes.Repeat([]byte("x"), 3*maxRecord), '\n')
	raw = append(append(append([]byte{}, good...), raw...), good...)
	seen := 0
	end, err := eachRecord(bytes.NewReader(raw), 0, int64(len(raw)), func(raw []byte) error {
		if _, ok := parseRecord(raw); ok {
			seen++
		}
		return nil
	})
	if err != nil || end != int64(len(raw)) || seen != 2 {
		t.Errorf("%d records, end %d of %d, %v", seen, end, len(raw), err)
	}
}

func TestBudget(t *testing.T) {
	now := time.Unix(1000, 0)
	b := newBudget(1000, 5000, now)
	if wait := b.take(5000, now); wait != 0 {
		t.Errorf("the burst waits %v", wait)
	}
	if wait := b.take(500, now); wait != 500*time.Millisecond {
		t.Errorf("debt of %v", wait)
	}
	now = now.Add(250 * time.Millisecond)
	if wait := b.take(0, now); wait != 250*time.Millisecond {
		t.Errorf("debt of %v", wait)
	}
	now = now.Add(time.Hour)
	if wait := b.take(5001, now); wait != time.Millisecond {
		t.Errorf("debt of %v after a long rest", wait)
	}
	if wait := b.take(1<<40, now); wait != 5*time.Second {
		t.Errorf("the longest debt is %v", wait)
	}
}

func TestPendingDropsOldest(t *testing.T) {
	var p pending
	line := append(bytes.Repeat([]byte("x"), 999), '\n')
	given := 0
	for i := range 2000 {
		p.add(int64(i)*int64(time.Second), "r", line)
		given += len(line)
		if len(p.data) > pendingBytes {
			t.Fatalf("%d bytes pending", len(p.data))
		}
	}
	sum := 0
	for _, b := range p.blocks {
		sum += b.size
	}
	if sum != len(p.data) || p.dropped+int64(sum) != int64(given) || p.blocks[len(p.blocks)-1].time != 1999*int64(time.Second) {
		t.Errorf("%d in blocks, %d pending, %d dropped of %d", sum, len(p.data), p.dropped, given)
	}
}
