package faas

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

func goodConfig() Config {
	return Config{Runtime: "python3.11", Handler: "index.handler"}.WithDefaults("f")
}

func TestWithDefaults(t *testing.T) {
	c := goodConfig()
	if c.MemoryMB != 128 || c.TimeoutSeconds != 3 || c.InitTimeoutSeconds != 10 || c.EphemeralMB != 512 ||
		c.InstanceConcurrency != 1 || c.Egress != EgressInternet || c.Isolation != "" || c.TracingMode != "PassThrough" ||
		!slices.Equal(c.Architectures, []string{HostArchitecture()}) || c.Environment != nil ||
		c.Logging != (Logging{Format: "Text", Group: "/aws/lambda/f"}) {
		t.Errorf("%+v", c)
	}
	if !c.WithDefaults("f").Equal(c) {
		t.Error("defaults of a complete configuration changed it")
	}
	l := Logging{Format: "JSON", Group: "g"}.WithDefaults("f")
	if l != (Logging{"JSON", "INFO", "INFO", "g"}) {
		t.Errorf("%+v", l)
	}
}

// TestValidateBounds moves one field at a time over each of its bounds.
func TestValidateBounds(t *testing.T) {
	type change func(*Config)
	ok := map[string]change{
		"nothing":        func(c *Config) {},
		"least memory":   func(c *Config) { c.MemoryMB = 64 },
		"most memory":    func(c *Config) { c.MemoryMB = 10240 },
		"least timeout":  func(c *Config) { c.TimeoutSeconds = 1 },
		"most timeout":   func(c *Config) { c.TimeoutSeconds = 900 },
		"most tmp":       func(c *Config) { c.EphemeralMB = 10240 },
		"concurrency":    func(c *Config) { c.InstanceConcurrency = 1000 },
		"role":           func(c *Config) { c.Role = "arn:aws:iam::123456789012:role/service-role/x+y=1" },
		"description":    func(c *Config) { c.Description = strings.Repeat("ü", 256) },
		"handler":        func(c *Config) { c.Handler = strings.Repeat("h", 128) },
		"no environment": func(c *Config) { c.Environment = map[string]string{} },
		"environment":    func(c *Config) { c.Environment = map[string]string{"AB": strings.Repeat("x", 4096-9)} },
		"TZ":             func(c *Config) { c.Environment = map[string]string{"TZ": "UTC", "PATH": "/bin"} },
		"isolation":      func(c *Config) { c.Isolation = IsolationNone },
		"no egress":      func(c *Config) { c.Egress = EgressNone },
		"arm64":          func(c *Config) { c.Architectures = []string{"arm64"} },
		"json logs":      func(c *Config) { c.Logging = Logging{"JSON", "TRACE", "WARN", "/a.b-c_d#1"} },
		"tracing":        func(c *Config) { c.TracingMode = "Active" },
	}
	for name, change := range ok {
		c := goodConfig()
		change(&c)
		if err := c.Validate(NativeLimits()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	wrong := []struct {
		field  string
		change change
	}{
		{"runtime", func(c *Config) { c.Runtime = "" }},
		{"handler", func(c *Config) { c.Handler = "" }},
		{"handler", func(c *Config) { c.Handler = "a b" }},
		{"handler", func(c *Config) { c.Handler = strings.Repeat("h", 129) }},
		{"description", func(c *Config) { c.Description = strings.Repeat("ü", 257) }},
		{"role", func(c *Config) { c.Role = "me" }},
		{"memorySize", func(c *Config) { c.MemoryMB = 63 }},
		{"memorySize", func(c *Config) { c.MemoryMB = 10241 }},
		{"timeout", func(c *Config) { c.TimeoutSeconds = 0 }},
		{"timeout", func(c *Config) { c.TimeoutSeconds = 901 }},
		{"initTimeout", func(c *Config) { c.InitTimeoutSeconds = 0 }},
		{"initTimeout", func(c *Config) { c.InitTimeoutSeconds = 901 }},
		{"ephemeralStorage.size", func(c *Config) { c.EphemeralMB = 511 }},
		{"ephemeralStorage.size", func(c *Config) { c.EphemeralMB = 10241 }},
		{"instanceConcurrency", func(c *Config) { c.InstanceConcurrency = 0 }},
		{"instanceConcurrency", func(c *Config) { c.InstanceConcurrency = 1001 }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"AWS_REGION": "x"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"1A": "x"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"A": "x"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"A=B": "x"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"AB": "x\x00"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"AB": "\xff"} }},
		{"environment.variables", func(c *Config) { c.Environment = map[string]string{"AB": strings.Repeat("x", 4096-8)} }},
		{"architectures", func(c *Config) { c.Architectures = nil }},
		{"architectures", func(c *Config) { c.Architectures = []string{"x86_64", "arm64"} }},
		{"architectures", func(c *Config) { c.Architectures = []string{"riscv64"} }},
		{"egress", func(c *Config) { c.Egress = "some" }},
		{"isolation", func(c *Config) { c.Isolation = "hope" }},
		{"tracingConfig.mode", func(c *Config) { c.TracingMode = "Off" }},
		{"loggingConfig.logFormat", func(c *Config) { c.Logging.Format = "XML" }},
		{"loggingConfig.logGroup", func(c *Config) { c.Logging.Group = "a b" }},
		{"loggingConfig.applicationLogLevel", func(c *Config) { c.Logging.AppLevel = "INFO" }},
		{"loggingConfig.systemLogLevel", func(c *Config) { c.Logging = Logging{"JSON", "INFO", "TRACE", "g"} }},
	}
	for _, w := range wrong {
		c := goodConfig()
		w.change(&c)
		if got := fieldsOf(c.Validate(NativeLimits())); !slices.Equal(got, []string{w.field}) {
			t.Errorf("fields %v, want %s alone", got, w.field)
		}
	}
}

func fieldsOf(err error) []string {
	var errs FieldErrors
	if !errors.As(err, &errs) {
		return nil
	}
	var fields []string
	for _, e := range errs {
		fields = append(fields, e.Field)
	}
	return fields
}

func TestValidateHTTP(t *testing.T) {
	valid := Config{Runtime: RuntimeHTTP}.WithDefaults("f")
	if port, ok := valid.Port(); valid.Handler != "bootstrap" || port != 8080 || !ok {
		t.Errorf("defaults: %q, %d", valid.Handler, port)
	}
	for _, test := range []struct {
		handler, port string
		wrong         int // fields
	}{
		{"bootstrap", "8080", 0}, {"bin/server.sh", "9000", 0}, {"a", "1", 0}, {"a", "65535", 0}, {"index.handler", "80", 0},
		{"../sh", "80", 1}, {"/bin/sh", "80", 1}, {"a/../b", "80", 1}, {".", "80", 1}, {"..", "80", 1}, {"a/", "80", 1}, {"a//b", "80", 1},
		{"a", "0", 1}, {"a", "65536", 1}, {"a", "", 1}, {"a", "-1", 1}, {"a", "http", 1}, {"/", "x", 2},
	} {
		c := valid.Clone()
		c.Handler, c.Environment = test.handler, map[string]string{"PORT": test.port}
		var wrong FieldErrors
		if errors.As(c.Validate(NativeLimits()), &wrong); len(wrong) != test.wrong {
			t.Errorf("handler %q, port %q: %v; want %d fields", test.handler, test.port, wrong, test.wrong)
		}
		c.Runtime = "provided.al2023"
		if err := c.Validate(NativeLimits()); err != nil {
			t.Errorf("another runtime with handler %q, port %q: %v", test.handler, test.port, err)
		}
	}
}

func TestLambdaLimitsAreStricter(t *testing.T) {
	c := goodConfig()
	c.MemoryMB = 64
	err := c.Validate(LambdaLimits())
	if err == nil || !strings.Contains(err.Error(), "must have value greater than or equal to 128") {
		t.Error(err)
	}
}

func TestErrorsNeverShowValuesOfTheEnvironment(t *testing.T) {
	c := goodConfig()
	c.Environment = map[string]string{"AWS_REGION": "hunter2", "bad-name": "hunter2", "NUL": "hunter2\x00", "BIG": strings.Repeat("hunter2", 1000)}
	if err := c.Validate(NativeLimits()); err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
		t.Error(err)
	}
}

func TestEnvironmentSurvivesJSON(t *testing.T) {
	for _, env := range []map[string]string{nil, {}, {"AB": "<&>\u2028"}} {
		c := goodConfig()
		c.Environment = env
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var got Config
		if err := json.Unmarshal(b, &got); err != nil || !got.Equal(c) {
			t.Errorf("%#v became %#v, %v", c, got, err)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	a := goodConfig()
	a.Environment = map[string]string{"AB": "1"}
	b := a.Clone()
	b.Environment["AB"], b.Architectures[0] = "2", "arm64"
	if a.Environment["AB"] != "1" || a.Architectures[0] != HostArchitecture() && HostArchitecture() != "arm64" {
		t.Error("a clone shares memory")
	}
}

func TestMilliCPU(t *testing.T) {
	for memory, want := range map[int]int{0: 1, 1: 1, 64: 36, 128: 72, 512: 289, 1769: 1000, 3538: 2000, 10240: 5789} {
		if got := MilliCPU(memory); got != want {
			t.Errorf("MilliCPU(%d) = %d, want %d", memory, got, want)
		}
	}
}

func TestValidateTags(t *testing.T) {
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint(i)] = ""
	}
	for name, c := range map[string]struct {
		tags map[string]string
		ok   bool
	}{
		"none":         {nil, true},
		"letters":      {map[string]string{"größe +-=._:/@": "naïve 1"}, true},
		"longest":      {map[string]string{strings.Repeat("ü", 128): strings.Repeat("ü", 256)}, true},
		"too many":     {many, false},
		"empty key":    {map[string]string{"": "x"}, false},
		"long key":     {map[string]string{strings.Repeat("k", 129): ""}, false},
		"long value":   {map[string]string{"k": strings.Repeat("v", 257)}, false},
		"reserved":     {map[string]string{"AWS:x": ""}, false},
		"bad key":      {map[string]string{"k;": ""}, false},
		"bad value":    {map[string]string{"k": "\n"}, false},
		"not unicode":  {map[string]string{"k": "\xff"}, false},
		"like aws":     {map[string]string{"awsome": ""}, true},
		"control byte": {map[string]string{"k\x00": ""}, false},
	} {
		if err := ValidateTags(c.tags, 50); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAliasValidate(t *testing.T) {
	good := Alias{Name: "live", Version: "1", Weights: map[string]float64{"2": 0.1}}
	if err := good.Validate(NativeLimits()); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Alias){
		"digits":           func(a *Alias) { a.Name = "12" },
		"empty":            func(a *Alias) { a.Name = "" },
		"latest":           func(a *Alias) { a.Name = Latest },
		"long":             func(a *Alias) { a.Name = strings.Repeat("a", 129) },
		"no version":       func(a *Alias) { a.Version = "" },
		"alias of alias":   func(a *Alias) { a.Version = "live" },
		"zero":             func(a *Alias) { a.Version = "0" },
		"weights and head": func(a *Alias) { a.Version = Latest },
		"weight of head":   func(a *Alias) { a.Weights = map[string]float64{Latest: 0.1} },
		"two weights":      func(a *Alias) { a.Weights["3"] = 0.1 },
		"itself":           func(a *Alias) { a.Weights = map[string]float64{"1": 0.1} },
		"negative":         func(a *Alias) { a.Weights["2"] = -0.1 },
		"above one":        func(a *Alias) { a.Weights["2"] = 1.01 },
		"not a number":     func(a *Alias) { a.Weights["2"] = math.NaN() },
		"description":      func(a *Alias) { a.Description = strings.Repeat("d", 257) },
	} {
		a := good.Clone()
		change(&a)
		if err := a.Validate(NativeLimits()); !IsCode(err, CodeInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(good.Weights) != 1 {
		t.Error("Clone shares the weights")
	}
}

func TestAliasRoute(t *testing.T) {
	a := Alias{Version: "1", Weights: map[string]float64{"2": 0.25}}
	for r, want := range map[float64]string{0: "2", 0.2499: "2", 0.25: "1", 0.999999: "1"} {
		if got := a.Route(r); got != want {
			t.Errorf("Route(%v) = %s, want %s", r, got, want)
		}
	}
	a.Weights = map[string]float64{"2": 0}
	if a.Route(0) != "1" {
		t.Error("a weight of 0 got a call")
	}
	a.Weights = map[string]float64{"2": 1}
	if a.Route(math.Nextafter(1, 0)) != "2" {
		t.Error("a weight of 1 did not get every call")
	}
	a.Weights = nil
	if a.Route(0.5) != "1" {
		t.Error("no weights")
	}
	if got := slices.Collect(Alias{Version: "1", Weights: map[string]float64{"2": 1}}.Targets()); !slices.Equal(got, []string{"1", "2"}) {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	for s, want := range map[string]bool{"1": true, "0": false, "01": false, "": false, "x": false, Latest: false, strings.Repeat("9", 18): true, strings.Repeat("9", 19): false} {
		if ValidVersionNumber(s) != want {
			t.Errorf("ValidVersionNumber(%q) = %v", s, !want)
		}
		if n, ok := ParseVersionNumber(s); ok != want || ok && VersionNumber(n) != s {
			t.Errorf("ParseVersionNumber(%q) = %d, %v", s, n, ok)
		}
	}
	for s, want := range map[string]bool{"us-east-1": true, "ap-guangzhou": true, "us-gov-west-1": true, "us": false, "-us": false, "1-a": false, "us--1": false, "US-east-1": false, strings.Repeat("a", 30) + "-bb": false} {
		if ValidRegion(s) != want {
			t.Errorf("ValidRegion(%q) = %v", s, !want)
		}
	}
}
