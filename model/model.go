// Package model is the registry of models: versions, aliases, lineage and formats, each artifact sealed at rest.
//
// A version is written once and never changes: its artifact is named by the digest of its plain bytes, its lineage says
// which job, data and specification made it, with which metrics. An alias ("prod") is a name that moves; every move is
// audited. The registry never writes plain bytes to storage: Blobs seals as it streams.
package model

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/event"
)

// Format says how an artifact's bytes are to be read.
type Format string

// The formats the registry knows.
const (
	KerasH5  Format = "keras-h5"
	KerasZip Format = "keras-zip" // .keras
	ONNX     Format = "onnx"
	Packed   Format = "lineshaft-nn" // .lsnn: nn/packed
	// SavedModel is TensorFlow's: a folder, which only a folder of versions holds (serve/folder).
	SavedModel Format = "savedmodel"
)

// Ext is the ending of a file of the format.
func (f Format) Ext() string {
	switch f {
	case KerasZip:
		return ".keras"
	case ONNX:
		return ".onnx"
	case Packed:
		return ".lsnn"
	}
	return ".h5"
}

// Model is a name with its versions.
type Model struct {
	Name     string           `json:"name"`
	Versions int              `json:"versions"`
	Latest   int64            `json:"latest"`
	Aliases  map[string]int64 `json:"aliases"`
	Created  time.Time        `json:"created"`
	Updated  time.Time        `json:"updated"`
}

// Version is one immutable artifact with its history.
type Version struct {
	Model   string             `json:"model"`
	Version int64              `json:"version"` // from 1, given by the store
	Digest  string             `json:"digest"`  // "sha256:…" of the plain bytes
	Size    int64              `json:"size"`    // plain bytes
	Key     string             `json:"-"`       // wrapped data key
	Format  Format             `json:"format"`
	Source  string             `json:"source"` // "job/12", "upload"
	Creator string             `json:"creator"`
	Created time.Time          `json:"created"`
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Lineage Lineage            `json:"lineage"`
}

// Lineage says where a version comes from.
type Lineage struct {
	Job     int64           `json:"job,omitempty"`
	Attempt int             `json:"attempt,omitempty"`
	Data    []string        `json:"data,omitempty"` // "mnist@1 sha256:…"
	Spec    json.RawMessage `json:"spec,omitempty"`
	From    string          `json:"from,omitempty"`   // the version it was made of: "mnist:3 sha256:…"
	Change  string          `json:"change,omitempty"` // what was done: "weights in int8, measured on mnist@1 sha256:…"
}

// Store keeps the registry's rows.
type Store interface {
	// CreateVersion gives the next number. A version with the same Source "job/…" and Digest is returned as it is: a
	// replayed registration makes no second one.
	CreateVersion(ctx context.Context, v Version, events ...event.Event) (Version, error)
	GetModel(ctx context.Context, name string) (Model, error)
	ListModels(ctx context.Context, after string, limit int) ([]Model, error)
	GetVersion(ctx context.Context, name string, version int64) (Version, error)
	ListVersions(ctx context.Context, name string) ([]Version, error)
	// SetAlias moves an alias; version 0 removes it.
	SetAlias(ctx context.Context, name, alias string, version int64, events ...event.Event) error
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
