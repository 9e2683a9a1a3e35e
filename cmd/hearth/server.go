package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"hearth/api/cwlogs"
	"hearth/api/funcurl"
	"hearth/api/lambda"
	"hearth/api/native"
	"hearth/async"
	"hearth/auth"
	"hearth/code"
	"hearth/engine"
	"hearth/engine/datadir"
	"hearth/engine/nats"
	"hearth/faas"
	"hearth/internal/cpuload"
	"hearth/internal/http1"
	"hearth/invoke"
	"hearth/logs"
	"hearth/metric"
	"hearth/metric/prom"
	"hearth/pool"
	"hearth/provision"
	"hearth/quota"
	"hearth/registry"
	"hearth/runtimes"
)

// closeTimeout bounds each step of a stop that has nothing of a user's to wait for.
const closeTimeout = 10 * time.Second

// server is the whole platform in one process. Its parts are opened in the order
// of the fields and closed in the reverse one.
type server struct {
	log       *slog.Logger
	data      *datadir.Dir
	engine    *nats.Engine
	code      *code.Store
	logs      *logs.Store
	keys      *auth.Store
	callers   authenticator
	isolation *isolation
	metrics   *metric.Registry
	quota     *quota.Allocator
	pools     *pool.Pools
	registry  *registry.Registry
	provision *provision.Reconciler
	async     *async.Service
	invoke    *invoke.Service
	front     *front
	listener  net.Listener
	http      *http1.Server
	// endStreams ends the answers that follow logs, which have no end of their own.
	endStreams func()

	losses  atomic.Uint64 // times that stored events were found damaged
	closers []closer      // in the order of opening
}

type closer struct {
	what  string
	close func(context.Context) error
}

// runServer opens a server, says that it is ready, runs body until it returns or
// ctx ends, and stops the server: refuse, drain, close. A signal that comes while
// it drains ends the draining.
func runServer(ctx context.Context, t *terminal, v values, dir string, body func(context.Context, *server) error) error {
	if err := checkIdentity(v); err != nil {
		return err
	}
	s, err := openServer(ctx, t, v, dir)
	if err != nil {
		return err
	}
	serving := make(chan error, 1)
	go func() { serving <- s.http.Serve(s.listener) }()
	s.front.ready.Store(true)
	takeBallast()
	fmt.Fprintf(t.out, "hearth: ready on %s\n", s.url())

	bodyCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- body(bodyCtx, s) }()
	select {
	case err = <-ran:
	case err = <-serving:
		cancel()
		<-ran
	}
	drain, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return errors.Join(err, s.stop(drain, v.duration("drain")))
}

func (s *server) url() string { return "http://" + s.listener.Addr().String() }

// stop refuses new calls, waits for those in flight at most as long as drain and
// until ctx ends, and closes everything.
func (s *server) stop(ctx context.Context, drain time.Duration) error {
	s.front.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	s.log.Info("stopping", "drain", drain)
	// New calls are refused first, so that what is in flight only gets less. Events
	// that do not end in time keep their places and their numbers of the attempt.
	s.async.Stop()
	if err := s.pools.Drain(ctx); err != nil {
		s.log.Warn("invocations in flight were ended", "error", err)
	}
	var err error
	answers, cancelAnswers := context.WithTimeout(context.Background(), closeTimeout)
	defer cancelAnswers()
	if closing := s.http.Shutdown(answers); closing != nil {
		err = errors.Join(err, s.http.Close())
	}
	return errors.Join(err, s.close())
}

// close closes what was opened, last first.
func (s *server) close() error {
	var all error
	for i := len(s.closers) - 1; i >= 0; i-- {
		c := s.closers[i]
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		if err := c.close(ctx); err != nil {
			all = errors.Join(all, fmt.Errorf("closing %s: %w", c.what, err))
		}
		cancel()
	}
	s.closers = nil
	return all
}

func (s *server) opened(what string, close func(context.Context) error) {
	s.closers = append(s.closers, closer{what, close})
}

// openServer opens the parts of the server; on an error nothing stays open.
func openServer(ctx context.Context, t *terminal, v values, dir string) (*server, error) {
	log, err := newLogger(t.err, v)
	if err != nil {
		return nil, err
	}
	s := &server{log: log}
	if err := s.open(ctx, t, v, dir); err != nil {
		if closing := s.close(); closing != nil {
			err = errors.Join(err, closing)
		}
		return nil, err
	}
	return s, nil
}

func (s *server) open(ctx context.Context, t *terminal, v values, dir string) error {
	if err := s.openStores(ctx, v, dir); err != nil {
		return err
	}
	if err := s.openServices(ctx, t, v); err != nil {
		return err
	}
	if err := s.listen(v); err != nil {
		return err
	}
	s.async.Start(s.invoke)
	return nil
}

// maxStoredZip bounds a package from an object store. What is uploaded is bounded
// by its API, at 50 MB.
const maxStoredZip = 250 << 20

func (s *server) openStores(ctx context.Context, v values, dir string) (err error) {
	if s.data, err = datadir.Open(dir); err != nil {
		return err
	}
	s.opened("the data directory", func(context.Context) error { return s.data.Close() })
	if s.engine, err = nats.Open(ctx, nats.Options{Dir: s.data, Logger: s.log, Clock: wallClock(),
		Queue: nats.QueueOptions{OnLoss: func(engine.Loss) { s.losses.Add(1) }}}); err != nil {
		return err
	}
	s.opened("the engine", s.engine.Close)
	packages, err := s.data.Sub("code")
	if err != nil {
		return err
	}
	if s.code, err = code.Open(ctx, code.Options{Dir: packages, Blobs: s.engine.Blobs(), Limits: code.Limits{Zipped: maxStoredZip}, Logger: s.log}); err != nil {
		return err
	}
	s.opened("the packages", func(context.Context) error { return s.code.Close() })
	lines, err := s.data.Sub("logs")
	if err != nil {
		return err
	}
	s.logs, err = logs.Open(ctx, logs.Options{
		Dir: lines, Retention: v.duration("log-retention"),
		MaxBytesPerFunction: int64(v.number("log-bytes")), Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.opened("the logs", func(context.Context) error { return s.logs.Close() })
	if s.keys, err = openKeys(ctx, s.data, s.engine.Meta(), s.log); err != nil {
		return err
	}
	s.opened("the keys", s.keys.Close)
	return nil
}

func (s *server) openServices(ctx context.Context, t *terminal, v values) error {
	catalogue := newCatalogue(s.data.Path())
	var err error
	if s.isolation, err = openIsolation(t, v, s.data, s.log); err != nil {
		return err
	}
	s.opened("the sandboxes", func(context.Context) error { return s.isolation.Close() })
	launcher, err := newLauncher(s, v, catalogue)
	if err != nil {
		return err
	}
	s.opened("the launcher", func(context.Context) error { return launcher.Close() })
	s.metrics = metric.New()
	s.opened("the metrics", func(context.Context) error { s.metrics.Close(); return nil })
	s.quota = quota.New(quota.Options{})
	s.pools = pool.New(pool.Options{
		Starter: launcher, Spares: launcher, Quota: s.quota, Metrics: s.metrics, KeepAlive: v.keepAlive(), FreezeAfter: v.freezeAfter(),
		Pressure:  memoryPressure(),
		Saturated: new(cpuload.Meter).Saturated, MaxInstances: v.number("max-instances"), Logger: s.log,
	})
	s.opened("the instances", s.pools.Close)
	launcher.FillCells(s.pools)
	var changes relay
	s.registry, err = registry.New(ctx, registry.Options{
		Meta: s.engine.Meta(), Packages: s.code, Runtimes: catalogue, Compiler: launcher, Deployer: s.pools, Quota: s.quota,
		Changed: changes.tell, CheckCron: func(expression string) error { return provision.CheckCron(expression, time.Now()) }, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.opened("the registry", s.registry.Close)
	s.openProvisioning(&changes)
	s.openDeployments(&changes, launcher)
	if err := s.openEvents(v); err != nil {
		return err
	}
	if s.callers, err = openCallers(ctx, t, v, s.keys, s.data.Path()); err != nil {
		return err
	}
	answers := native.New(native.Options{
		Auth: s.callers, Keys: s.keys,
		Registry: s.registry, Invoker: s.invoke, Instances: instances{s.pools}, Logs: s.logs,
		Quotas: s.registry, QuotaUse: quotaUse{s.quota}, Provisioning: s.provision,
		URLs: s.registry, Layers: s.registry, EventConfigs: s.registry, Events: s.async, Losses: func() []native.Loss { return lossesOf(s.engine.Queue()) }, Invocations: s.invoke, Metrics: s.metrics, Cells: cellStats{launcher}.Cells,
		Runtimes: catalogueList{catalogue}, Account: v["account"], Region: v["region"], Regions: list(v["regions"]),
		Isolation: string(s.isolation.name), Version: buildVersion(), Logger: s.log,
	})
	objects, err := objectStore(v)
	if err != nil {
		return err
	}
	s.front = newFront(
		lambda.New(lambda.Options{
			Registry: s.registry, Invoker: s.invoke, Quotas: s.registry, Provisioning: s.provision, Events: s.registry,
			Policies: s.registry, URLs: s.registry, Mappings: s.registry, Layers: s.registry, Objects: objects,
			Auth: s.callers, Region: v["region"],
			Regions: list(v["regions"]), Logger: s.log,
		}),
		answers,
		guardMetrics(s.callers, prom.Handler(prom.Options{Metrics: s.metrics, Quotas: accountUse{s.quota}, Queues: backlogs{s.async}, Losses: s.losses.Load, Cells: cellStats{launcher}.Cells, Version: buildVersion(), Logger: s.log})),
		funcurl.New(funcurl.Options{URLs: s.registry, Invoker: s.invoke, Identify: identify(s.callers), Logger: s.log}),
		hostsOf(v))
	s.front.logs = cwlogs.New(cwlogs.Options{
		Logs: s.logs, Groups: logGroups{s.registry}, Auth: s.callers, Region: v["region"],
		Retention: v.duration("log-retention"), Logger: s.log,
	})
	s.endStreams = answers.EndStreams
	return nil
}

// openProvisioning begins to keep provisioned concurrency as it is configured.
func (s *server) openProvisioning(changes *relay) {
	s.provision = provision.New(provision.Options{
		Source: s.registry, Pools: s.pools, Quota: s.quota, Demand: demand{s.metrics}.of, Subscribe: changes.to,
	})
	s.opened("provisioned concurrency", func(context.Context) error { s.provision.Close(); return nil })
}

// openEvents makes what accepts and runs asynchronous invocations.
func (s *server) openEvents(v values) error {
	networks, err := prefixes(v, "destination-networks")
	if err != nil {
		return err
	}
	s.async = async.New(async.Options{
		Queue: s.engine.Queue(), History: s.engine.History(), Functions: s.registry, Metrics: s.metrics, Logger: s.log,
		Caps: engine.Caps{
			KeyEvents: int64(v.number("async-function-events")), KeyBytes: int64(v.number("async-function-bytes")),
			AccountEvents: int64(v.number("async-account-events")), AccountBytes: int64(v.number("async-account-bytes")),
		},
		Window:      v.duration("idempotency-window"),
		Freed:       func(scope faas.Scope) <-chan struct{} { return s.quota.Freed(quota.AccountOf(scope)) },
		Saturated:   new(cpuload.Meter).Saturated,
		Idle:        func(id faas.FunctionID) int { return s.pools.Function(id).Idle },
		Destination: async.AllowDestinations(networks),
		Trap:        trap(),
	})
	s.invoke = invoke.New(invoke.Options{Resolver: s.registry, Pools: s.pools, Quota: s.quota, Acceptor: s.async, Metrics: s.metrics, Logger: s.log})
	s.opened("asynchronous invocations", s.async.Close)
	return nil
}

// openDeployments begins to keep stem cells for what is deployed.
func (s *server) openDeployments(changes *relay, launcher *runtimes.Launcher) {
	ctx, stop := context.WithCancel(context.Background())
	d := followDeployments(ctx, s.registry, changes, launcher.Deployed)
	s.opened("deployments", func(context.Context) error {
		stop()
		<-d.done
		return nil
	})
}

func (s *server) listen(v values) (err error) {
	if s.listener, err = net.Listen("tcp", v["listen"]); err != nil {
		return fmt.Errorf("cannot listen on %s (is another server running? --listen names another address): %w", v["listen"], err)
	}
	s.http = &http1.Server{Rest: newHTTPServer(s.front, s.log), Direct: lambda.InvokesPath, Logger: s.log}
	s.http.Rest.RegisterOnShutdown(s.endStreams)
	s.opened("the listener", func(context.Context) error {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return nil
}
