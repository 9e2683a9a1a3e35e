package nats

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"hearth/internal/seeds"
)

func pageOf(items []item) []byte {
	var w pageWriter
	w.reset(pageHead{tail: 7, before: 8, accepted: 9})
	for i := range items {
		items[i].at = w.add(&items[i])
	}
	return bytes.Clone(w.seal())
}

func someItems() []item {
	var items []item
	for k := kindAccept; k <= kindSeen; k++ {
		for n := range 3 {
			it := item{kind: k, id: id{byte(k), byte(n)}}
			switch k {
			case kindAccept, kindMove:
				it.key, it.stamp, it.accepted, it.due = fmt.Sprint("a/f", n%2), 1000, 1001, int64(n)
				it.header, it.body = []byte("header"), []byte("body")
				if n > 0 {
					it.seen, it.until = sumOf("a/f", "x"), 77
				}
			case kindHeader, kindRetry:
				it.header, it.due = []byte("other"), -5
			case kindSettle:
				it.key, it.stamp, it.accepted, it.settled = "a/f1", 5000, 1000, 4999
				it.status, it.details, it.kept = "done", []byte("fine"), n == 1
				if it.kept {
					it.header, it.body = []byte("header"), []byte("body")
				}
			case kindSeen:
				it.seen, it.until = sumOf("a/f", "y"), int64(n+1)
			}
			items = append(items, it)
		}
	}
	return items
}

func TestPageComesBack(t *testing.T) {
	want := someItems()
	page := pageOf(want)
	head, got, err := readItems(page)
	if err != nil || head != (pageHead{tail: 7, before: 8, accepted: 9}) || len(got) != len(want) {
		t.Fatalf("%+v, %d items, %v", head, len(got), err)
	}
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("item %d: %+v, want %+v", i, got[i], want[i])
		}
		var one item
		if err := recordAt(page, want[i].at, &one); err != nil || one.id != want[i].id || !bytes.Equal(one.body, want[i].body) {
			t.Errorf("item %d alone: %+v, %v", i, one, err)
		}
	}
}

func TestPageNoticesEveryFlippedBit(t *testing.T) {
	page := pageOf(someItems())
	for bit := range len(page) * 8 {
		page[bit/8] ^= 1 << (bit % 8)
		if _, _, err := readItems(page); err == nil {
			t.Fatalf("bit %d", bit)
		}
		page[bit/8] ^= 1 << (bit % 8)
	}
}

// FuzzPage reads pages whose checksum holds and whose content is anything: it must
// not panic, and what it reads must be writable.
func FuzzPage(f *testing.F) {
	f.Add(pageOf(someItems())[4:])
	f.Add([]byte{pageFormat, 0, 0, 0, byte(kindSettle)})
	f.Fuzz(func(t *testing.T, content []byte) {
		w := pageWriter{buf: append(make([]byte, 4), content...)}
		page := w.seal()
		_, items, err := readItems(page)
		for at := range min(len(page), 64) {
			var it item
			recordAt(page, uint32(at), &it)
		}
		if err != nil {
			return
		}
		_, again, err := readItems(pageOf(items))
		if err != nil || len(again) != len(items) {
			t.Errorf("%d items became %d, %v", len(items), len(again), err)
		}
	})
}

// TestSummaryMissesNothing builds summaries and asks for everything in them; and for
// what is not, which may seldom be found.
func TestSummaryMissesNothing(t *testing.T) {
	var items []item
	for n := range 1000 {
		var i id
		for b := range i {
			i[b] = byte(rand.Uint32())
		}
		items = append(items, item{kind: kindSettle, id: i, key: fmt.Sprintf("a/r/n/f%d", n), status: "done", stamp: int64(n), settled: int64(n)})
	}
	s, err := decodeSummary(summarize(5, items).encode())
	if err != nil || s.page != 5 || s.first != 0 || s.last != 999 || s.until != 999 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, it := range items {
		for _, h := range []uint64{hashID(it.id), hashPair(it.key, ""), hashPair(it.key, "done"), hashPair("a/r", ""), hashPair("a", "done"), hashPair("", "done")} {
			if !s.filter.has(h) {
				t.Fatalf("%+v is missed", it)
			}
		}
	}
	wrong := 0
	for n := range 10_000 {
		if s.filter.has(hashPair(fmt.Sprint("other", n), "")) {
			wrong++
		}
	}
	if wrong > 300 { // 0.3 % are expected
		t.Errorf("%d of 10,000 that are not there seem to be", wrong)
	}
}

// TestSlotsKeepTheOrder has slots come and go at random, against a sorted slice.
func TestSlotsKeepTheOrder(t *testing.T) {
	rand := rand.New(rand.NewPCG(seeds.One(t), 0))
	s := newSlots()
	var a accounts
	var places []int64
	numbers := make(map[int64]uint32)
	for n := range 20_000 {
		if len(places) > 0 && rand.IntN(5) < 2 {
			i := rand.IntN(len(places))
			s.remove(numbers[places[i]])
			delete(numbers, places[i])
			places = append(places[:i], places[i+1:]...)
			continue
		}
		p := rand.Int64N(1 << 40)
		if numbers[p] != 0 {
			continue
		}
		number := s.add(slot{id: id{byte(n), byte(n >> 8), byte(n >> 16)}, place: p}, s.keyOf("a", &a))
		s.set(number, slotReady)
		numbers[p], places = number, append(places, p)
		if len(places) > 50 {
			k := s.keys["a"]
			s.set(k.ready.head, slotDelayed)
			s.set(k.ready.head, slotInFlight)
			for p, number := range numbers {
				if state := s.at(number).state; state != slotReady {
					s.remove(number)
					delete(numbers, p)
				}
			}
			places = places[:0]
			for p := range numbers {
				places = append(places, p)
			}
		}
		last, count := int64(-1), 0
		for n := s.keys["a"].ready.head; n != 0; n = s.at(n).ready.next {
			if s.at(n).place <= last {
				t.Fatalf("place %d after %d", s.at(n).place, last)
			}
			last = s.at(n).place
			count++
		}
		if count != len(places) {
			t.Fatalf("%d are ready, want %d", count, len(places))
		}
	}
}
