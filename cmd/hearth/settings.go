package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hearth/keepalive"
)

// setting is one thing that can be set by flag, environment or file. The table
// below is the only place that knows them: flags, help, HEARTH_… variables, the
// config file's keys and docs/guide/configuration.md are made from it.
type setting struct {
	name  string // the flag and the file's key
	value string // default, as a user would write it
	kind  kind
	help  string
	verbs string // space-separated; "*" is every command that talks to a server
}

type kind int

const (
	text kind = iota
	number
	duration
	keepAlive
	cellCount
	freezeAfter
)

var settings = []setting{
	{"listen", "127.0.0.1:9000", text, "address to listen on; port 0 picks a free one", "up serve"},
	{"data", "", text, "data directory (default: $XDG_DATA_HOME/hearth for up, /var/lib/hearth for serve)", "up serve runtimes doctor"},
	{"account", "000000000000", text, "account id, 12 digits", "up serve"},
	{"region", "us-east-1", text, "region of requests that name none", "up serve *"},
	{"regions", "", text, "regions served, comma-separated (default: any for up, that of --region for serve)", "up serve"},
	{"namespace", "default", text, "namespace of functions", "*"},
	{"auth", "on", text, "verification of requests: on, or off (loopback only)", "serve"},
	{"isolation", "process", text, "default isolation of functions: process or none", "up serve"},
	{"keep-alive", "auto", keepAlive, "how long an idle instance is kept: auto (by each function's habits) or a duration", "up serve"},
	{"cells", "auto", cellCount, "what stands by for cold starts: stem cells, which are booted runtimes, and empty sandboxes: auto, off, or the most stem cells of one kind", "up serve"},
	{"freeze-after", "10ms", freezeAfter, "how long an instance is idle until it is frozen: a duration, 0s for at once, or off", "up serve"},
	{"compile", "on", text, "compiling of packages when they are deployed, so that they start faster: on or off", "up serve"},
	{"max-instances", "1000", number, "instances on this machine, all functions together", "up serve"},
	{"drain", "30s", duration, "how long SIGTERM waits for invocations in flight", "up serve"},
	{"log-retention", "168h", duration, "how long functions' logs are kept", "up serve"},
	{"log-bytes", "256000000", number, "bytes of log kept for each function", "up serve"},
	{"log-level", "info", text, "the server's own log: debug, info, warn, error", "up serve"},
	{"log-format", "text", text, "the server's own log: text or json", "up serve"},
	{"subnet", "", text, "IPv4 network of instances with egress, two addresses each (default: a free /18)", "up serve doctor"},
	{"allow-networks", "", text, "private IPv4 networks that functions with egress may reach, comma-separated", "up serve"},
	{"destination-networks", "", text, "networks that HTTP destinations may be in, comma-separated, beside public addresses (default: loopback for up, none for serve)", "up serve"},
	{"async-function-events", "2000000", number, "events of one function that may wait; 0 is any number", "up serve"},
	{"async-function-bytes", "8000000000", number, "bytes of them; 0 is any number", "up serve"},
	{"async-account-events", "5000000", number, "events of one account in one region that may wait; 0 is any number", "up serve"},
	{"async-account-bytes", "16000000000", number, "bytes of them; 0 is any number", "up serve"},
	{"idempotency-window", "2m", duration, "how long an idempotency key drops another event with it, at most 24h", "up serve"},
	{"s3-endpoint", "", text, "object store from which packages are read that the Lambda API names by S3Bucket and S3Key, a URL (default: none)", "up serve"},
	{"s3-region", "us-east-1", text, "its region", "up serve"},
	{"s3-key", "", text, "id of the key that signs the requests to it (default: they are anonymous)", "up serve"},
	{"s3-secret", "", text, "secret of that key; better in HEARTH_S3_SECRET or the file than as a flag, which every user of the machine can read", "up serve"},
	{"s3-addressing", "path", text, "where the bucket is named in its addresses: path or host", "up serve"},
	{"dns", "", text, "name servers of functions with egress, ADDR:PORT, comma-separated (default: the host's)", "up serve"},
	{"egress", "required", text, "where the host cannot give functions egress: required refuses them, optional runs them without", "up serve"},
	{"server", "http://127.0.0.1:9000", text, "the server that this command talks to", "* doctor"},
	{"credentials", "", text, "file with the key that signs requests (default: the environment, else $XDG_CONFIG_HOME/hearth/credentials)", "* doctor"},
	{"profile", "default", text, "section of the credentials file", "* doctor"},
	{"output", "text", text, "text or json", "* runtimes doctor"},
}

// environment is the name of the variable that sets s.
func (s setting) environment() string {
	return "HEARTH_" + strings.ToUpper(strings.ReplaceAll(s.name, "-", "_"))
}

func (s setting) applies(verb string, remote bool) bool {
	for _, v := range strings.Fields(s.verbs) {
		if v == verb || v == "*" && remote {
			return true
		}
	}
	return false
}

// values are the settings of one command, resolved: flag, else environment,
// else file, else default.
type values map[string]string

func (v values) number(name string) int {
	n, _ := strconv.Atoi(v[name]) // checked by resolve
	return n
}

func (v values) duration(name string) time.Duration {
	d, _ := time.ParseDuration(v[name]) // checked by resolve
	return d
}

func (v values) keepAlive() keepalive.Policy {
	if v["keep-alive"] == "auto" {
		return keepalive.Auto
	}
	return keepalive.Fixed(v.duration("keep-alive"))
}

// freezeAfter is negative where instances are not to be frozen.
func (v values) freezeAfter() time.Duration {
	if v["freeze-after"] == "off" {
		return -1
	}
	return v.duration("freeze-after")
}

// addSettings gives a command the flags of its verb. A remote command talks to
// a server.
func addSettings(cmd *cobra.Command, remote bool) {
	verb := strings.Fields(cmd.Use)[0]
	for _, s := range settings {
		if s.applies(verb, remote) {
			cmd.Flags().String(s.name, s.value, s.help+" ["+s.environment()+"]")
		}
	}
	cmd.Flags().String("config", "", "file with settings, TOML [HEARTH_CONFIG]")
	_ = cmd.MarkFlagFilename("config", "toml")
}

// resolve reads the settings of a command that addSettings prepared.
func resolve(flags *pflag.FlagSet, getenv func(string) string) (values, error) {
	file, err := readConfig(flags, getenv)
	if err != nil {
		return nil, err
	}
	out := values{}
	for _, s := range settings {
		flag := flags.Lookup(s.name)
		if flag == nil {
			continue
		}
		value, from := s.value, "its default"
		if v, ok := file[s.name]; ok {
			value, from = v, "the config file"
		}
		if v := getenv(s.environment()); v != "" {
			value, from = v, s.environment()
		}
		if flag.Changed {
			value, from = flag.Value.String(), "--"+s.name
		}
		if err := s.check(value); err != nil {
			return nil, usageError("%s (from %s): %w", s.name, from, err)
		}
		out[s.name] = value
	}
	return out, nil
}

func (s setting) check(value string) error {
	switch s.kind {
	case number:
		if n, err := strconv.Atoi(value); err != nil || n < 0 {
			return fmt.Errorf("%q is not a whole number", value)
		}
	case duration:
		if d, err := time.ParseDuration(value); err != nil || d < 0 {
			return fmt.Errorf("%q is not a duration such as 30s or 10m", value)
		}
	case cellCount:
		if n, err := strconv.Atoi(value); value != "auto" && value != "off" && (err != nil || n < 1) {
			return fmt.Errorf("%q is neither auto nor off nor a number from 1", value)
		}
	case keepAlive:
		if d, err := time.ParseDuration(value); value != "auto" && (err != nil || d < 0) {
			return fmt.Errorf("%q is neither auto nor a duration such as 30s or 10m", value)
		}
	case freezeAfter:
		if d, err := time.ParseDuration(value); value != "off" && (err != nil || d < 0) {
			return fmt.Errorf("%q is neither off nor a duration such as 10ms or 1s", value)
		}
	}
	return nil
}

// readConfig returns the file's settings by name. A key that no setting has is
// an error: a typing mistake must not be a silent default.
func readConfig(flags *pflag.FlagSet, getenv func(string) string) (map[string]string, error) {
	path := getenv("HEARTH_CONFIG")
	if f := flags.Lookup("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path == "" {
		return nil, nil
	}
	raw := map[string]any{}
	if _, err := toml.DecodeFile(path, &raw); err != nil {
		return nil, usageError("config file %s: %w", path, err)
	}
	out := map[string]string{}
	for key, value := range raw {
		if !known(key) {
			return nil, usageError("config file %s: there is no setting %q", path, key)
		}
		switch value.(type) {
		case string, int64, bool:
			out[key] = fmt.Sprint(value)
		default:
			return nil, usageError("config file %s: %s must be a string or a number", path, key)
		}
	}
	return out, nil
}

func known(name string) bool {
	for _, s := range settings {
		if s.name == name {
			return true
		}
	}
	return false
}

// dataDir is where the server of a verb keeps what must last.
func dataDir(v values, verb string) (string, error) {
	if v["data"] != "" {
		return filepath.Abs(v["data"])
	}
	if verb == "serve" {
		return "/var/lib/hearth", nil
	}
	if base := os.Getenv("XDG_DATA_HOME"); base != "" {
		return filepath.Join(base, "hearth"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usageError("there is no home directory to keep data in: say --data DIR (%w)", err)
	}
	return filepath.Join(home, ".local", "share", "hearth"), nil
}
