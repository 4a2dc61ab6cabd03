package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/nearest"
)

// This file puts fields into structs. A field's tag is its name in the message; of an Enum the names of its values
// follow. Structs are messages, pointers to them messages that may be absent, slices repeated fields, and maps have
// protobuf's form of entries, {key: … value: …}.

// Enum is the number of an enum's value.
type Enum int32

// Ignored is a message that is known and has no effect here.
type Ignored struct{ at place }

type decoder struct {
	file    string
	ignored []string
}

func (d *decoder) errorf(kind errs.Kind, at place, format string, args ...any) error {
	return errorf(d.file, kind, at, format, args...)
}

func (d *decoder) decode(text []byte, to any) error {
	fields, err := parse(d.file, text)
	if err != nil {
		return err
	}
	return d.message(fields, reflect.ValueOf(to).Elem())
}

// message fills the struct v.
func (d *decoder) message(fields []field, v reflect.Value) error {
	members := map[string]reflect.Value{}
	choices := map[string][]string{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, rest, _ := strings.Cut(f.Tag.Get("text"), ",")
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		members[name], choices[name] = v.Field(i), strings.Split(rest, ",")
	}
	seen := map[string]place{}
	for _, f := range fields {
		to, ok := members[f.name]
		if !ok {
			return d.unknown(f, members)
		}
		if before, twice := seen[f.name]; twice && to.Kind() != reflect.Slice && to.Kind() != reflect.Map {
			return d.errorf(errs.Invalid, f.at, "%s is said twice; the first is in line %d", f.name, before.line)
		}
		seen[f.name] = f.at
		if err := d.set(f, f.value, to, choices[f.name]); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) unknown(f field, members map[string]reflect.Value) error {
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	if best := nearest.Name(f.name, names); best != "" {
		return d.errorf(errs.Invalid, f.at, "unknown field %q; did you mean %q?", short(f.name), best)
	}
	if len(names) == 0 {
		return d.errorf(errs.Invalid, f.at, "unknown field %q: this message has none", short(f.name))
	}
	return d.errorf(errs.Invalid, f.at, "unknown field %q; there are %s", short(f.name), strings.Join(names, ", "))
}

// set puts one value.
func (d *decoder) set(f field, v value, to reflect.Value, choices []string) error {
	switch to.Interface().(type) {
	case Enum:
		return d.enum(f, v, to, choices)
	case *Ignored:
		if v.kind != message {
			return d.wrong(f, v, message)
		}
		d.ignored = append(d.ignored, fmt.Sprintf("%s:%d: %s has no effect here", d.file, f.at.line, f.name))
		to.Set(reflect.ValueOf(&Ignored{f.at}))
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return d.set(f, v, to.Elem(), choices)
	case reflect.Struct:
		if v.kind != message {
			if to.NumField() == 1 && to.Type().Field(0).Tag.Get("text") == "value" {
				return d.errorf(errs.Invalid, v.at, "%s is written %s { value: %s }", f.name, f.name, short(v.text))
			}
			return d.wrong(f, v, message)
		}
		return d.message(v.fields, to)
	case reflect.Slice:
		one := reflect.New(to.Type().Elem()).Elem()
		if err := d.set(f, v, one, choices); err != nil {
			return err
		}
		to.Set(reflect.Append(to, one))
		return nil
	case reflect.Map:
		return d.entry(f, v, to)
	case reflect.String:
		if v.kind != quoted {
			return d.wrong(f, v, quoted)
		}
		to.SetString(v.text)
		return nil
	case reflect.Bool:
		return d.flag(f, v, to)
	}
	return d.integer(f, v, to)
}

// entry is one entry of a map.
func (d *decoder) entry(f field, v value, to reflect.Value) error {
	var e struct {
		Key   string `text:"key"`
		Value int64  `text:"value"`
	}
	if v.kind != message {
		return d.errorf(errs.Invalid, v.at, "an entry of %s is written %s { key: \"name\" value: 1 }", f.name, f.name)
	}
	if err := d.message(v.fields, reflect.ValueOf(&e).Elem()); err != nil {
		return err
	}
	if to.IsNil() {
		to.Set(reflect.MakeMap(to.Type()))
	}
	if to.MapIndex(reflect.ValueOf(e.Key)).IsValid() {
		return d.errorf(errs.Invalid, f.at, "%s has the key %q twice", f.name, short(e.Key))
	}
	to.SetMapIndex(reflect.ValueOf(e.Key), reflect.ValueOf(e.Value))
	return nil
}

func (d *decoder) wrong(f field, v value, want kind) error {
	got := v.kind.String()
	if v.text != "" {
		got += ", " + strconv.Quote(short(v.text))
	}
	return d.errorf(errs.Invalid, v.at, "%s takes %s, not %s", f.name, want, got)
}

func (d *decoder) integer(f field, v value, to reflect.Value) error {
	if v.kind != number {
		return d.wrong(f, v, number)
	}
	n, err := strconv.ParseInt(v.text, 0, 64)
	if err != nil || strings.Contains(v.text, "_") {
		return d.errorf(errs.Invalid, v.at, "%s takes a whole number of 64 bits, not %s", f.name, short(v.text))
	}
	to.SetInt(n)
	return nil
}

func (d *decoder) flag(f field, v value, to reflect.Value) error {
	switch {
	case v.kind != quoted && slices.Contains([]string{"true", "True", "t", "1"}, v.text):
		to.SetBool(true)
	case v.kind != quoted && slices.Contains([]string{"false", "False", "f", "0"}, v.text):
		to.SetBool(false)
	default:
		return d.errorf(errs.Invalid, v.at, "%s is true or false, not %s", f.name, strconv.Quote(short(v.text)))
	}
	return nil
}

func (d *decoder) enum(f field, v value, to reflect.Value, choices []string) error {
	n := slices.Index(choices, v.text)
	if v.kind == number {
		if k, err := strconv.Atoi(v.text); err == nil && k >= 0 && k < len(choices) {
			n = k
		}
	}
	if n < 0 || v.kind == quoted || v.kind == message {
		return d.errorf(errs.Invalid, v.at, "%s is one of %s, not %s", f.name, strings.Join(choices, ", "), strconv.Quote(short(v.text)))
	}
	to.SetInt(int64(n))
	return nil
}
