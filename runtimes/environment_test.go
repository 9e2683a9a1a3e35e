package runtimes

import (
	"strings"
	"testing"

	"hearth/faas"
)

func testSetting(runtime string, user map[string]string) setting {
	k, err := lookup(runtime)
	if err != nil {
		panic(err)
	}
	return setting{known: k, logStream: "s", api: "127.0.0.1:9001", path: func(p string) string { return p }, version: &faas.Version{
		ID:     faas.VersionID{Function: faas.FunctionID{Scope: faas.Scope{Region: "us-east-1"}, Name: "fn"}, Number: "7"},
		Config: faas.Config{Handler: "a.b", MemoryMB: 512, Environment: user},
	}}
}

func TestEnvironmentOrder(t *testing.T) {
	env := testSetting("nodejs22.x", map[string]string{
		"MINE": "1", "TZ": "Europe/Berlin", "NODE_OPTIONS": "--enable-source-maps",
		"_HANDLER": "evil", "AWS_LAMBDA_FUNCTION_NAME": "evil", "LAMBDA_TASK_ROOT": "/", "AWS_REGION": "mars",
	}).environment()
	for name, want := range map[string]string{
		"MINE": "1", "TZ": "Europe/Berlin", "NODE_OPTIONS": "--enable-source-maps", "_HANDLER": "a.b",
		"AWS_LAMBDA_FUNCTION_NAME": "fn", "AWS_LAMBDA_FUNCTION_VERSION": "7", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
		"LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
		"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x", "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
		"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR", "AWS_XRAY_DAEMON_ADDRESS": "127.0.0.1:2000",
	} {
		if env[name] != want {
			t.Errorf("%s = %q, want %q", name, env[name], want)
		}
	}
	provisioned := testSetting("nodejs22.x", nil)
	provisioned.provisioned = true
	if got := provisioned.environment()["AWS_LAMBDA_INITIALIZATION_TYPE"]; got != "provisioned-concurrency" {
		t.Errorf("initialization type %q", got)
	}
	if !strings.HasPrefix(env["NODE_PATH"], "/opt/nodejs/node22/node_modules:") {
		t.Errorf("NODE_PATH = %q", env["NODE_PATH"])
	}
}

func TestEnvironmentOfProvided(t *testing.T) {
	s := testSetting("provided.al2023", nil)
	s.version.Config.InstanceConcurrency = 16
	env := s.environment()
	if env["AWS_LAMBDA_RUNTIME_API"] != "127.0.0.1:9001" || env["AWS_LAMBDA_MAX_CONCURRENCY"] != "16" {
		t.Errorf("%v", env)
	}
	if _, set := env["AWS_EXECUTION_ENV"]; set {
		t.Error("AWS_EXECUTION_ENV is set")
	}
	if _, set := env["GOMAXPROCS"]; set {
		t.Error("GOMAXPROCS is set where there is no quota")
	}
	s.cpus = 1
	if got := s.environment()["GOMAXPROCS"]; got != "1" {
		t.Errorf("GOMAXPROCS is %q, the quota is one CPU", got)
	}
	s.version.Config.Environment = map[string]string{"GOMAXPROCS": "3"}
	if got := s.environment()["GOMAXPROCS"]; got != "3" {
		t.Errorf("GOMAXPROCS is %q, the function's own is 3", got)
	}
}

func TestNodeHeapFitsMemory(t *testing.T) {
	for memory, want := range map[int]string{64: "64", 128: "115", 1769: "1592"} {
		if got := arguments(languageNode, "node", "/var/runtime", memory)[1]; got != "--max-old-space-size="+want {
			t.Errorf("%d MB: %s, want %s", memory, got, want)
		}
	}
}
