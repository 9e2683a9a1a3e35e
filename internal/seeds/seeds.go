// Package seeds runs the seeded tests of the other packages, so that every failure
// says how to repeat it.
//
// It owns the two variables that steer them. HEARTH_SEED repeats one run;
// HEARTH_LONG=1 makes ten times as many. It is imported by tests only.
package seeds

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Long says whether the long forms of tests are wanted.
func Long() bool { return os.Getenv("HEARTH_LONG") != "" }

// One returns HEARTH_SEED or a random seed, and prints it where the test fails.
func One(t testing.TB) uint64 {
	t.Helper()
	seed, given := fromEnvironment(t)
	if !given {
		seed = rand.Uint64() >> 1
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with HEARTH_SEED=%d go test -run '^%s$'", seed, t.Name())
		}
	})
	return seed
}

// Run calls run with so many seeds that follow one another, ten times as many in
// the long form, or with HEARTH_SEED alone. It stops after the first that fails,
// names that one, and returns how many passed.
func Run(t *testing.T, runs int, run func(seed uint64)) int {
	t.Helper()
	base, given := fromEnvironment(t)
	switch {
	case given:
		runs = 1
	case Long():
		runs *= 10
	}
	if !given {
		base = rand.Uint64() >> 1
	}
	for i := range runs {
		seed := base + uint64(i)
		run(seed)
		if t.Failed() {
			t.Logf("replay with HEARTH_SEED=%d go test -run '^%s$'", seed, t.Name())
			return i
		}
	}
	return runs
}

func fromEnvironment(t testing.TB) (seed uint64, given bool) {
	t.Helper()
	text := os.Getenv("HEARTH_SEED")
	if text == "" {
		return 0, false
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("HEARTH_SEED: %v", err)
	}
	return seed, true
}
