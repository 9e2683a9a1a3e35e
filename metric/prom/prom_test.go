package prom

import (
	"bytes"
	"fmt"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"hearth/faas"
	"hearth/metric"
)

type quotas struct{}

func (quotas) Use(string, string) Use {
	return Use{Limits: faas.DefaultAccountLimits(), MemoryMB: 256, Executions: 2, Starts: 3}
}

type queues struct{}

func (queues) Queues(string, string) []Queue {
	return []Queue{{Function: id("f"), Waiting: 7, Bytes: 700, Age: 90 * time.Second}, {Function: id("unlisted"), Waiting: 1}}
}

func id(name string) faas.FunctionID {
	return faas.FunctionID{Scope: faas.Scope{Account: "000000000000", Region: "us-east-1", Namespace: "default"}, Name: name}
}

// scrape returns what Prometheus reads, having checked its form.
func scrape(t *testing.T, r *metric.Registry) map[string]*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(Options{Metrics: r, Quotas: quotas{}, Queues: queues{}, Losses: func() uint64 { return 2 }, Version: "v1"}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	problems, err := promlint.New(bytes.NewReader(w.Body.Bytes())).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// value finds one metric by its labels.
func value(t *testing.T, families map[string]*dto.MetricFamily, name string, labels map[string]string) float64 {
	t.Helper()
	for _, m := range families[name].GetMetric() {
		match := 0
		for _, l := range m.GetLabel() {
			if labels[l.GetName()] == l.GetValue() {
				match++
			}
		}
		if match == len(labels) {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Errorf("%s has none with %v", name, labels)
	return -1
}

func TestScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metric.New()
		defer r.Close()
		v, f, a := r.Version(faas.VersionID{Function: id("f"), Number: "3"}), r.Function(id("f")), r.Alias(id("f"), "live")
		v.Add(metric.Busy, 9)
		v.Add(metric.Busy, -7)
		v.Add(metric.InFlight, 2)
		a.Add(metric.InFlight, 1)
		f.Invoked(true, faas.ColdScaleOut, 3*time.Millisecond, 5)
		f.Invoked(false, "", time.Hour, 2)
		f.Refused(faas.LimitFunction)
		f.Event(metric.EventsAccepted)
		f.Event(metric.EventsDeadLettered)
		time.Sleep(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + time.Millisecond)))
		families := scrape(t, r)
		of := map[string]string{"account": "000000000000", "region": "us-east-1"}
		with := func(pairs ...string) map[string]string {
			labels := map[string]string{}
			for k, v := range of {
				labels[k] = v
			}
			for i := 0; i < len(pairs); i += 2 {
				labels[pairs[i]] = pairs[i+1]
			}
			return labels
		}
		for _, want := range []struct {
			name   string
			labels map[string]string
			value  float64
		}{
			{"hearth_instances", with("namespace", "default", "function", "f", "version", "3", "state", "busy"), 2},
			{"hearth_instances_max", with("function", "f", "version", "3", "state", "busy"), 9},
			{"hearth_concurrency", with("function", "f", "version", "3"), 2},
			{"hearth_function_instances_max", with("function", "f", "state", "busy"), 9},
			{"hearth_account_instances_max", with("state", "busy"), 9},
			{"hearth_account_concurrency", with(), 2},
			{"hearth_alias_concurrency", with("function", "f", "alias", "live"), 1},
			{"hearth_alias_concurrency_max", with("function", "f", "alias", "live"), 1},
			{"hearth_invocations_total", with("function", "f"), 2},
			{"hearth_errors_total", with("function", "f"), 1},
			{"hearth_response_bytes_total", with("function", "f"), 7},
			{"hearth_refusals_total", with("function", "f", "limit", "function-maximum"), 1},
			{"hearth_cold_starts_total", with("function", "f", "reason", "scale-out"), 1},
			{"hearth_invocation_duration_seconds", with("function", "f"), 2},
			{"hearth_account_quota", with("limit", "account-memory", "unit", "MB"), 128000},
			{"hearth_account_quota_use", with("limit", "expansion", "unit", "starts"), 3},
			{"hearth_events_total", with("function", "f", "event", "accepted"), 1},
			{"hearth_events_total", with("function", "f", "event", "dead-lettered"), 1},
			{"hearth_events_total", with("function", "f", "event", "retried"), 0},
			{"hearth_queue_events", with("function", "f"), 7},
			{"hearth_queue_bytes", with("function", "f"), 700},
			{"hearth_queue_oldest_seconds", with("function", "f"), 90},
			{"hearth_queue_losses_total", nil, 2},
			{"hearth_functions_unlisted", nil, 0},
		} {
			if got := value(t, families, want.name, want.labels); got != want.value {
				t.Errorf("%s%v is %v, want %v", want.name, want.labels, got, want.value)
			}
		}
		v.Add(metric.Busy, -2)
		v.Add(metric.InFlight, -2)
		a.Add(metric.InFlight, -1)
		time.Sleep(3 * time.Minute)
		families = scrape(t, r)
		if families["hearth_instances"] != nil || families["hearth_invocations_total"] == nil {
			t.Error("a version without instances is listed, or its function is not")
		}
		for _, s := range []*metric.Series{v, f, a} {
			s.Release()
		}
	})
}

// A scrape is bounded; those left out are counted, and the ones in use are shown.
func TestScrapeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := metric.New()
		defer r.Close()
		for i := range 20 {
			time.Sleep(2 * time.Second)
			v := r.Version(faas.VersionID{Function: id(fmt.Sprint("f", i)), Number: "1"})
			v.Add(metric.Busy, 1)
			v.Add(metric.Busy, -1)
			v.Release()
		}
		time.Sleep(2 * time.Second)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(&collector{Options{Metrics: r}, 5})
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		listed := map[string]bool{}
		left := 0.0
		for _, f := range families {
			if f.GetName() == "hearth_functions_unlisted" {
				left = f.GetMetric()[0].GetGauge().GetValue()
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "function" {
						listed[l.GetValue()] = true
					}
				}
			}
		}
		if len(listed) != 5 || !listed["f19"] || listed["f0"] || left != 15 {
			t.Errorf("listed are %v, %v are not", listed, left)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	r := metric.New()
	defer r.Close()
	for i := range maxFunctions {
		v := r.Version(faas.VersionID{Function: id(fmt.Sprint("f", i)), Number: "1"})
		v.Add(metric.Idle, 1)
	}
	h := Handler(Options{Metrics: r})
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		b.SetBytes(int64(w.Body.Len()))
	}
}
