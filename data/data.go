// Package data keeps data sets: imported once, versioned, each file sealed and named by its digest.
package data

import (
	"context"
	"strconv"
	"time"

	"github.com/lineshaft/lineshaft/internal/event"
)

// Set is one immutable version of a data set.
type Set struct {
	Name    string    `json:"name"`
	Version int64     `json:"version"` // from 1, given by the store
	Digest  string    `json:"digest"`  // over the files' names and digests
	Size    int64     `json:"size"`    // plain bytes
	Rows    int64     `json:"rows"`    // 0 where unknown
	Format  string    `json:"format"`  // "idx" (MNIST), "files"
	Files   []File    `json:"files"`
	Owner   string    `json:"owner"`
	Created time.Time `json:"created"`
}

// File is one sealed file of a set.
type File struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Key    string `json:"-"` // wrapped data key
}

// Store keeps the sets' rows.
type Store interface {
	// CreateSet gives the next version. A set equal in name and digest to the newest is returned as it is.
	CreateSet(ctx context.Context, s Set, events ...event.Event) (Set, error)
	// GetSet finds a version; 0 is the newest.
	GetSet(ctx context.Context, name string, version int64) (Set, error)
	ListSets(ctx context.Context, after string, limit int) ([]Set, error)
}

// Ref is "mnist@1".
func (s Set) Ref() string { return s.Name + "@" + strconv.FormatInt(s.Version, 10) }

func parseVersion(s string) (int64, error) {
	v, err := strconv.ParseInt(s, 10, 64)
	if err == nil && v < 1 {
		err = strconv.ErrRange
	}
	return v, err
}
