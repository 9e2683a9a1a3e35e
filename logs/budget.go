package logs

import (
	"sync"
	"time"
)

// budget is a token bucket that all instances of a function share. Taking never
// waits: it says how long the taker should, which may be shared by its readers.
type budget struct {
	rate, burst float64 // bytes per second, bytes

	mu     sync.Mutex
	tokens float64 // below zero is a debt
	at     time.Time
}

func newBudget(rate, burst int64, now time.Time) *budget {
	return &budget{rate: float64(rate), burst: float64(burst), tokens: float64(burst), at: now}
}

// take takes n bytes and returns how long until the debt is paid.
func (b *budget) take(n int, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.at = now
	}
	// A debt ends: who stops flooding is not slow for ever.
	b.tokens = max(b.tokens-float64(n), -b.burst)
	if b.tokens >= 0 {
		return 0
	}
	return time.Duration(-b.tokens / b.rate * float64(time.Second))
}
