// Package web holds what every HTTP server of Lineshaft has in common: who may speak to it at all, and how long a slow
// client may keep it waiting.
//
// A server bound to loopback is still reachable by every page that a browser on this machine shows: a page can post to
// http://localhost:8501, and with a name that it re-points at 127.0.0.1 it can read the answer too. Guard refuses both,
// the first by the Origin header (and Sec-Fetch-Site), the second by the Host header. Programs such as curl send
// neither a foreign Host nor an Origin and are not touched.
//
//	srv := web.NewServer(web.Guard(handler, web.Options{}), log)
//	err := srv.Serve(web.Listener(ln))
package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lineshaft/lineshaft/internal/errs"
)

// Options says who may come in beside loopback and same-origin callers.
type Options struct {
	// Hosts are names, without port, that the Host header may carry beside loopback's.
	Hosts []string
	// Named says of any other name whether it is this server's, as its certificate does; nil knows none.
	Named func(host string) bool
	// Origins ("http://localhost:5173") may call from a page that this server did not serve.
	Origins []string
	// Refuse writes a refusal in the server's own form of errors; nil writes the API's.
	Refuse func(http.ResponseWriter, *http.Request, error)
}

// Guard refuses a foreign Origin and a Host that is not loopback, and bounds how slowly a body may come.
func Guard(next http.Handler, opts Options) http.Handler {
	refuse := opts.Refuse
	if refuse == nil {
		refuse = func(w http.ResponseWriter, _ *http.Request, err error) { WriteError(w, err) }
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := opts.check(r); err != nil {
			refuse(w, r, err)
			return
		}
		body := pace(w, r)
		next.ServeHTTP(w, r)
		body.linger()
	})
}

func (o Options) check(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if err := o.Check(r.Host, origin); err != nil {
		return err
	}
	if origin == "" && crossSite(r) {
		return errs.Errorf("web.Guard", errs.Denied, "a page of another site may not call this server: only its own pages and programs may")
	}
	return nil
}

// Check refuses a foreign host or origin; an empty origin is that of a program. It is for what speaks HTTP without
// net/http.
func (o Options) Check(host, origin string) error {
	const op = "web.Check"
	if !o.hostAllowed(host) {
		return errs.Errorf(op, errs.Denied, "the request names the host %q; this server answers to localhost and loopback addresses only: "+
			"use http://localhost, or let the proxy in front set the Host header", short(host))
	}
	if origin != "" && !o.originAllowed(origin, host) {
		return errs.Errorf(op, errs.Denied, "a page of %q may not call this server: only its own pages and programs may", short(origin))
	}
	return nil
}

func (o Options) hostAllowed(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(o.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) || o.Named != nil && o.Named(host)
}

// originAllowed: a page of this very server has the Origin http:// (https:// behind a proxy) and the Host it asked.
func (o Options) originAllowed(origin, host string) bool {
	if slices.Contains(o.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Host, host)
}

// crossSite finds what a browser fetches for another site's page without an Origin: pictures, scripts, forms. A person
// who follows a link here is let in.
func crossSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	follows := r.Header.Get("Sec-Fetch-Mode") == "navigate" && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	return !follows
}

func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// WriteError answers with the API's form of an error.
func WriteError(w http.ResponseWriter, err error) {
	kind := errs.KindOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(kind.HTTPStatus())
	_ = json.NewEncoder(w).Encode(struct { // the caller may be gone
		Status  int    `json:"status"`
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}{kind.HTTPStatus(), kind.String(), err.Error()})
}
