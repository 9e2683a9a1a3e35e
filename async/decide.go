package async

import (
	"errors"
	"time"

	"hearth/faas"
	"hearth/invoke"
)

// Policy is the numbers that the dispatcher decides by. The zero value of a field is
// its default.
type Policy struct {
	// Drain is how long a backlog may take to run: instances are added until it is
	// expected to take no longer. Default 10 s.
	Drain time.Duration
	// Assumed is what an invocation is taken to last of a function that has not run
	// yet. Default 1 s.
	Assumed time.Duration
	// FirstDelay and MostDelay bound the pauses after a refusal or a fault of the
	// platform, which double. Defaults 1 s and 5 min.
	FirstDelay, MostDelay time.Duration
	// CapacityDelay is the longest pause after the machine had no room. Default 10 s.
	CapacityDelay time.Duration
	// DeliverFor is how long a destination that does not take an outcome is tried.
	// Default 6 h.
	DeliverFor time.Duration
	// Redriven is how many dead letters one redrive by a filter sends. Default 10,000.
	Redriven int
}

func (p Policy) withDefaults() Policy {
	setDefault(&p.Drain, 10*time.Second)
	setDefault(&p.Assumed, time.Second)
	setDefault(&p.FirstDelay, time.Second)
	setDefault(&p.MostDelay, 5*time.Minute)
	setDefault(&p.CapacityDelay, 10*time.Second)
	setDefault(&p.DeliverFor, 6*time.Hour)
	setDefault(&p.Redriven, 10_000)
	return p
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// delay is the pause after the n-th refusal or fault in a row, from 1.
func (p Policy) delay(n int) time.Duration {
	d := p.FirstDelay
	for i := 1; i < n && d < p.MostDelay; i++ {
		d *= 2
	}
	return min(d, p.MostDelay)
}

// load is what the dispatcher sees of one function.
type load struct {
	waiting  int           // events that could begin now
	running  int           // attempts under way
	age      time.Duration // of the first that waits
	duration time.Duration // that attempts took lately; 0 is not known
	places   int           // invocations that instances which are there can hold
	each     int           // invocations that one instance may hold, at least 1
	ceiling  int           // at which a limit refused a moment ago; 0 is none
	most     int           // beyond which nothing is to be added now, see reach; 0 is no bound
}

const (
	// perCore is how many instances for each CPU a backlog may always have, and how
	// many may be added in growEvery.
	perCore   = 2
	growEvery = 50 * time.Millisecond
)

// reach is how many attempts of a function that has those places may run, for the
// next growEvery. More than perCore are added only while the CPUs have time to spare:
// else attempts take long because there are so many, and more would make each longer
// still. And they are added in steps, because only then it is seen whether they do.
func reach(places, each, cores int, saturated bool) int {
	step := perCore * cores * max(1, each)
	if saturated {
		return max(places, step)
	}
	return places + step
}

// wanted is how many attempts may run at once: enough to have the backlog run
// within Policy.Drain of the acceptance of its first event, in whole instances; what
// instances are there are used in any case, and never more than there are events.
func wanted(l load, p Policy) int {
	if l.waiting <= 0 {
		return l.running
	}
	events := l.waiting + l.running
	duration := l.duration
	if duration <= 0 {
		duration = p.Assumed
	}
	// Who is late already hurries, but not without bound.
	left := min(max(p.Drain-l.age, p.Drain/5), p.Drain)
	calls := int(min((int64(events)*int64(duration)+int64(left)-1)/int64(left), int64(events)))
	each := max(1, l.each)
	calls = (calls + each - 1) / each * each
	if l.most > 0 {
		calls = min(calls, l.most)
	}
	calls = min(max(calls, l.places, 1), events)
	if l.ceiling > 0 {
		calls = min(calls, l.ceiling)
	}
	return calls
}

// ending is how one try of an event came out.
type ending uint8

const (
	succeeded     ending = iota
	functionError        // the function's own, timeouts, exits and init errors included
	terminated           // by its user
	refused              // a limit: nothing ran
	crowded              // the machine had no room: nothing ran
	unready              // the version cannot run now: nothing ran
	faulted              // the platform failed; something may have run
	impossible           // no version could serve the request
	functionGone
	qualifierGone
	closing // this server is; something may have run
)

// held says that nothing ran and the event goes back to its place in the queue.
func (e ending) held() bool { return e == refused || e == crowded || e == unready }

// classify says how a try came out.
func classify(res *invoke.Result, err error) ending {
	if err == nil {
		switch {
		case res.Report.Status == faas.StatusAborted:
			return terminated
		case res.Outcome.FunctionError != "":
			return functionError
		}
		return succeeded
	}
	switch faas.CodeOf(err) {
	case faas.CodeThrottled:
		return refused
	case faas.CodeNoCapacity:
		return crowded
	case faas.CodeNotReady:
		return unready
	case faas.CodeShuttingDown:
		return closing
	case faas.CodeCanceled:
		return terminated
	case faas.CodeInvalid, faas.CodeInvalidBody, faas.CodeTooLarge, faas.CodeUnsupported:
		return impossible
	case faas.CodeNotFound:
		if errors.Is(err, faas.ErrNoFunction) {
			return functionGone
		}
		return qualifierGone
	}
	return faulted
}

// verdict is what becomes of an event after a try.
type verdict struct {
	status faas.EventStatus // its outcome; "" where it goes on
	reason faas.DropReason  // of an outcome that is no success
	at     time.Time        // when it is tried again
	leave  bool             // it is left as it is, for the next server
}

// expiry is when an event is too old for an attempt to begin.
func expiry(accepted time.Time, c faas.AsyncConfig) time.Time { return accepted.Add(c.MaxAge()) }

// decide says what becomes of an event whose try ended now. Failed and faults are the
// attempts with a function error and the faults of the platform in a row, this try
// included. An ending that is held is not asked about.
func decide(e ending, failed, faults int, accepted, now time.Time, c faas.AsyncConfig, p Policy) verdict {
	var at time.Time
	switch e {
	case succeeded:
		return verdict{status: faas.EventDone}
	case terminated:
		return verdict{status: faas.EventAborted, reason: faas.DropTerminated}
	case closing:
		return verdict{leave: true}
	case impossible:
		return verdict{status: faas.EventFailed, reason: faas.DropRequest}
	case functionGone:
		return verdict{status: faas.EventFailed, reason: faas.DropFunction}
	case qualifierGone:
		return verdict{status: faas.EventFailed, reason: faas.DropQualifier}
	case functionError:
		if failed > c.MaxRetries() {
			return verdict{status: faas.EventFailed, reason: faas.DropRetries}
		}
		at = now.Add(c.Delay.After(failed))
	default:
		at = now.Add(p.delay(faults))
	}
	if at.After(expiry(accepted, c)) {
		return verdict{status: faas.EventExpired, reason: faas.DropAge}
	}
	return verdict{at: at}
}
