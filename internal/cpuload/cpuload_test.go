package cpuload

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]times{
		"cpu  10 1 5 100 20 0 3 7 0 0\ncpu0 1 1 1 1\n": {idle: 120, all: 146},
		"cpu 10 1 5 100\n":            {idle: 100, all: 116},
		"cpu 1 2 3 4 5 6 7 8 900 900": {idle: 9, all: 36},
	} {
		if got, ok := parse(text); !ok || got != want {
			t.Errorf("%q is %+v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "cpu", "cpu 1 2 3", "cpu0 1 2 3 4", "cpu 1 2 3 -4", "cpu 1 2 x 4"} {
		if got, ok := parse(text); ok {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestSaturated(t *testing.T) {
	for _, c := range []struct {
		from, to times
		want     bool
	}{
		{times{0, 0}, times{0, 100}, true},
		{times{50, 100}, times{59, 200}, true},
		{times{50, 100}, times{60, 200}, false},
		{times{50, 100}, times{50, 100}, false}, // no time has passed
		{times{50, 100}, times{40, 200}, false}, // no counter of idle time goes back, but they have
	} {
		if got := saturated(c.from, c.to); got != c.want {
			t.Errorf("%+v", c)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("cpu  10 1 5 100 20 0 3 7 0 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := parse(text); ok && got.idle > got.all {
			t.Errorf("%+v", got)
		}
	})
}
