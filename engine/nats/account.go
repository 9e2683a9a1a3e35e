package nats

import (
	"sync"

	"hearth/engine"
)

// account counts what an account holds in all shards, reservations included.
type account struct {
	mu  sync.Mutex
	use engine.Use
}

func (a *account) add(events, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.use.Events += events
	a.use.Bytes += bytes
}

func (a *account) get() engine.Use {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.use
}

// reserve counts a message in where the caps allow it beside what key holds.
func (a *account) reserve(m *engine.Message, key engine.Use, caps engine.Caps) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := caps.Admit(*m, key, a.use); err != nil {
		return err
	}
	a.use.Events++
	a.use.Bytes += engine.MessageSize(*m)
	return nil
}

// accounts are all accounts that a queue has seen since it was opened.
type accounts struct {
	mu    sync.Mutex
	named map[string]*account
}

func (a *accounts) of(name string) *account {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := a.named[name]
	if found == nil {
		found = &account{}
		if a.named == nil {
			a.named = make(map[string]*account)
		}
		a.named[name] = found
	}
	return found
}

func (a *accounts) use(name string) engine.Use {
	a.mu.Lock()
	found := a.named[name]
	a.mu.Unlock()
	if found == nil {
		return engine.Use{}
	}
	return found.get()
}
