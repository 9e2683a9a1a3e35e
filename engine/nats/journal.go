package nats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
)

// journal is a stream of pages with one writer. A page is named by its sequence
// in the stream; sequences have no gaps, so a gap is a loss. The mark beside the
// stream remembers, a moment late, how far it reached: the witness of a cut-off
// end.
type journal struct {
	access
	name   string
	stream jetstream.Stream
	mark   *mark
	aside  string // the directory for pages that cannot be read
	log    *slog.Logger

	// counted is a second mark, for a number that belongs to the page that mark
	// names: how many messages had been accepted. nil where nothing is counted.
	counted *mark

	cut  uint64          // pages that the mark knows and the stream had lost when it was opened
	were uint64          // what counted said then
	last uint64          // the newest page; the writer's
	life context.Context // ends before the server does
}

// journalOptions says what a journal is.
type journalOptions struct {
	name     string
	marks    string // directory of the mark
	aside    string
	metadata map[string]string
	maxAge   time.Duration // 0: for ever
	maxBytes int64         // 0: unbounded
	log      *slog.Logger
	counts   bool
	life     context.Context // ends before the server does
}

// openJournal opens a stream of pages and makes it where there is none. It fails
// with engine.ErrDamaged where the stream is missing and its mark is there.
func openJournal(ctx context.Context, a access, o journalOptions) (*journal, error) {
	j := &journal{access: a, name: o.name, aside: o.aside, log: o.log, life: o.life}
	path := filepath.Join(o.marks, o.name)
	var err error
	if j.mark, err = openMark(path); err != nil {
		j.log.Error("the witness of a queue's last page cannot be read; it is made anew", "stream", o.name, "error", err)
	}
	err = j.attach(ctx, o, path)
	if err == nil && o.counts {
		err = j.openCount(path + "_COUNT")
	}
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	return j, nil
}

// openCount opens the second mark, or makes it where there is none of use.
func (j *journal) openCount(path string) (err error) {
	j.counted, err = openMark(path)
	if err != nil {
		j.log.Error("the count of a queue's messages cannot be read; it is made anew", "stream", j.name, "error", err)
	}
	if j.counted != nil {
		j.were = j.counted.value()
	}
	if j.counted != nil && j.cut == 0 {
		return nil
	}
	if j.counted != nil {
		if err := j.counted.close(); err != nil {
			return err
		}
	}
	j.counted, err = createMark(path)
	return err
}

// witness makes durable, outside of the stream, that it reaches as far as a page, and
// how many messages had been accepted by then.
func (j *journal) witness(page, accepted uint64) error {
	err := j.mark.raise(page)
	if err == nil && j.counted != nil {
		err = j.counted.raise(accepted)
	}
	return err
}

func (j *journal) attach(ctx context.Context, o journalOptions, markPath string) error {
	want := jetstream.StreamConfig{
		Name:        o.name,
		Subjects:    []string{"page." + o.name},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		AllowDirect: true,
		Replicas:    1,
		Metadata:    o.metadata,
		MaxAge:      o.maxAge,
		MaxBytes:    o.maxBytes,
	}
	var err error
	j.stream, err = j.js.Stream(ctx, o.name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound) && j.mark != nil && j.mark.value() > 0:
		return engine.Failure(engine.ErrDamaged, o.name, "the stream %s in the data directory is missing, with what waited in it; stop Hearth and restore the data directory from a backup, or remove the file %s to go on without", o.name, markPath)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		j.stream, err = j.js.CreateStream(ctx, want)
	case err == nil && (j.stream.CachedInfo().Config.MaxAge != o.maxAge || max(0, j.stream.CachedInfo().Config.MaxBytes) != o.maxBytes):
		want.Metadata = j.stream.CachedInfo().Config.Metadata
		j.stream, err = j.js.UpdateStream(ctx, want)
	}
	if err != nil {
		return j.fault(err, o.name, "open the stream")
	}
	j.last = j.stream.CachedInfo().State.LastSeq
	if j.mark != nil && j.mark.value() <= j.last {
		return nil
	}
	// The mark is missing, or ahead of a stream whose end was cut off.
	if j.mark != nil {
		j.cut = j.mark.value() - j.last
		if err := j.mark.close(); err != nil {
			return err
		}
	}
	if j.mark, err = createMark(markPath); err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	return nil
}

// first returns the sequence of the oldest page that the stream has.
func (j *journal) first(ctx context.Context) (uint64, error) {
	info, err := j.stream.Info(ctx)
	if err != nil {
		return 0, j.fault(err, j.name, "look at the stream")
	}
	return info.State.FirstSeq, nil
}

// append stores a page behind the last one and returns when it is on disk, or
// certainly will never be: an answer that does not come is looked up. Only the
// closing engine leaves it open.
func (j *journal) append(page []byte) (seq uint64, err error) {
	m := &client.Msg{Subject: "page." + j.name, Data: page}
	ack, err := j.publish(j.life, m, jetstream.WithExpectLastSequence(j.last))
	if err == nil {
		j.last = ack.Sequence
		return j.last, nil
	}
	err = j.fault(err, j.name, "write a page")
	for j.life.Err() == nil {
		stored, failure := j.isStored(page)
		switch {
		case failure == nil && stored:
			j.last++
			return j.last, nil
		case failure == nil:
			return 0, err
		}
		j.log.Warn("the outcome of a write is unknown; asking again", "stream", j.name, "error", failure)
		select {
		case <-time.After(50 * time.Millisecond):
		case <-j.life.Done():
		}
	}
	return 0, engine.Closed(j.name)
}

// isStored reports whether the page after the last one is this one.
func (j *journal) isStored(page []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(j.life, answerPatience)
	defer cancel()
	info, err := j.stream.Info(ctx)
	if err != nil || info.State.LastSeq <= j.last {
		return false, err
	}
	got, err := j.page(ctx, j.last+1)
	if err == nil && !bytes.Equal(got, page) {
		err = fmt.Errorf("somebody else writes to the stream %s", j.name)
	}
	return err == nil, err
}

// page reads one page as it is stored. errGone: there is none of this sequence.
func (j *journal) page(ctx context.Context, seq uint64) ([]byte, error) {
	m, err := j.read(func() (*jetstream.RawStreamMsg, error) { return j.stream.GetMsg(ctx, seq) })
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errGone
	}
	if err != nil {
		return nil, j.fault(err, j.name, "read a page")
	}
	return m.Data, nil
}

var errGone = errors.New("the page is not there")

// purge forgets every page before tail. The stream may keep a few.
func (j *journal) purge(ctx context.Context, tail uint64) error {
	j.server.mu.RLock()
	defer j.server.mu.RUnlock()
	return j.stream.Purge(ctx, jetstream.WithPurgeSequence(tail))
}

// scan calls visit for every page from a sequence on that the stream can give, in
// order. The page is the callee's.
func (j *journal) scan(ctx context.Context, from uint64, visit func(seq uint64, page []byte) error) error {
	for more := true; more; {
		var messages []*client.Msg
		var err error
		if messages, more, err = j.batch(ctx, j.name, "", from); err != nil {
			return j.fault(err, j.name, "read the stream")
		}
		for _, m := range messages {
			seq, err := sequenceOf(m)
			if err != nil {
				return j.fault(err, j.name, "read the stream")
			}
			if err := visit(seq, m.Data); err != nil {
				return err
			}
			from = seq + 1
		}
	}
	return nil
}

// setAside keeps a page that cannot be read, for people to look at, and says where.
func (j *journal) setAside(seq uint64, page []byte) string {
	path := filepath.Join(j.aside, fmt.Sprintf("%s-%d.page", j.name, seq))
	err := os.MkdirAll(j.aside, 0o700)
	if err == nil {
		err = os.WriteFile(path, page, 0o600)
	}
	if err != nil {
		j.log.Warn("a damaged page could not be set aside", "page", path, "error", err)
		return "nowhere"
	}
	return path
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	var errs []error
	for _, m := range []*mark{j.mark, j.counted} {
		if m != nil {
			errs = append(errs, m.close())
		}
	}
	return errors.Join(errs...)
}
