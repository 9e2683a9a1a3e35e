package registry_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

func longTests() bool { return os.Getenv("HEARTH_LONG") != "" }

// testSeed is HEARTH_SEED or a random seed, and is printed where the test fails.
func testSeed(t *testing.T) uint64 {
	seed := rand.Uint64()
	if s := os.Getenv("HEARTH_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("HEARTH_SEED: %v", err)
		}
		seed = n
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("replay with HEARTH_SEED=%d go test -run '^%s$'", seed, t.Name())
		}
	})
	return seed
}
