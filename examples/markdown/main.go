// Command markdown is a function on the unmodified aws-lambda-go that renders
// Markdown, with tables and task lists, to HTML.
//
// Event:  {"markdown": "<text>"}
// Result: {"html": "<html>", "headings": ["…"]}
package main

import (
	"bytes"
	"context"
	"errors"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

type event struct {
	Markdown string `json:"markdown"`
}

type result struct {
	HTML     string   `json:"html"`
	Headings []string `json:"headings"`
}

var renderer = goldmark.New(goldmark.WithExtensions(extension.GFM))

func handle(_ context.Context, e event) (*result, error) {
	if e.Markdown == "" {
		return nil, errors.New("markdown: there is nothing to render")
	}
	source := []byte(e.Markdown)
	document := renderer.Parser().Parse(text.NewReader(source))
	var html bytes.Buffer
	if err := renderer.Renderer().Render(&html, source, document); err != nil {
		return nil, err
	}
	return &result{HTML: html.String(), Headings: headings(document, source)}, nil
}

// headings returns the text of the top-level headings, in order.
func headings(document ast.Node, source []byte) []string {
	found := []string{}
	for node := document.FirstChild(); node != nil; node = node.NextSibling() {
		if node.Kind() == ast.KindHeading {
			found = append(found, string(node.Lines().Value(source)))
		}
	}
	return found
}

func main() { lambda.Start(handle) }
