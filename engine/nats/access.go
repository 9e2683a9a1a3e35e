package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"hearth/engine"
	"hearth/faas"
)

// answerPatience bounds one request to the server.
const answerPatience = 10 * time.Second

// access is what every store of the engine works with.
type access struct {
	server *embedded
	js     jetstream.JetStream
	gate   *gate
	room   *room
}

// publish stores one message and returns when it is on disk.
func (a *access) publish(ctx context.Context, m *client.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if err := a.server.heal(); err != nil {
		return nil, err
	}
	ack, err := a.publishOnce(ctx, m, opts...)
	if err != nil {
		if failure := a.server.heal(); failure != nil {
			return nil, failure
		}
	}
	return ack, err
}

// publishOnce gives up when JetStream fails: it would wait for an answer that
// never comes.
func (a *access) publishOnce(ctx context.Context, m *client.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	a.server.mu.RLock()
	defer a.server.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	defer context.AfterFunc(a.server.log.healthy(), cancel)()
	return a.js.PublishMsg(ctx, m, opts...)
}

// read does one request that changes nothing.
func (a *access) read(request func() (*jetstream.RawStreamMsg, error)) (*jetstream.RawStreamMsg, error) {
	a.server.mu.RLock()
	defer a.server.mu.RUnlock()
	return request()
}

// Bounds of one batch.
const (
	batchMessages = 512
	batchBytes    = 8 << 20
)

// batch reads messages of a stream in order, from a sequence on, those whose subject
// matches filter where that is not empty. more is false where there were no others
// when it was asked.
func (a *access) batch(ctx context.Context, stream, filter string, from uint64) (messages []*client.Msg, more bool, err error) {
	a.server.mu.RLock()
	defer a.server.mu.RUnlock()
	ctx, cancel := context.WithTimeout(ctx, 3*answerPatience)
	defer cancel()
	conn := a.server.conn
	inbox := conn.NewInbox()
	sub, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, false, err
	}
	defer sub.Unsubscribe()
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, false, err
	}
	request, err := json.Marshal(map[string]any{"seq": max(from, 1), "batch": batchMessages, "max_bytes": batchBytes, "next_by_subj": filter})
	if err != nil {
		return nil, false, err
	}
	if err := conn.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		return nil, false, err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, false, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			messages = append(messages, m)
		case "204":
			return messages, len(messages) > 0, nil
		case "404":
			return messages, false, nil
		default:
			return nil, false, fmt.Errorf("%s: %s", status, m.Header.Get("Description"))
		}
	}
}

// sequenceOf is that of a message of a batch.
func sequenceOf(m *client.Msg) (uint64, error) {
	return strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
}

// fault turns an error of the client or the server into one of the engine's.
func (a *access) fault(err error, subject, doing string) error {
	var known *faas.Error
	switch {
	case errors.As(err, &known):
		return err
	case a.gate.closing.Err() != nil, errors.Is(err, client.ErrConnectionClosed):
		return engine.Closed(subject)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("engine: %s %s: %w", doing, subject, err)
	case strings.Contains(err.Error(), "no space left"):
		return engine.Failure(engine.ErrFull, subject, "%s: %v; make room and retry", doing, err)
	}
	return faas.Errorf(faas.CodeInternal, subject, "engine: %s: %w", doing, err)
}

// lostRace reports whether a write failed because another one came first.
func lostRace(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
