package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hearth/auth"
)

// findCredentials returns the key that requests are signed with: of the file that
// is named, else of the environment (HEARTH_…), else of the usual file, else of the
// environment as AWS's tools have it; nil where there is none.
func findCredentials(v values, getenv func(string) string) (*auth.Credentials, error) {
	if path := v["credentials"]; path != "" {
		return readCredentials(path, v["profile"])
	}
	if c, err := environmentCredentials(getenv, "HEARTH_"); c != nil || err != nil {
		return c, err
	}
	if path, err := credentialsPath(getenv); err == nil {
		c, err := readCredentials(path, v["profile"])
		// The usual file need not be there, nor have a default.
		if !errors.Is(err, fs.ErrNotExist) && (v["profile"] != "default" || !errors.Is(err, errNoSection)) {
			return c, err
		}
	}
	return environmentCredentials(getenv, "AWS_")
}

func environmentCredentials(getenv func(string) string, prefix string) (*auth.Credentials, error) {
	c := auth.Credentials{KeyID: getenv(prefix + "ACCESS_KEY_ID"), Secret: getenv(prefix + "SECRET_ACCESS_KEY"), Token: getenv(prefix + "SESSION_TOKEN")}
	if c.KeyID == "" && c.Secret == "" {
		return nil, nil
	}
	if c.KeyID == "" || c.Secret == "" {
		return nil, usageError("set both %sACCESS_KEY_ID and %sSECRET_ACCESS_KEY, or neither", prefix, prefix)
	}
	return &c, nil
}

// credentialsPath is the usual credentials file.
func credentialsPath(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "hearth", "credentials"), nil
	}
	home := getenv("HOME")
	if home == "" {
		return "", usageError("there is no home directory to keep credentials in: name a file")
	}
	return filepath.Join(home, ".config", "hearth", "credentials"), nil
}

var errNoSection = errors.New("there is no section")

// readCredentials reads one section of a credentials file, which has the format of
// the AWS CLI's.
func readCredentials(path, profile string) (*auth.Credentials, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, usageError("credentials file: %w", err)
	}
	defer file.Close()
	var c auth.Credentials
	inside, found := false, false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if section, ok := sectionName(line); ok {
			inside = section == profile
			found = found || inside
			continue
		}
		name, value, assigns := strings.Cut(line, "=")
		if !inside || !assigns {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(name) {
		case "aws_access_key_id":
			c.KeyID = value
		case "aws_secret_access_key":
			c.Secret = value
		case "aws_session_token":
			c.Token = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usageError("credentials file %s: %w", path, err)
	}
	if !found {
		return nil, usageError("credentials file %s: %w [%s]; --profile names the one to use", path, errNoSection, profile)
	}
	if c.KeyID == "" || c.Secret == "" {
		return nil, usageError("credentials file %s: the section [%s] has not both aws_access_key_id and aws_secret_access_key", path, profile)
	}
	return &c, nil
}

func sectionName(line string) (string, bool) {
	name, ok := strings.CutPrefix(line, "[")
	if !ok {
		return "", false
	}
	return strings.TrimSpace(strings.TrimSuffix(name, "]")), strings.HasSuffix(name, "]")
}

// checkSectionFree refuses to add a section to a file that has one of that name.
func checkSectionFree(path, section string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return usageError("credentials file: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := sectionName(strings.TrimSpace(line)); ok && name == section {
			return usageError("the credentials file %s has a section [%s] already: name another one with --save-as, or remove it", path, section)
		}
	}
	return nil
}

// saveCredentials adds a section to a credentials file, which only its owner may read.
func saveCredentials(path, section string, c auth.Credentials) error {
	if err := checkSectionFree(path, section); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", section, c.KeyID, c.Secret)
	if c.Token != "" && err == nil {
		_, err = fmt.Fprintf(file, "aws_session_token = %s\n", c.Token)
	}
	return errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close())
}
