package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// This file prints results: a table for people, JSON and YAML for programs. All three come from the same value.

func (e *env) checkOutput() error {
	return oneOf("--output", e.output, "table", "json", "yaml")
}

// human reports whether people read the output.
func (e *env) human() bool { return e.output == "table" }

// show prints v: as JSON or YAML when that was asked for, else by table.
func (e *env) show(v any, table func(w io.Writer)) error {
	if e.human() {
		var b bytes.Buffer
		table(&b)
		_, err := e.out.Write(b.Bytes())
		return err
	}
	text, err := e.encode(v)
	if err != nil {
		return err
	}
	_, err = e.out.Write(text)
	return err
}

func (e *env) encode(v any) ([]byte, error) {
	const op = "cli.encode"
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, errs.E(op, errs.Other, err)
	}
	if e.output == "json" {
		return b.Bytes(), nil
	}
	// By way of JSON, so that both have the same names in the same order.
	text, err := yaml.JSONToYAML(b.Bytes())
	return text, errs.E(op, errs.Other, err)
}

// say writes a line to standard error.
func (e *env) say(format string, args ...any) { fmt.Fprintf(e.err, format+"\n", args...) }

// note is say for what --quiet silences.
func (e *env) note(format string, args ...any) {
	if !e.quiet {
		e.say(format, args...)
	}
}

// done tells of a change: the resource itself for programs, one sentence for people.
func (e *env) done(v any, dry bool, format string, args ...any) error {
	if !e.human() {
		return e.show(v, nil)
	}
	if dry {
		format = "would be done, nothing was changed: " + format
	}
	if e.quiet && !dry {
		return nil
	}
	_, err := fmt.Fprintf(e.out, format+"\n", args...)
	return err
}

// list never prints null for an empty list.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
