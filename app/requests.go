package app

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/lineshaft/lineshaft/serve/requestlog"
	"github.com/lineshaft/lineshaft/store"
	"github.com/lineshaft/lineshaft/trust/seal"
)

// requestsFolder is where the log of requests to models is.
const requestsFolder = "requests"

// sealed seals with one data key, which is kept wrapped beside those of jobs and so follows the rotation of keys.
type sealed struct{ key seal.DataKey }

func (s sealed) Seal(plain []byte, context string) ([]byte, error) {
	var b bytes.Buffer
	w, err := seal.Writer(&b, s.key, context)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (s sealed) Open(chunk []byte, context string) ([]byte, error) {
	r, err := seal.Reader(bytes.NewReader(chunk), s.key, context)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// openRequests opens the log of requests, where one is wanted.
func (s *Server) openRequests(ctx context.Context) (*requestlog.Log, error) {
	if s.cfg.RequestLog == 0 {
		return nil, nil //nolint:nilnil // none is wanted
	}
	name := store.JobKeys + requestsFolder
	wrapped, err := s.db.Setting(ctx, name)
	if err != nil {
		return nil, err
	}
	key := seal.NewDataKey()
	if wrapped != "" {
		key, err = s.keys.Unwrap(wrapped, name)
	} else if wrapped, err = s.keys.Wrap(key, name); err == nil {
		err = s.db.SetSetting(ctx, name, wrapped)
	}
	if err != nil {
		return nil, err
	}
	return requestlog.Open(requestlog.Options{
		Dir: s.path(requestsFolder), Seal: sealed{key}, Share: s.cfg.RequestLog, Size: s.cfg.RequestLogSize,
		Age: time.Duration(s.cfg.RequestLogDays) * 24 * time.Hour, Clock: s.clock, Log: s.log,
	})
}
