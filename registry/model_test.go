package registry_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"hearth/faas"
	"hearth/internal/seeds"
	"hearth/registry"
)

// model is what a registry should say, kept as simply as can be.
type model struct {
	functions map[string]*modelFunction
	numbers   map[string]int64 // the highest ever given, by name; outlives functions
}

type modelFunction struct {
	memory   int
	zip      string
	versions map[int64]modelVersion
	aliases  map[string]modelAlias
	tags     map[string]string
	// reserved is nil without a reservation; provisioned is by qualifier.
	reserved    *int
	provisioned map[string]int
	events      map[string]int // retries, by qualifier
}

type modelVersion struct {
	memory int
	zip    string
}

type modelAlias struct {
	version, other string // other is "" without weights
}

func newModel() *model {
	return &model{functions: map[string]*modelFunction{}, numbers: map[string]int64{}}
}

// driver makes random requests of a registry and the same of the model.
type driver struct {
	t     testing.TB
	r     *registry.Registry
	w     *world
	m     *model
	rnd   *rand.Rand
	trace []string
}

func (d *driver) failf(format string, args ...any) {
	d.t.Helper()
	from := max(0, len(d.trace)-15)
	d.t.Fatalf("%s\nlast steps:\n  %s", fmt.Sprintf(format, args...), strings.Join(d.trace[from:], "\n  "))
}

// expect compares an error with the code that the model says; "" is success.
func (d *driver) expect(err error, code faas.ErrorCode) {
	d.t.Helper()
	if code == "" && err != nil || code != "" && !faas.IsCode(err, code) {
		d.failf("error %v, the model says %q", err, code)
	}
}

func (d *driver) pick(of ...string) string { return of[d.rnd.IntN(len(of))] }

func (d *driver) name() string  { return d.pick("a", "b", "c", "d") }
func (d *driver) alias() string { return d.pick("live", "beta", "old") }
func (d *driver) zip() string   { return d.pick("one", "two", "three") }

// version is one that exists, mostly.
func (d *driver) version(f *modelFunction) string {
	if f == nil || len(f.versions) == 0 || d.rnd.IntN(8) == 0 {
		return fmt.Sprint(1 + d.rnd.IntN(12))
	}
	return fmt.Sprint(d.pick(slices.Collect(func(yield func(string) bool) {
		for _, n := range slices.Sorted(maps.Keys(f.versions)) {
			if !yield(fmt.Sprint(n)) {
				return
			}
		}
	})...))
}

func (d *driver) step() {
	name := d.name()
	ops := []func(string, *modelFunction){d.create, d.updateCode, d.updateConfig, d.publish, d.publish,
		d.createAlias, d.updateAlias, d.deleteAlias, d.deleteVersion, d.tag, d.deleteFunction,
		d.reserve, d.provision, d.provision, d.unprovision, d.eventConfig, d.eventConfig}
	ops[d.rnd.IntN(len(ops))](name, d.m.functions[name])
}

func (d *driver) note(format string, args ...any) {
	d.trace = append(d.trace, fmt.Sprintf(format, args...))
}

func (d *driver) create(name string, f *modelFunction) {
	in := createInput(name)
	zip, publish := d.zip(), d.rnd.IntN(3) == 0
	in.Zip, in.Publish = zipOf(zip), publish
	d.note("create %s %s publish=%v", name, zip, publish)
	_, err := d.r.Create(d.t.Context(), in)
	if f != nil {
		d.expect(err, faas.CodeConflict)
		return
	}
	d.expect(err, "")
	f = &modelFunction{memory: 128, zip: zip, versions: map[int64]modelVersion{}, aliases: map[string]modelAlias{}, tags: map[string]string{}, provisioned: map[string]int{}, events: map[string]int{}}
	d.m.functions[name] = f
	if publish {
		d.m.publish(name)
	}
}

func (m *model) publish(name string) {
	f := m.functions[name]
	m.numbers[name]++
	f.versions[m.numbers[name]] = modelVersion{f.memory, f.zip}
}

func (d *driver) updateCode(name string, f *modelFunction) {
	zip, publish, dry := d.zip(), d.rnd.IntN(3) == 0, d.rnd.IntN(5) == 0
	d.note("update code %s %s publish=%v dry=%v", name, zip, publish, dry)
	_, err := d.r.UpdateCode(d.t.Context(), registry.UpdateCodeInput{Function: fn(name), Zip: zipOf(zip), Publish: publish, DryRun: dry})
	if f == nil {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	if dry {
		return
	}
	f.zip = zip
	if publish {
		d.m.publish(name)
	}
}

func (d *driver) updateConfig(name string, f *modelFunction) {
	memory := []int{32, 128, 256, 512}[d.rnd.IntN(4)]
	d.note("update config %s %d", name, memory)
	_, err := d.r.UpdateConfig(d.t.Context(), fn(name), registry.ConfigPatch{MemoryMB: &memory}, "")
	switch {
	case f == nil:
		d.expect(err, faas.CodeNotFound)
	case memory == 32:
		d.expect(err, faas.CodeInvalid)
	default:
		d.expect(err, "")
		f.memory = memory
	}
}

func (d *driver) publish(name string, f *modelFunction) {
	d.note("publish %s", name)
	v, err := d.r.Publish(d.t.Context(), registry.PublishInput{Function: fn(name)})
	if f == nil {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	if len(f.versions) > 0 {
		last := slices.Max(slices.Collect(maps.Keys(f.versions)))
		if f.versions[last] == (modelVersion{f.memory, f.zip}) {
			if v.ID.Number != fmt.Sprint(last) {
				d.failf("published %s, unchanged since %d", v.ID.Number, last)
			}
			return
		}
	}
	d.m.publish(name)
	if v.ID.Number != fmt.Sprint(d.m.numbers[name]) {
		d.failf("published %s, want %d", v.ID.Number, d.m.numbers[name])
	}
}

func (f *modelFunction) has(version string) bool {
	n, ok := faas.ParseVersionNumber(version)
	_, has := f.versions[n]
	return ok && has || version == faas.Latest
}

func (d *driver) createAlias(name string, f *modelFunction) {
	alias, version := d.alias(), d.version(f)
	if d.rnd.IntN(4) == 0 {
		version = faas.Latest
	}
	d.note("create alias %s %s -> %s", name, alias, version)
	_, err := d.r.CreateAlias(d.t.Context(), faas.Alias{Function: fn(name), Name: alias, Version: version})
	switch {
	case f == nil:
		d.expect(err, faas.CodeNotFound)
	case f.aliases[alias] != modelAlias{}:
		d.expect(err, faas.CodeConflict)
	case !f.has(version):
		d.expect(err, faas.CodeNotFound)
	default:
		d.expect(err, "")
		f.aliases[alias] = modelAlias{version: version}
	}
}

func (d *driver) updateAlias(name string, f *modelFunction) {
	alias, version, other := d.alias(), d.version(f), d.version(f)
	d.note("update alias %s %s -> %s, %s", name, alias, version, other)
	weights := map[string]float64{other: 0.5}
	_, err := d.r.UpdateAlias(d.t.Context(), fn(name), alias, registry.AliasPatch{Version: &version, Weights: &weights})
	switch {
	case f == nil || f.aliases[alias] == modelAlias{}:
		d.expect(err, faas.CodeNotFound)
	case version == other:
		d.expect(err, faas.CodeInvalid)
	case !f.has(version) || !f.has(other):
		d.expect(err, faas.CodeNotFound)
	case f.provisioned[alias] > 0 && f.targetsProvisioned(modelAlias{version, other}):
		d.expect(err, faas.CodeConflict)
	default:
		d.expect(err, "")
		f.aliases[alias] = modelAlias{version, other}
	}
}

func (d *driver) deleteAlias(name string, f *modelFunction) {
	alias := d.alias()
	d.note("delete alias %s %s", name, alias)
	err := d.r.DeleteAlias(d.t.Context(), fn(name), alias)
	if f == nil || f.aliases[alias] == (modelAlias{}) {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	delete(f.aliases, alias)
	delete(f.provisioned, alias)
	delete(f.events, alias)
}

func (d *driver) deleteVersion(name string, f *modelFunction) {
	version := d.version(f)
	d.note("delete version %s:%s", name, version)
	err := d.r.Delete(d.t.Context(), fn(name), version)
	if f == nil || !f.has(version) {
		d.expect(err, faas.CodeNotFound)
		return
	}
	for _, a := range f.aliases {
		if a.version == version || a.other == version {
			d.expect(err, faas.CodeConflict)
			return
		}
	}
	d.expect(err, "")
	n, _ := faas.ParseVersionNumber(version)
	delete(f.versions, n)
	delete(f.provisioned, version)
	delete(f.events, version)
}

func (d *driver) tag(name string, f *modelFunction) {
	key := d.pick("x", "y")
	d.note("tag %s %s", name, key)
	var err error
	remove := d.rnd.IntN(2) == 0
	if remove {
		err = d.r.Untag(d.t.Context(), fn(name), []string{key})
	} else {
		err = d.r.Tag(d.t.Context(), fn(name), map[string]string{key: "1"})
	}
	if f == nil {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	if delete(f.tags, key); !remove {
		f.tags[key] = "1"
	}
}

func (d *driver) deleteFunction(name string, f *modelFunction) {
	if d.rnd.IntN(3) > 0 {
		return
	}
	d.note("delete %s", name)
	err := d.r.Delete(d.t.Context(), fn(name), "")
	if f == nil {
		d.expect(err, faas.CodeNotFound)
		return
	}
	d.expect(err, "")
	delete(d.m.functions, name)
}

// check compares everything that the registry says with the model, and the
// invariants that no request may break.
func (d *driver) check() {
	d.t.Helper()
	var want registry.Usage
	packages := map[faas.Code]bool{}
	page, err := d.r.List(d.t.Context(), scope(), true, "", 1000)
	d.expect(err, "")
	var listed, modelled []string
	for _, v := range page.Items {
		listed = append(listed, v.ID.Function.Name+":"+v.ID.Number)
		if v.State != faas.StateActive || v.Update != faas.UpdateSuccessful {
			d.failf("%s is %s, %s", v.ID, v.State, v.Update)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.m.functions)) {
		f := d.m.functions[name]
		want.Functions++
		modelled = append(modelled, name+":"+faas.Latest)
		d.checkVersion(name, "", modelVersion{f.memory, f.zip}, &want, packages)
		for _, n := range slices.Sorted(maps.Keys(f.versions)) {
			modelled = append(modelled, fmt.Sprintf("%s:%d", name, n))
			d.checkVersion(name, fmt.Sprint(n), f.versions[n], &want, packages)
		}
		d.checkRest(name, f)
		d.checkQuotas(name, f)
		d.checkEvents(name, f)
	}
	if !slices.Equal(listed, modelled) {
		d.failf("listed  %v\nmodel   %v", listed, modelled)
	}
	if got, _ := d.r.Usage(d.t.Context(), scope()); got != want {
		d.failf("usage %+v, the model says %+v", got, want)
	}
	if n := d.w.packages.count(); n != len(packages) {
		d.failf("%d packages stored, %d used", n, len(packages))
	}
}

func (d *driver) checkVersion(name, qualifier string, want modelVersion, usage *registry.Usage, packages map[faas.Code]bool) {
	d.t.Helper()
	f, err := d.r.Get(d.t.Context(), fn(name), qualifier)
	if err != nil {
		d.failf("get %s:%s: %v", name, qualifier, err)
	}
	code := codeOf(zipOf(want.zip))
	if f.Version.Config.MemoryMB != want.memory || f.Version.Code != code {
		d.failf("%s:%s is %+v, the model says %+v", name, qualifier, f.Version, want)
	}
	if v, err := d.r.Resolve(fn(name), qualifier); err != nil || v != f.Version {
		d.failf("resolve %s:%s: %v, %v", name, qualifier, v, err)
	}
	if !d.w.packages.has(code) {
		d.failf("the package of %s:%s is gone", name, qualifier)
	}
	usage.CodeBytes += code.Size
	packages[code] = true
}

func (d *driver) checkRest(name string, f *modelFunction) {
	d.t.Helper()
	got, err := d.r.Get(d.t.Context(), fn(name), "")
	if err != nil || !maps.Equal(got.Tags, f.tags) {
		d.failf("tags of %s: %v, %v, the model says %v", name, got.Tags, err, f.tags)
	}
	page, err := d.r.ListAliases(d.t.Context(), fn(name), "", "", 0)
	if err != nil || len(page.Items) != len(f.aliases) {
		d.failf("aliases of %s: %v, %v, the model says %v", name, page.Items, err, f.aliases)
	}
	for _, a := range page.Items {
		want := f.aliases[a.Name]
		if a.Version != want.version || (want.other != "") != (len(a.Weights) == 1) {
			d.failf("alias %s of %s: %+v, the model says %+v", a.Name, name, a, want)
		}
		v, err := d.r.Resolve(fn(name), a.Name)
		if err != nil || v.ID.Number != want.version && v.ID.Number != want.other {
			d.failf("resolve %s:%s: %v, %v", name, a.Name, v, err)
		}
	}
}

// TestSimulation drives a registry at random beside the model. A failure prints
// its seed; HEARTH_SEED replays it, HEARTH_LONG=1 runs ten times as long.
func TestSimulation(t *testing.T) {
	steps := 3000
	if seeds.Long() {
		steps *= 10
	}
	seed := seeds.One(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		d := &driver{t: t, r: w.open(t), w: w, m: newModel(), rnd: rand.New(rand.NewPCG(seed, 1))}
		defer func() { d.r.Close(context.Background()) }()
		for range steps {
			if d.rnd.IntN(100) == 0 {
				d.note("restart")
				d.r.Close(context.Background())
				d.r = w.open(t)
			}
			d.step()
			synctest.Wait()
			d.check()
		}
	})
}
