package nats

import "context"

// Chunks returns the number of messages in the stream of chunks.
func (e *Engine) Chunks(ctx context.Context) (uint64, error) {
	info, err := e.blobs.stream.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.State.Msgs, nil
}
