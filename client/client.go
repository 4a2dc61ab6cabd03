// Package client speaks Lineshaft's HTTP API from Go, over TCP or the data folder's Unix socket. The command line is
// made of it.
//
// Methods are named after the resources. What the server refused comes back as the errs.Error that it was there, with
// the same kind and message.
//
//	c := client.Socket("/home/me/.lineshaft")
//	j, err := c.Submit(ctx, spec, "application/yaml", false)
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/internal/errs"
	"github.com/lineshaft/lineshaft/internal/sock"
)

// base is where the resources live.
const base = "/api/v1"

// Client is a server and the credentials to use there. Its methods may be called from any goroutine.
type Client struct {
	http  *http.Client
	url   *url.URL
	where string // for messages
	token string
	retry time.Duration
}

// New speaks to the server at base, such as http://127.0.0.1:8080, with a token.
func New(base, token string) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(base, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errs.Errorf("client.New", errs.Invalid, "%q is not the address of a server: write for example http://127.0.0.1:8080", base)
	}
	return &Client{http: &http.Client{Transport: transport(nil)}, url: u, token: token, where: base}, nil
}

// Socket speaks to the server of a data folder as its owner, through the folder's socket.
func Socket(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return sock.Dial(ctx, dir) }
	return &Client{http: &http.Client{Transport: transport(dial)}, url: &url.URL{Scheme: "http", Host: "localhost"}, where: dir}
}

// As is the same server with a token.
func (c *Client) As(token string) *Client {
	as := *c
	as.token = token
	return &as
}

// Retrying is the same server, but a read waits up to d for a server that is not there, as while it restarts.
func (c *Client) Retrying(d time.Duration) *Client {
	patient := *c
	patient.retry = d
	return &patient
}

func transport(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Transport {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext: dial, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, ExpectContinueTimeout: 5 * time.Second,
	}
}

// request is one call.
type request struct {
	method, path string
	query        url.Values
	body         io.Reader
	contentType  string
	accept       string
}

// send makes the call and gives the answer, whose body the caller closes. An answer that is no success is an error.
func (c *Client) send(ctx context.Context, q request) (*http.Response, error) {
	const op = "client.send"
	deadline := time.Now().Add(c.retry)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		resp, err := c.once(ctx, q)
		again := errs.Is(err, errs.Unavailable) && q.method == http.MethodGet && time.Now().Add(pause).Before(deadline)
		if !again {
			return resp, err
		}
		select {
		case <-ctx.Done():
			return nil, errs.E(op, errs.Other, ctx.Err())
		case <-time.After(pause):
		}
	}
}

func (c *Client) once(ctx context.Context, q request) (*http.Response, error) {
	const op = "client.send"
	u := *c.url
	u.Path, u.RawPath = "", ""
	u.RawQuery = q.query.Encode()
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), q.body)
	if err != nil {
		return nil, errs.E(op, errs.Invalid, err)
	}
	req.URL.Path, req.URL.RawPath = unescaped(c.url.Path+q.path), c.url.EscapedPath()+q.path
	if q.contentType != "" {
		req.Header.Set("Content-Type", q.contentType)
	}
	if q.accept != "" {
		req.Header.Set("Accept", q.accept)
	}
	if q.body != nil && req.ContentLength <= 0 {
		req.Header.Set("Expect", "100-continue") // an upload that is refused is not sent
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, err)
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp)
}

func unescaped(path string) string {
	if p, err := url.PathUnescape(path); err == nil {
		return p
	}
	return path
}

// failed gives what happened before an answer came its kind.
func (c *Client) failed(ctx context.Context, err error) error {
	const op = "client.send"
	var known *errs.Error
	switch {
	case ctx.Err() != nil:
		return errs.E(op, errs.Other, ctx.Err())
	case errors.As(err, &known):
		return known
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return errs.Errorf(op, errs.Unavailable, "cannot reach the server at %s: %v; is it running?", c.where, err)
}

// refusal reads the error that the server sent.
func refusal(resp *http.Response) error {
	const op = "client.send"
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // what there is, is what there is to say
	var e api.Error
	if json.Unmarshal(b, &e) == nil && e.Kind != "" {
		return errs.Errorf(op, errs.ParseKind(e.Kind), "%s", e.Message)
	}
	return errs.Errorf(op, errs.FromStatus(resp.StatusCode), "the server answered %s without saying why; is %s a Lineshaft server?", resp.Status, resp.Request.URL.Host)
}

// call sends a JSON body (nil for none) and reads a JSON answer into out (nil for none).
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	const op = "client.call"
	q := request{method: method, path: path, query: query, accept: "application/json"}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return errs.E(op, errs.Invalid, err)
		}
		q.body, q.contentType = bytes.NewReader(b), "application/json"
	}
	return c.answer(ctx, q, out)
}

func (c *Client) answer(ctx context.Context, q request, out any) error {
	const op = "client.call"
	resp, err := c.send(ctx, q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return errs.E(op, errs.Other, ctx.Err())
	}
	return errs.Errorf(op, errs.Unavailable, "the answer of the server at %s broke off: %v", c.where, err)
}

// get reads a JSON answer.
func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, query, nil, &out)
	return out, err
}

// change sends a body and reads a JSON answer.
func change[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (T, error) {
	var out T
	err := c.call(ctx, method, path, query, in, &out)
	return out, err
}

// seg is a name as a segment of a path.
func seg(name string) string { return url.PathEscape(name) }

// dry is the query of a change.
func dry(on bool) url.Values {
	if !on {
		return nil
	}
	return url.Values{"dry_run": {"true"}}
}

// List narrows a list that comes in pages. A zero Limit lists everything.
type List struct {
	After string
	Limit int
}

// all reads pages of a list until its end, or until it has limit of them; next is where the list goes on.
func all[T any](ctx context.Context, c *Client, path string, query url.Values, l List) (items []T, next string, err error) {
	if query == nil {
		query = url.Values{}
	}
	items, next = []T{}, l.After
	for {
		n := 1000
		if l.Limit > 0 {
			n = min(n, l.Limit-len(items))
		}
		query.Set("limit", itoa(int64(n)))
		if next != "" {
			query.Set("after", next)
		}
		page, err := get[api.Page[T]](ctx, c, path, query)
		if err != nil {
			return nil, "", err
		}
		items, next = append(items, page.Items...), page.Next
		if next == "" || l.Limit > 0 && len(items) >= l.Limit {
			return items, next, nil
		}
	}
}
