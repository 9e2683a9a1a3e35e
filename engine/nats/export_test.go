package nats

import (
	"context"
	"errors"
)

// Chunks returns the number of messages in the stream of chunks.
func (e *Engine) Chunks(ctx context.Context) (uint64, error) {
	info, err := e.blobs.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}

// LoseConsumers deletes the consumers of all watches on the server.
func (e *Engine) LoseConsumers(ctx context.Context) (lost int, err error) {
	for name := range e.meta.stream.ConsumerNames(ctx).Name() {
		if err := e.meta.stream.DeleteConsumer(ctx, name); err != nil {
			return lost, err
		}
		lost++
	}
	return lost, nil
}

// Wound makes the engine believe that its store failed, and heals it.
func (e *Engine) Wound() error {
	e.server.log.Errorf("JetStream stream critical write error: a test")
	if e.server.heal() == nil {
		return errors.New("nothing was healed")
	}
	return nil
}
