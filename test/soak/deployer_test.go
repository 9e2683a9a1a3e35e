package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// deployer changes functions at random, one change at a time, and writes down
// what each change means for the callers.
type deployer struct {
	api  *api
	rng  *rand.Rand
	done map[string]int // changes by kind
	// slowest is how long a change took at most.
	slowest time.Duration
}

const lambdaFunctions = "/2015-03-31/functions/"

// run changes functions until ctx ends. An answer that is not the one expected
// ends it.
func (d *deployer) run(ctx context.Context, functions []*function) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Duration(d.rng.IntN(150)) * time.Millisecond):
		}
		f := functions[d.rng.IntN(len(functions))]
		kind, change := d.choose(f)
		began := time.Now()
		if err := change(f); err != nil {
			return fmt.Errorf("%s %s: %w", kind, f.name, err)
		}
		d.done[kind]++
		d.slowest = max(d.slowest, time.Since(began))
	}
}

func (d *deployer) choose(f *function) (string, func(*function) error) {
	switch n := d.rng.IntN(20); {
	case n < 4:
		return "update", d.update
	case n < 8:
		return "deploy", d.deploy
	case n < 12:
		return "publish", d.publish
	case n < 15 && len(f.history.numbers) > 0: // only the deployer writes them
		return "shift", d.shift
	case n < 17 && len(f.history.numbers) > 3:
		return "deleteVersion", d.deleteVersion
	case n < 18:
		return "recreate", d.recreate
	}
	return "configure", d.configure
}

// deploy creates the function or gives it new code, and waits until it is active.
func (d *deployer) deploy(f *function) error {
	code := f.nextCode()
	archive, err := pack(f.lang.files(code))
	if err != nil {
		return err
	}
	h := f.history
	h.change(func() { h.latest.begin(code) })
	err = d.api.want(http.MethodPut, "/hearth/v1/functions/"+f.name, map[string]any{
		"runtime": f.lang.runtime, "handler": f.lang.handler, "memoryMB": 512, "egress": d.egress(),
		"timeoutSeconds": f.timeoutSeconds(), "zip": archive,
	}, nil)
	h.change(h.latest.settled)
	return err
}

// update gives the function new code as the vendor's tools do, and publishes it in
// the same request: the version is there from the answer on, and can be called
// when the update has ended.
func (d *deployer) update(f *function) error {
	code := f.nextCode()
	archive, err := pack(f.lang.files(code))
	if err != nil {
		return err
	}
	h := f.history
	began := time.Now()
	h.change(func() { h.latest.begin(code) })
	var out struct{ Version string }
	err = d.api.want(http.MethodPut, lambdaFunctions+f.name+"/code", map[string]any{"ZipFile": archive, "Publish": true}, &out)
	if err != nil {
		return err
	}
	h.change(func() {
		v := h.version(out.Version)
		v.begin(code)
		v.seen[len(v.seen)-1].from = began
		h.numbers = append(h.numbers, out.Version)
	})
	if err := d.updated(f); err != nil {
		return err
	}
	h.change(func() {
		h.latest.settled()
		h.versions[out.Version].settled()
	})
	return nil
}

// updated waits until the function's update has ended well.
func (d *deployer) updated(f *function) error {
	deadline := time.After(callTimeout)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var now struct{ State, LastUpdateStatus, LastUpdateStatusReason string }
		if err := d.api.want(http.MethodGet, lambdaFunctions+f.name+"/configuration", nil, &now); err != nil {
			return err
		}
		if now.State == "Active" && now.LastUpdateStatus == "Successful" {
			return nil
		}
		if now.State == "Failed" || now.LastUpdateStatus == "Failed" {
			return fmt.Errorf("the update failed: %+v", now)
		}
		select {
		case <-again.C:
		case <-deadline:
			return fmt.Errorf("after %v the function is %+v", callTimeout, now)
		}
	}
}

func (d *deployer) egress() string {
	if d.rng.IntN(3) == 0 {
		return "internet"
	}
	return "none"
}

// configure makes a new revision of the same code.
func (d *deployer) configure(f *function) error {
	return d.api.want(http.MethodPut, "/hearth/v1/functions/"+f.name,
		map[string]any{"environment": map[string]string{"SALT": fmt.Sprint(d.rng.Int())}}, nil)
}

func (d *deployer) publish(f *function) error {
	h := f.history
	code := h.latest.seen[len(h.latest.seen)-1].value
	began := time.Now()
	var out struct{ Version string }
	if err := d.api.want(http.MethodPost, lambdaFunctions+f.name+"/versions", map[string]any{}, &out); err != nil {
		return err
	}
	if slices.Contains(h.numbers, out.Version) { // nothing had changed
		if !h.versions[out.Version].may(code, began, began) {
			return fmt.Errorf("version %s is said to be code %s; it has %v", out.Version, code, h.versions[out.Version])
		}
		return nil
	}
	h.change(func() {
		v := h.version(out.Version)
		v.begin(code)
		v.seen[len(v.seen)-1].from = began // the number was not known before
		v.settled()
		h.numbers = append(h.numbers, out.Version)
	})
	return nil
}

// shift points the alias to a version, with or without a second one.
func (d *deployer) shift(f *function) error {
	h := f.history
	values := []string{h.numbers[d.rng.IntN(len(h.numbers))]}
	weights := map[string]float64{}
	if second := h.numbers[d.rng.IntN(len(h.numbers))]; second != values[0] && d.rng.IntN(2) == 0 {
		values = append(values, second)
		weights[second] = 0.5
	}
	body := map[string]any{"FunctionVersion": values[0], "RoutingConfig": map[string]any{"AdditionalVersionWeights": weights}}
	method, path := http.MethodPut, lambdaFunctions+f.name+"/aliases/live"
	now := time.Now()
	if !h.live.surely(now, now) {
		method, path = http.MethodPost, lambdaFunctions+f.name+"/aliases"
		body["Name"] = "live"
	}
	h.change(func() { h.live.begin(values...) })
	if err := d.api.want(method, path, body, nil); err != nil {
		return err
	}
	h.change(h.live.settled)
	return nil
}

// deleteVersion deletes the oldest version that the alias does not need.
func (d *deployer) deleteVersion(f *function) error {
	h := f.history
	now := time.Now()
	i := slices.IndexFunc(h.numbers, func(n string) bool { return !h.live.may(n, now, now) })
	if i < 0 {
		return nil
	}
	number := h.numbers[i]
	h.change(func() {
		h.numbers = slices.Delete(h.numbers, i, i+1)
		h.versions[number].doomed()
	})
	if err := d.api.want(http.MethodDelete, lambdaFunctions+f.name+"?Qualifier="+number, nil, nil); err != nil {
		return err
	}
	h.change(h.versions[number].gone)
	return nil
}

// recreate deletes the function and creates it again.
func (d *deployer) recreate(f *function) error {
	if err := d.remove(f); err != nil {
		return err
	}
	return d.create(f)
}

// create makes the function with a version and an alias.
func (d *deployer) create(f *function) error {
	for _, change := range []func(*function) error{d.deploy, d.publish, d.shift} {
		if err := change(f); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployer) remove(f *function) error {
	h := f.history
	things := func(do func(*thing)) {
		h.change(func() {
			do(&h.latest)
			do(&h.live)
			for _, v := range h.versions {
				do(v)
			}
			h.numbers = nil
		})
	}
	things((*thing).doomed)
	if err := d.api.want(http.MethodDelete, lambdaFunctions+f.name, nil, nil); err != nil {
		return err
	}
	things((*thing).gone)
	return nil
}
