package quota

// Shared returns what settings leave to functions without a reservation: the
// account's limits less what is set aside for reservations and for provisioned
// concurrency outside them. It is pure, and not below 0.
func Shared(s Settings) Share {
	left := amount{executions: s.Limits.Executions, memory: s.Limits.MemoryMB}
	for _, f := range s.Functions {
		peaks, aside := peak(f), setAside(f)
		for u := range units {
			left[u] = max(0, left[u]-max(peaks[u], aside[u]))
		}
	}
	return left.share()
}
