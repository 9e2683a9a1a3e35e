// Command holder is a function on the Lambda Runtime API, in the standard library
// alone: it holds each event for as long as that says and answers who it is.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	id := rand.Text()
	for {
		if err := serve(base, id); err != nil {
			log.Fatal(err)
		}
	}
}

func serve(base, id string) error {
	next, err := http.Get(base + "next")
	if err != nil {
		return err
	}
	defer next.Body.Close()
	raw, err := io.ReadAll(next.Body)
	if err != nil {
		return err
	}
	var event struct{ Hold int } // milliseconds
	if err := json.Unmarshal(raw, &event); err != nil {
		return err
	}
	begun := time.Now().UnixMilli()
	time.Sleep(time.Duration(event.Hold) * time.Millisecond)
	answer := fmt.Sprintf(`{"instance":%q,"begun":%d,"ended":%d}`, id, begun, time.Now().UnixMilli())
	done, err := http.Post(base+next.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", "application/json", bytes.NewReader([]byte(answer)))
	if err != nil {
		return err
	}
	return done.Body.Close()
}
