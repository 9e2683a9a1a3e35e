package registry

import (
	"maps"
	"reflect"
	"slices"
	"sync"

	"hearth/faas"
	"hearth/quota"
)

// quotaTable is the in-memory copy of the quota records. mu is a leaf.
type quotaTable struct {
	mu       sync.RWMutex
	accounts map[quota.Account]storedQuota
}

type storedQuota struct {
	revision uint64
	record   *quotaRecord // never nil when loaded
	stored   bool         // not deleted
}

func newQuotaTable() *quotaTable {
	return &quotaTable{accounts: make(map[quota.Account]storedQuota)}
}

// last returns the revision that an update of the record must name; 0 creates it.
func (s storedQuota) last() uint64 {
	if !s.stored {
		return 0
	}
	return s.revision
}

// load returns the account's quotas; those of an account for which nothing was
// set are empty.
func (t *quotaTable) load(a quota.Account) storedQuota {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if s, ok := t.accounts[a]; ok {
		return s
	}
	return storedQuota{record: &quotaRecord{}}
}

// has reports whether there is an entry of a function of that name, dead or not.
func (t *quotaTable) has(id faas.FunctionID) bool {
	return t.load(quota.AccountOf(id.Scope)).record.Functions[quotaName(id)] != nil
}

// put makes now the account's state unless what is known is as new, and returns
// the functions whose entries differ.
func (t *quotaTable) put(a quota.Account, now storedQuota) (functions []faas.FunctionID, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.accounts[a]
	if known && now.revision <= old.revision {
		return nil, false
	}
	t.accounts[a] = now
	if old.record == nil {
		return now.record.ids(a), true
	}
	for name, q := range now.record.Functions {
		if !reflect.DeepEqual(q, old.record.Functions[name]) {
			functions = append(functions, quotaID(a, name))
		}
	}
	for name := range old.record.Functions {
		if now.record.Functions[name] == nil {
			functions = append(functions, quotaID(a, name))
		}
	}
	return functions, true
}

// knows reports whether the account's state is as new as the revision.
func (t *quotaTable) knows(a quota.Account, revision uint64) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, known := t.accounts[a]
	return known && revision <= s.revision
}

func (t *quotaTable) all() []quota.Account {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Keys(t.accounts))
}

// revisions returns the revision of every stored record by its key.
func (t *quotaTable) revisions() map[string]uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[string]uint64, len(t.accounts))
	for a, s := range t.accounts {
		if s.stored {
			all[quotaKey(a)] = s.revision
		}
	}
	return all
}

// settings joins a record with the functions that look finds, into what the
// allocator enforces. What is dead is left out.
func (r *quotaRecord) settings(account quota.Account, look func(faas.FunctionID) *snapshot) quota.Settings {
	s := quota.Settings{Limits: r.limits(), Functions: make(map[faas.FunctionID]quota.FunctionSettings, len(r.Functions))}
	for _, id := range r.ids(account) {
		if f, ok := r.settingsOf(id, look(id)); ok {
			s.Functions[id] = f
		}
	}
	return s
}

// settingsOf is the part of settings that is a function's; false where it is dead
// or there is none.
func (r *quotaRecord) settingsOf(id faas.FunctionID, s *snapshot) (quota.FunctionSettings, bool) {
	q := r.of(id, s)
	if q == nil {
		return quota.FunctionSettings{}, false
	}
	return s.quotaSettings(q), true
}

// quotaSettings joins the function with what is set for it.
func (s *snapshot) quotaSettings(q *functionQuota) quota.FunctionSettings {
	settings := quota.FunctionSettings{
		Reserved: q.Reserved, Maximum: q.Maximum,
		MemoryMB: s.memoryMB, Concurrency: s.concurrency,
	}
	for _, p := range q.Provisioned {
		targets := s.targets(p.Qualifier)
		if len(targets) == 0 {
			continue
		}
		if settings.Provisioned == nil {
			settings.Provisioned = make(map[string]quota.Provision)
		}
		settings.Provisioned[p.Qualifier] = provisionOf(p, targets)
	}
	return settings
}

// configure tells the allocator the account's quotas as they are now. Reading
// and telling are one step, so that nothing older follows something newer.
func (r *Registry) configure(account quota.Account) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.configureLocked(account)
}

func (r *Registry) configureLocked(account quota.Account) {
	s := r.quotas.load(account).record.settings(account, r.table.load)
	r.told[account] = s
	r.quota.Configure(account, s)
}

// configureFunction is configure where the function's part is another than was
// told: most changes of a function are none of its quotas.
func (r *Registry) configureFunction(id faas.FunctionID) {
	account := quota.AccountOf(id.Scope)
	r.telling.Lock()
	defer r.telling.Unlock()
	told, was := r.told[account].Functions[id]
	now, is := r.quotas.load(account).record.settingsOf(id, r.table.load(id))
	if was != is || !reflect.DeepEqual(told, now) {
		r.configureLocked(account)
	}
}

// startTelling tells everything that was loaded, and every change from now on.
func (r *Registry) startTelling() {
	r.loaded.Store(true)
	for _, a := range r.quotas.all() {
		r.configure(a)
	}
}

// functionChanged tells those who depend on it that a function is another in memory.
func (r *Registry) functionChanged(id faas.FunctionID) {
	if !r.loaded.Load() {
		return
	}
	if r.quotas.has(id) {
		r.configureFunction(id)
	}
	r.changed(id)
}

// putQuota applies a quota record, and tells those who depend on it; false where
// what is known is as new.
func (r *Registry) putQuota(account quota.Account, now storedQuota) bool {
	functions, changed := r.quotas.put(account, now)
	if !changed || !r.loaded.Load() {
		return changed
	}
	r.configure(account)
	for _, id := range functions {
		r.changed(id)
	}
	return true
}
