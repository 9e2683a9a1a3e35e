package auth

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"hearth/engine"
)

const (
	// watchPause is between a watch that ended and the next one.
	watchPause = time.Second
	// usePause is how often the times of last uses are written.
	usePause = time.Minute
)

// follow applies what other nodes change, until ctx ends.
func (s *Store) follow(ctx context.Context) {
	for ctx.Err() == nil {
		before := s.applied()
		seen := map[string]bool{}
		err := s.meta.Watch(ctx, keyPrefix, func(c engine.Change) error {
			if c.Key == "" { // all that existed was told
				s.removeUnseen(before, seen)
				return nil
			}
			seen[strings.TrimPrefix(c.Key, keyPrefix+"/")] = true
			s.apply(c)
			return nil
		})
		if ctx.Err() != nil {
			return
		}
		s.log.Warn("the watch of the keys ended; beginning again", "error", err, "after", watchPause)
		select {
		case <-ctx.Done():
		case <-time.After(watchPause):
		}
	}
}

func (s *Store) applied() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.revisions)
}

// removeUnseen removes the keys whose deletion was missed: known before the watch
// began, not changed since, and not there.
func (s *Store) removeUnseen(before map[string]uint64, seen map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := maps.Clone(*s.keys.Load())
	for id := range next {
		if revision, known := before[id]; known && revision == s.revisions[id] && !seen[id] {
			delete(next, id)
		}
	}
	s.keys.Store(&next)
}

// lastUse is the value of a keyuse entry.
type lastUse struct {
	At int64 `json:"at"` // seconds since 1970
}

func (s *Store) loadUse(ctx context.Context) error {
	entries, err := s.meta.List(ctx, usePrefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var u lastUse
		if k := s.Find(strings.TrimPrefix(e.Key, usePrefix+"/")); k != nil && json.Unmarshal(e.Value, &u) == nil {
			k.use.at.Store(u.At)
			k.use.written = u.At
		}
	}
	return nil
}

// flushUse writes the times of last uses now and then, until ctx ends.
func (s *Store) flushUse(ctx context.Context) {
	tick := time.NewTicker(usePause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.writeUse(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("when keys were used last could not be written", "error", err)
			}
		}
	}
}

// writeUse writes the times that changed. It is called by one goroutine at a time.
func (s *Store) writeUse(ctx context.Context) error {
	for id, k := range *s.keys.Load() {
		at := k.use.at.Load()
		if at == k.use.written {
			continue
		}
		if err := s.writeOneUse(ctx, id, at); err != nil {
			return err
		}
		k.use.written = at
	}
	return nil
}

// writeOneUse writes a time unless another node has a later one.
func (s *Store) writeOneUse(ctx context.Context, id string, at int64) error {
	value, err := json.Marshal(lastUse{at})
	if err != nil {
		return err
	}
	for {
		entry, err := s.meta.Get(ctx, usePrefix+"/"+id)
		switch {
		case errors.Is(err, engine.ErrNotFound):
			_, err = s.meta.Create(ctx, usePrefix+"/"+id, value)
		case err == nil:
			var u lastUse
			if json.Unmarshal(entry.Value, &u) == nil && u.At >= at {
				return nil
			}
			_, err = s.meta.Update(ctx, entry.Key, value, entry.Revision)
		}
		if !errors.Is(err, engine.ErrConflict) {
			return err
		}
	}
}

func (s *Store) forgetUse(ctx context.Context, id string) error {
	for {
		entry, err := s.meta.Get(ctx, usePrefix+"/"+id)
		if err == nil {
			_, err = s.meta.Delete(ctx, entry.Key, entry.Revision)
		}
		switch {
		case errors.Is(err, engine.ErrNotFound):
			return nil
		case errors.Is(err, engine.ErrConflict):
			continue
		}
		return err
	}
}
