package client

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/lineshaft/lineshaft/api"
	"github.com/lineshaft/lineshaft/solve"
)

// Solve has the server solve a problem, written in one of solve's formats. A problem without a solution is no error.
func (c *Client) Solve(ctx context.Context, problem []byte, q api.SolveQuery) (solve.Answer, error) {
	v := dry(q.DryRun)
	if v == nil {
		v = url.Values{}
	}
	set := func(name, value string, given bool) {
		if given {
			v.Set(name, value)
		}
	}
	number := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	set("format", string(q.Format), q.Format != "")
	set("relax", "true", q.Relax)
	set("nodes", strconv.Itoa(q.Nodes), q.Nodes != 0)
	set("gap", number(q.Gap), q.Gap != 0)
	set("time_limit", number(q.TimeLimit), q.TimeLimit != 0)
	var a solve.Answer
	err := c.answer(ctx, request{
		method: http.MethodPost, path: base + "/solve", query: v, body: bytes.NewReader(problem), contentType: "text/plain", accept: "application/json",
	}, &a)
	return a, err
}
