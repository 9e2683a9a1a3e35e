// Bootstrap is a custom runtime on the bare Runtime API that behaves as its
// event says, and tells who it is.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

type event struct {
	Do, Nonce string
	Ms, Lines int
	Data      json.RawMessage
}

type answer struct {
	Count    int             `json:"count"`
	Together int             `json:"together"`
	Nonce    string          `json:"nonce"`
	Data     json.RawMessage `json:"data,omitempty"`
	Code     string          `json:"code"`
	Boot     string          `json:"boot"`
	Stream   string          `json:"stream"`
	Found    []string        `json:"found"`
	Request  string          `json:"request"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Tmp      string          `json:"tmp"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	self, err := whoami()
	if err != nil {
		return err
	}
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		e, request, err := next(api)
		if err != nil {
			return err
		}
		self.Count++
		fmt.Println("mark", e.Nonce, self.Stream, self.Count)
		path, body := api+request+"/response", any(nil)
		if err := act(e); err != nil {
			path, body = api+request+"/error", map[string]string{"errorType": "Thrown", "errorMessage": err.Error()}
		} else {
			a := self
			a.Nonce, a.Data, a.Request = e.Nonce, e.Data, request
			tmp, err := os.ReadFile("/tmp/boot")
			if err != nil {
				return err
			}
			a.Tmp = string(tmp)
			body = a
		}
		if err := post(path, body); err != nil {
			return err
		}
	}
}

// whoami is what every answer says of the instance.
func whoami() (answer, error) {
	code, err := os.ReadFile("/var/task/code")
	if err != nil {
		return answer{}, err
	}
	a := answer{
		Together: 1, Code: strings.TrimSpace(string(code)), Boot: rand.Text(), Found: []string{},
		Stream: os.Getenv("AWS_LAMBDA_LOG_STREAM_NAME"), Name: os.Getenv("AWS_LAMBDA_FUNCTION_NAME"),
		Version: os.Getenv("AWS_LAMBDA_FUNCTION_VERSION"),
	}
	entries, err := os.ReadDir("/tmp")
	if err != nil {
		return a, err
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			a.Found = append(a.Found, e.Name())
		}
	}
	return a, os.WriteFile("/tmp/boot", []byte(a.Boot), 0o600)
}

func next(api string) (e event, request string, err error) {
	res, err := http.Get(api + "next")
	if err != nil {
		return e, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return e, "", err
	}
	return e, res.Header.Get("Lambda-Runtime-Aws-Request-Id"), json.Unmarshal(body, &e)
}

func post(path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	res, err := http.Post(path, "application/json", bytes.NewReader(text))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if err == nil && res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return err
}

func act(e event) error {
	switch e.Do {
	case "sleep":
		time.Sleep(time.Duration(e.Ms) * time.Millisecond)
	case "log":
		for i := range e.Lines {
			fmt.Println("line", e.Nonce, i)
		}
	case "spawn":
		return children()
	case "throw":
		return fmt.Errorf("thrown %s", e.Nonce)
	case "exit":
		os.Exit(7)
	case "hang":
		if err := children(); err != nil {
			return err
		}
		time.Sleep(time.Hour)
	case "oom":
		var hoard [][]byte
		for {
			hoard = append(hoard, bytes.Repeat([]byte{1}, 1<<20))
		}
	}
	return nil
}

func children() error {
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM; (setsid sleep 1000 &); sleep 1000`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}
