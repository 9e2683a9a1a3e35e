package nats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
)

const (
	startPatience = 30 * time.Second // for the server to accept its first connection
	// Subjects hold whole keys: up to 16 tokens of 255 bytes, each byte three
	// characters long, twice in some requests.
	maxControlLine = 64 << 10
	maxPayload     = 2 << 20  // bytes; a page with one message of the largest size
	memoryStore    = 64 << 20 // bytes for what JetStream keeps in memory: consumers of watches
	noStoreLimit   = 1 << 60  // bytes; room stops writers before the disk is full
)

// embedded is a NATS server inside this process that opens no port, and the
// connection to it.
//
// JetStream answers a write that the disk refused by refusing every later one,
// and needs to be started again; heal does that. Requests hold mu for reading,
// so none meets it half-way.
type embedded struct {
	server *server.Server
	conn   *client.Conn
	log    *serverLog
	dir    string

	mu sync.RWMutex
}

// startEmbedded starts the server on a store directory that the caller has
// locked. It returns when JetStream has recovered its streams.
func startEmbedded(dir string, log *slog.Logger) (*embedded, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "hearth",
		DontListen:             true,
		JetStream:              true,
		StoreDir:               dir,
		SyncAlways:             true,
		JetStreamMaxMemory:     memoryStore,
		JetStreamMaxStore:      noStoreLimit,
		DisableJetStreamBanner: true,
		MaxControlLine:         maxControlLine,
		MaxPayload:             maxPayload,
		NoSigs:                 true,
		NoLog:                  true,
	})
	if err != nil {
		return nil, fmt.Errorf("configure the embedded server: %w", err)
	}
	e := &embedded{server: srv, log: &serverLog{log: log}, dir: dir}
	e.log.renew()
	srv.SetLogger(e.log, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startPatience) || !srv.JetStreamEnabled() {
		e.close()
		return nil, fmt.Errorf("the embedded server did not start: %w", e.log.lastFatal())
	}
	e.conn, err = client.Connect("", client.InProcessServer(srv), client.Name("hearth"),
		client.MaxReconnects(-1), client.ReconnectWait(20*time.Millisecond), client.ReconnectJitter(0, 0),
		client.ErrorHandler(func(_ *client.Conn, _ *client.Subscription, err error) {
			log.Warn("engine connection", "error", err)
		}))
	if err != nil {
		e.close()
		return nil, fmt.Errorf("connect to the embedded server: %w", err)
	}
	return e, nil
}

// heal starts JetStream again where it has failed since the last start, and
// returns the failure. It loses no acknowledged write: those are on disk.
func (e *embedded) heal() (failure error) {
	if e.log.healthy().Err() == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	health := e.log.healthy()
	if health.Err() == nil {
		return nil // another writer healed it
	}
	if err := e.server.ShutdownJetStream(); err != nil {
		return err
	}
	err := e.server.EnableJetStream(&server.JetStreamConfig{
		StoreDir:   e.dir,
		SyncAlways: true,
		MaxMemory:  memoryStore,
		MaxStore:   noStoreLimit,
		Strict:     true,
	})
	if err != nil {
		return fmt.Errorf("start the store again: %w, after %w", err, context.Cause(health))
	}
	e.log.renew()
	return context.Cause(health)
}

// close ends the connection and the server, and returns when its files are
// closed and its goroutines gone.
func (e *embedded) close() {
	if e.conn != nil {
		e.conn.Close()
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// serverLog takes the server's lines into the engine's log. What the server
// notices about itself is of interest when something is wrong, so notices are
// logged for debugging only.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	fatal error
	// health ends, its cause being the line, when a line says that JetStream
	// stopped taking writes. The server tells it in no other way;
	// TestDiskFullBehindTheGuard holds the wording to account when the server's
	// version changes.
	health context.Context
	fail   context.CancelCauseFunc
}

func (l *serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.write(slog.LevelDebug, format, v) }

// Errorf notices beside logging where a stream stopped for a failed write.
func (l *serverLog) Errorf(format string, v ...any) {
	l.write(slog.LevelError, format, v)
	line := fmt.Sprintf(format, v...)
	if strings.Contains(line, "critical write error") || strings.Contains(line, "will be DISABLED") {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.fail(errors.New(line))
	}
}

// healthy returns a context that lives as long as JetStream takes writes.
func (l *serverLog) healthy() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.health
}

// renew begins a new life of healthy's context.
func (l *serverLog) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.health, l.fail = context.WithCancelCause(context.Background())
}

// Fatalf is called where a stand-alone server would exit. The embedded one goes
// on without what failed; startEmbedded finds out and returns the error.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.write(slog.LevelError, format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fatal = fmt.Errorf(format, v...)
}

func (l *serverLog) lastFatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		return errors.New("it was not ready in time")
	}
	return l.fatal
}

func (l *serverLog) write(level slog.Level, format string, v []any) {
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	l.log.Log(context.Background(), level, "engine server", "line", strings.TrimSpace(fmt.Sprintf(format, v...)))
}
