package nats

import (
	"golang.org/x/sys/unix"

	"hearth/engine"
)

// room keeps writers off a disk that is nearly full. JetStream switches itself
// off, reads included, at the first write that finds no space; so no write may
// get that far.
type room struct {
	dir     string
	reserve int64 // bytes that stay free
}

// forWrite returns engine.ErrFull where a write of size bytes would touch the
// reserve.
func (r *room) forWrite(subject string, size int) error {
	return r.check(subject, int64(size)+r.reserve)
}

// forDelete is forWrite for deletions, which make room in the end: they may use
// half of the reserve.
func (r *room) forDelete(subject string) error { return r.check(subject, r.reserve/2) }

func (r *room) check(subject string, need int64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(r.dir, &fs); err != nil {
		return engine.Failure(engine.ErrFull, subject, "the free space of %s cannot be read: %v", r.dir, err)
	}
	free := int64(fs.Bavail) * int64(fs.Bsize)
	if free >= need {
		return nil
	}
	return engine.Failure(engine.ErrFull, subject,
		"the disk of %s has %d MiB free and the engine needs %d; make room and retry", r.dir, free>>20, (need+1<<20-1)>>20)
}
